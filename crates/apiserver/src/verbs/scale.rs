//! The `scale` subresource: the number of replicas, in the shape every scaler knows (autoscaling/v1 Scale).

use super::update::{Draft, Manner, plain_json};
use super::{Verbs, meta_text};
use crate::error::VerbError;
use crate::request::{Caller, Freshness, PatchBody, Target, Verb, WriteOptions, Written};
use bytes::Bytes;
use pontoon_api::patch::{PatchType, apply};
use pontoon_api::{FieldError, FieldErrorKind, Part};
use serde_json::{Value, json};

impl Verbs {
    /// The scale of an object.
    ///
    /// # Errors
    /// 403, 404.
    pub async fn get_scale(
        &self,
        caller: &Caller,
        target: &Target,
        freshness: Freshness,
    ) -> Result<Bytes, VerbError> {
        let object = self.get(caller, target, freshness).await?;
        plain_json(&scale_of(&object.value()?))
    }

    pub(super) async fn update_scale(
        &self,
        caller: &Caller,
        target: &Target,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        let name = meta_text(scale, "name");
        if !name.is_empty() && name != target.name {
            return Err(super::update::wrong_name(target, name));
        }
        self.rescale(caller, target, Verb::Update, options, |_| Ok(scale.clone()))
            .await
    }

    pub(super) async fn patch_scale(
        &self,
        caller: &Caller,
        target: &Target,
        patch: &PatchBody,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        self.rescale(caller, target, Verb::Patch, options, |scale| {
            // Scale has no list that merges by key: strategic and merge patches mean the same.
            let (patch, how) = match patch {
                PatchBody::Json(patch) => (patch, PatchType::Json),
                PatchBody::Merge(patch) | PatchBody::Strategic(patch) => (patch, PatchType::Merge),
            };
            apply("Scale", scale, patch, how)
                .map_err(|error| VerbError::BadRequest(error.to_string()))
        })
        .await
    }

    async fn rescale(
        &self,
        caller: &Caller,
        target: &Target,
        verb: Verb,
        options: &WriteOptions,
        mut new: impl FnMut(&Value) -> Result<Value, VerbError> + Send,
    ) -> Result<Written, VerbError> {
        let manner = Manner {
            verb,
            part: Part::Main,
            dry_run: options.dry_run,
        };
        let written = self
            .change(caller, target, manner, |stored| {
                let scale = new(&scale_of(stored))?;
                let mut body = stored.clone();
                body["spec"]["replicas"] = replicas(target, &scale)?.into();
                for member in ["resourceVersion", "uid"] {
                    match scale["metadata"]
                        .get(member)
                        .filter(|value| !value.is_null())
                    {
                        Some(value) => body["metadata"][member] = value.clone(),
                        None => body["metadata"][member] = json!(""),
                    }
                }
                if body["metadata"]["uid"] == "" {
                    body["metadata"]["uid"] = stored["metadata"]["uid"].clone();
                }
                Ok(Draft {
                    body,
                    warnings: Vec::new(),
                })
            })
            .await?;
        let object: Value = serde_json::from_slice(&written.json)
            .map_err(|error| VerbError::Internal(error.to_string()))?;
        Ok(Written {
            json: plain_json(&scale_of(&object))?,
            ..written
        })
    }
}

fn replicas(target: &Target, scale: &Value) -> Result<i64, VerbError> {
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        value => match value.as_i64().filter(|count| i32::try_from(*count).is_ok()) {
            Some(count) if count >= 0 => Ok(count),
            Some(count) => Err(VerbError::Invalid {
                group: "autoscaling".into(),
                kind: "Scale".into(),
                name: target.name.clone(),
                errors: vec![FieldError {
                    field: "spec.replicas".into(),
                    kind: FieldErrorKind::Invalid,
                    message: format!("Invalid value: {count}: must be greater than or equal to 0"),
                }],
            }),
            None => Err(VerbError::BadRequest(
                "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas must be an integer".into(),
            )),
        },
    }
}

/// The Scale of an object with `spec.replicas` and `spec.selector`.
fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({});
    for member in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(member) {
            metadata[member] = value.clone();
        }
    }
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    let mut status = json!({"replicas": count(&object["status"]["replicas"])});
    let selector = serde_json::from_value(object["spec"]["selector"].clone())
        .ok()
        .and_then(|typed| pontoon_api::selector::LabelSelector::from_typed(&typed).ok());
    if let Some(selector) = selector {
        status["selector"] = selector.to_string().into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": count(&object["spec"]["replicas"])}, "status": status,
    })
}
