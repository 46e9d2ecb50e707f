//! `rollout undo`: the template of an earlier revision becomes the Deployment's again.

use super::history;
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    session::{Found, Session, found},
    subjects::{Subject, SubjectArgs},
    verbs::written::{self, DryRun, DryRunArgs},
};
use pontoon_client::api::Patch;
use serde_json::{Map, Value, json};

/// Annotations of a ReplicaSet that say something of it alone.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// The label by which a Deployment tells its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Arguments of `rollout undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// Go back to this revision; 0 for the one before the present one.
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub to_revision: i64,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
}

impl UndoArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        for subject in super::deployments(&self.subjects, session, console).await? {
            let deployment = subject.get(session).await?;
            let revisions = history::of(session, &deployment.value).await?;
            let (number, set) = choose(&subject, &deployment.value, &revisions, self.to_revision)?;
            let Some(patch) = patch(&deployment.value, &set.value) else {
                let action = format!(
                    "skipped rollback (current template already matches revision {number})"
                );
                written::report(console, None, &[(deployment, &action)], DryRun::None)?;
                continue;
            };
            let after = if self.dry_run.dry_run == DryRun::Client {
                deployment
            } else {
                let target = subject.resource.target(&subject.namespace, &subject.name);
                let options = session.write_options(self.dry_run.dry_run == DryRun::Server);
                let response = session
                    .client
                    .patch(target, Patch::Json(patch.to_string().into()), options)
                    .await?;
                found(&subject.resource, &response.object.unwrap_or_default())?
            };
            written::report(
                console,
                None,
                &[(after, "rolled back")],
                self.dry_run.dry_run,
            )?;
        }
        Ok(exit::OK)
    }
}

/// The revision to go back to.
fn choose<'r>(
    subject: &Subject,
    deployment: &Value,
    revisions: &'r [(i64, Found)],
    wanted: i64,
) -> Result<&'r (i64, Found), CliError> {
    if fields::is_true(deployment, "/spec/paused") {
        return Err(CliError::usage(
            "cannot rollback a paused deployment; resume it first with 'pontoon rollout resume' and try again",
        ));
    }
    if wanted > 0 {
        return revisions
            .iter()
            .find(|(number, _)| *number == wanted)
            .ok_or_else(|| {
                CliError::usage(format!(
                    "unable to find specified revision {wanted} in history"
                ))
            });
    }
    // The last is the present one.
    match revisions.len().checked_sub(2) {
        Some(index) => Ok(&revisions[index]),
        None => Err(CliError::usage(format!(
            "no rollout history found for deployment {:?}",
            subject.name
        ))),
    }
}

/// What makes the Deployment's template that of the ReplicaSet; none when it is so.
fn patch(deployment: &Value, set: &Value) -> Option<Value> {
    let mut template = set
        .pointer("/spec/template")
        .cloned()
        .unwrap_or(Value::Null);
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(TEMPLATE_HASH);
    }
    if deployment.pointer("/spec/template") == Some(&template) {
        return None;
    }
    let kept = |object: &Value, own: bool| -> Map<String, Value> {
        fields::entries(object, "/metadata/annotations")
            .into_iter()
            .filter(|(key, _)| OWN_ANNOTATIONS.contains(key) == own)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    let mut annotations = kept(deployment, true);
    annotations.extend(kept(set, false));
    Some(json!([
        {"op": "test", "path": "/metadata/uid", "value": fields::text(deployment, "/metadata/uid")},
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_template_comes_back_without_its_hash() {
        let set = json!({
            "metadata": {"annotations": {"deployment.kubernetes.io/revision": "1", "kubernetes.io/change-cause": "first"}},
            "spec": {"template": {"metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}}, "spec": {"n": 1}}},
        });
        let deployment = json!({
            "metadata": {"uid": "u", "annotations": {"deployment.kubernetes.io/revision": "2", "kubernetes.io/change-cause": "second"}},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"n": 2}}},
        });
        let patch = patch(&deployment, &set).unwrap();
        assert_eq!(
            patch[1]["value"],
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"n": 1}})
        );
        assert_eq!(
            patch[2]["value"],
            json!({"deployment.kubernetes.io/revision": "2", "kubernetes.io/change-cause": "first"})
        );
        let mut same = deployment;
        same["spec"]["template"]["spec"]["n"] = json!(1);
        assert_eq!(super::patch(&same, &set), None);
    }
}
