//! What agents say of their pods: each report one conditional status update, many of them in one transaction.

use super::Inner;
use super::node::merge_conditions;
use crate::error::VerbError;
use crate::limits::{CONFLICT_RETRIES, REPORTS_PER_TRANSACTION};
use crate::request::Target;
use crate::verbs::encoded;
use pontoon_api::Part;
use pontoon_api::kinds;
use pontoon_state::{Key, Object, Precondition, Transaction, View};
use pontoon_wire::node::v1::PodReport;
use serde_json::{Value, json};

/// Members of a pod's status that others write: kept when a report does not have them.
const OTHERS: [&str; 4] = [
    "qosClass",
    "nominatedNodeName",
    "startTime",
    "resourceClaimStatuses",
];

impl Inner {
    /// Writes reports of a node; those about pods that are gone, another's, or replaced are dropped. In order for
    /// each pod: of several reports in a batch the last counts.
    ///
    /// # Errors
    /// 503 or 504 when nothing can be written: the session ends, and the agent reports again.
    pub(super) async fn write_reports(
        &self,
        node: &str,
        reports: &[PodReport],
    ) -> Result<(), VerbError> {
        let mut newest: Vec<&PodReport> = Vec::new();
        for report in reports {
            newest.retain(|earlier| earlier.uid != report.uid);
            newest.push(report);
        }
        for chunk in newest.chunks(REPORTS_PER_TRANSACTION) {
            self.write_chunk(node, chunk).await?;
        }
        Ok(())
    }

    async fn write_chunk(&self, node: &str, reports: &[&PodReport]) -> Result<(), VerbError> {
        for _ in 0..CONFLICT_RETRIES {
            let view = self.verbs.replica.read().await?;
            let mut transaction = Transaction::default();
            for report in reports {
                if let Err(error) = plan(&view, node, report, &mut transaction) {
                    tracing::warn!(node, pod = report.name, namespace = report.namespace, %error, "a pod report is dropped");
                }
            }
            if transaction.writes.is_empty() || self.verbs.commit(transaction).await?.is_ok() {
                return Ok(());
            }
        }
        Err(VerbError::Timeout(
            "pods were changed by others too often".into(),
        ))
    }
}

/// The pod a report is about, if it is this node's and the very same.
fn subject<'a>(view: &'a View, node: &str, report: &PodReport) -> Option<&'a Object> {
    let pod = view.get(&Key::new("pods", &report.namespace, &report.name))?;
    (*pod.meta.uid == *report.uid && pod.meta.node.as_deref() == Some(node)).then_some(pod.as_ref())
}

fn plan(
    view: &View,
    node: &str,
    report: &PodReport,
    transaction: &mut Transaction,
) -> Result<(), VerbError> {
    let Some(pod) = subject(view, node, report) else {
        return Ok(());
    };
    let guard = Precondition::Revision(pod.key.clone(), pod.revision);
    if report.removed && pod.meta.deleting && pod.meta.finalizers.is_empty() {
        transaction.preconditions.push(guard);
        transaction
            .writes
            .push(pontoon_state::Write::Delete(pod.key.clone()));
        return Ok(());
    }
    let stored = pod.value()?;
    let object = reported(&stored, report)?;
    if object != stored {
        let form = encoded(&object)?;
        transaction.preconditions.push(guard);
        transaction
            .writes
            .push(pontoon_state::Write::Put(pod.key.clone(), form));
    }
    Ok(())
}

/// The pod with the status it is reported to have.
fn reported(stored: &Value, report: &PodReport) -> Result<Value, VerbError> {
    let mut object = stored.clone();
    if !report.status.is_empty() {
        let mut status: Value = serde_json::from_slice(&report.status)
            .map_err(|error| VerbError::BadRequest(format!("a status cannot be read: {error}")))?;
        if !status.is_object() {
            return Err(VerbError::BadRequest("a status must be an object".into()));
        }
        for member in OTHERS {
            if status.get(member).is_none_or(Value::is_null)
                && let Some(value) = stored["status"].get(member)
            {
                status[member] = value.clone();
            }
        }
        let mut conditions = stored["status"]["conditions"].clone();
        merge_conditions(
            &mut conditions,
            status["conditions"].as_array().map_or(&[], Vec::as_slice),
        );
        status["conditions"] = conditions;
        object["status"] = status;
        object = checked(object, stored)?;
    }
    if report.removed && stored["metadata"].get("deletionTimestamp").is_some() {
        // Only finalizers keep it: its node is done with it.
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    }
    Ok(object)
}

fn checked(object: Value, stored: &Value) -> Result<Value, VerbError> {
    let kind = kinds::by_plural("", "v1", "pods")
        .ok_or_else(|| VerbError::Internal("there is no kind Pod".into()))?;
    let target = Target::new(kind, "", stored["metadata"]["name"].as_str().unwrap_or(""));
    kind.update(object, stored, Part::Status)
        .map(|admitted| admitted.object)
        .map_err(|refusal| crate::verbs::malformed(&target, refusal))
}
