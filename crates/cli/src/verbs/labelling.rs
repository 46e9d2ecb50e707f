//! What `label` and `annotate` share: keys that are set, replaced and removed.

use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    output::OutputArgs,
    session::{Session, found},
    subjects::{Subject, SubjectArgs},
};
use pontoon_client::api::Patch;
use serde_json::{Map, Value, json};

/// Which of the two maps of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

impl What {
    const fn field(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    const fn singular(self) -> &'static str {
        match self {
            Self::Labels => "label",
            Self::Annotations => "annotation",
        }
    }
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub struct Labelling {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// Replace values that are there.
    #[arg(long)]
    pub overwrite: bool,
    /// Show what is there.
    #[arg(long)]
    pub list: bool,
    /// Only at this resourceVersion.
    #[arg(long, value_name = "VERSION")]
    pub resource_version: Option<String>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub output: OutputArgs,
}

/// `KEY=VALUE` or `KEY-`.
type Change = (String, Option<String>);

impl Labelling {
    pub(super) async fn run(
        mut self,
        what: What,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let changes = split(&mut self.subjects.resources, what)?;
        if changes.is_empty() && !self.list {
            return Err(CliError::usage(format!(
                "at least one {} update is required",
                what.singular()
            )));
        }
        for subject in self.subjects.find(session, console).await? {
            if self.list {
                let found = subject.get(session).await?;
                for (key, value) in
                    fields::entries(&found.value, &format!("/metadata/{}", what.field()))
                {
                    console.line(&format!("{key}={}", fields::plain(value)))?;
                }
            }
            if !changes.is_empty() {
                self.change(what, &changes, &subject, session, console)
                    .await?;
            }
        }
        Ok(exit::OK)
    }

    async fn change(
        &self,
        what: What,
        changes: &[Change],
        subject: &Subject,
        session: &Session,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let old = subject.get(session).await?;
        let present = old
            .value
            .pointer(&format!("/metadata/{}", what.field()))
            .cloned()
            .unwrap_or(json!({}));
        let mut patch = Map::new();
        for (key, value) in changes {
            let before = present.get(key).and_then(Value::as_str);
            match (value, before) {
                (None, None) => console.note(&format!("{} {key:?} not found.", what.singular())),
                (Some(new), Some(old)) if new != old && !self.overwrite => {
                    let message = match what {
                        What::Labels => {
                            format!("'{key}' already has a value ({old}), and --overwrite is false")
                        }
                        What::Annotations => {
                            format!(
                                "--overwrite is false but found the following declared annotation(s): '{key}' already has a value ({old})"
                            )
                        }
                    };
                    return Err(CliError::usage(message));
                }
                (Some(new), old) if Some(new.as_str()) == old => {}
                (value, _) => {
                    patch.insert(
                        key.clone(),
                        value.clone().map_or(Value::Null, Value::String),
                    );
                }
            }
        }
        let action = action(what, changes, &patch);
        if patch.is_empty() || self.dry_run.dry_run == DryRun::Client {
            return written::report(
                console,
                self.output.output.as_ref(),
                &[(old, action)],
                self.dry_run.dry_run,
            );
        }
        let mut body = json!({"metadata": {what.field(): patch}});
        if let Some(version) = &self.resource_version {
            body["metadata"]["resourceVersion"] = version.clone().into();
        }
        let target = subject.resource.target(&subject.namespace, &subject.name);
        let options = session.write_options(self.dry_run.dry_run == DryRun::Server);
        let response = session
            .client
            .patch(target, Patch::Merge(body.to_string().into()), options)
            .await?;
        written::warn(console, &response.warnings);
        let new = found(&subject.resource, &response.object.unwrap_or_default())?;
        written::report(
            console,
            self.output.output.as_ref(),
            &[(new, action)],
            self.dry_run.dry_run,
        )
    }
}

fn action(what: What, changes: &[Change], patch: &Map<String, Value>) -> &'static str {
    match what {
        What::Annotations => "annotated",
        What::Labels if patch.is_empty() => "not labeled",
        What::Labels if changes.iter().all(|(_, value)| value.is_none()) => "unlabeled",
        What::Labels => "labeled",
    }
}

/// Takes the changes off the end of the arguments.
fn split(arguments: &mut Vec<String>, what: What) -> Result<Vec<Change>, CliError> {
    let is_change = |argument: &String| {
        argument.contains('=') || (argument.ends_with('-') && argument.len() > 1)
    };
    let first = arguments
        .iter()
        .position(is_change)
        .unwrap_or(arguments.len());
    let mut changes: Vec<Change> = Vec::new();
    for argument in arguments.split_off(first) {
        let change = match argument.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => match argument.strip_suffix('-') {
                Some(key) => (key.to_owned(), None),
                None => {
                    return Err(CliError::usage(format!(
                        "all resources must be specified before {} changes: {argument}",
                        what.singular()
                    )));
                }
            },
        };
        if change.0.is_empty() {
            return Err(CliError::usage(format!(
                "invalid {} spec: {argument}",
                what.singular()
            )));
        }
        if let Some((key, _)) = changes
            .iter()
            .find(|(key, value)| *key == change.0 && value.is_some() != change.1.is_some())
        {
            return Err(CliError::usage(format!(
                "cannot both modify and remove the {} {key:?} in the same command",
                what.singular()
            )));
        }
        changes.push(change);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused(mut words in proptest::collection::vec(r"[a-c=-]{0,6}|\PC{0,6}", 0..4)) {
            let _ = split(&mut words, What::Annotations);
        }
    }

    #[test]
    fn changes_stand_behind_the_objects() {
        let split = |text: &str| {
            let mut arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
            split(&mut arguments, What::Labels).map(|changes| (arguments.join(" "), changes))
        };
        let (objects, changes) = split("pods a b x=1 y=a=b z-").unwrap();
        assert_eq!(objects, "pods a b");
        let set = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(
            changes,
            [set("x", "1"), set("y", "a=b"), ("z".to_owned(), None)]
        );
        for wrong in ["pods a x=1 b", "pods a =1", "pods a x=1 x-"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
