//! `rollout history`: the revisions that a Deployment's ReplicaSets keep.

use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    output::{
        describe::template,
        sheet::{Sheet, align},
    },
    session::{Found, Session},
    subjects::SubjectArgs,
};
use pontoon_client::Selection;
use serde_json::Value;

/// Where a ReplicaSet says which revision it is.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// Where the user said why.
const CHANGE_CAUSE: &str = "/metadata/annotations/kubernetes.io~1change-cause";

/// Arguments of `rollout history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// Show what this revision's pods were made of.
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub revision: i64,
}

impl HistoryArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        for subject in super::deployments(&self.subjects, session, console).await? {
            let deployment = subject.get(session).await?;
            let revisions = of(session, &deployment.value).await?;
            let shown = subject.shown();
            if self.revision > 0 {
                let wanted = revisions
                    .iter()
                    .find(|(number, _)| *number == self.revision);
                let (number, set) = wanted
                    .ok_or_else(|| CliError::usage("unable to find the specified revision"))?;
                console.line(&format!("{shown} with revision #{number}"))?;
                let mut sheet = Sheet::default();
                sheet.line(0, "Pod Template:");
                template(
                    &mut sheet,
                    1,
                    set.value.pointer("/spec/template").unwrap_or(&Value::Null),
                );
                console.line(&sheet.finish())?;
                continue;
            }
            if revisions.is_empty() {
                return Err(CliError::usage(format!(
                    "no rollout history found for {shown}"
                )));
            }
            let mut table = "REVISION\tCHANGE-CAUSE\n".to_owned();
            for (number, set) in &revisions {
                let cause = match fields::text(&set.value, CHANGE_CAUSE) {
                    "" => "<none>",
                    cause => cause,
                };
                table.push_str(&format!("{number}\t{cause}\n"));
            }
            console.line(&format!("{shown} "))?;
            console.line(&align(&table, 0, 2))?;
        }
        Ok(exit::OK)
    }
}

/// A Deployment's ReplicaSets by revision, the first one first.
pub async fn of(session: &Session, deployment: &Value) -> Result<Vec<(i64, Found)>, CliError> {
    let sets = session.builtin("replicasets");
    let (found, _) = session
        .list(&sets, fields::namespace(deployment), &Selection::default())
        .await?;
    Ok(revisions(deployment, found))
}

fn revisions(deployment: &Value, sets: Vec<Found>) -> Vec<(i64, Found)> {
    let uid = fields::text(deployment, "/metadata/uid");
    let mut revisions: Vec<(i64, Found)> = sets
        .into_iter()
        .filter(|set| {
            fields::controller(&set.value).is_some_and(|owner| fields::text(owner, "/uid") == uid)
        })
        .filter_map(|set| Some((fields::text(&set.value, REVISION).parse().ok()?, set)))
        .collect();
    revisions.sort_by_key(|(number, _)| *number);
    revisions
}
