//! `edit`: an object in an editor, and the difference sent back.

mod difference;

use super::written::{self, DryRun};
use crate::{
    console::Console,
    error::CliError,
    exit, manifests,
    output::yaml,
    session::{Found, Session, found},
    subjects::{Subject, SubjectArgs},
};
use difference::difference;
use pontoon_client::{ClientError, api::Patch};
use serde_json::Value;
use std::{io::Write as _, path::Path};

const HEADER: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Arguments of `edit`.
#[derive(Debug, clap::Args)]
pub struct EditArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
}

/// What came of one turn in the editor.
enum Turn {
    /// Nothing to send.
    Unchanged,
    Sent(Box<Found>),
    /// Why it was not taken, for the next turn.
    Refused(String),
}

impl EditArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        for subject in self.subjects.find(session, console).await? {
            edit(session, console, &subject).await?;
        }
        Ok(exit::OK)
    }
}

async fn edit(session: &Session, console: &mut Console, subject: &Subject) -> Result<(), CliError> {
    let before = subject.get(session).await?;
    let original = yaml::block(&before.value);
    let mut file = tempfile::Builder::new()
        .prefix("pontoon-edit-")
        .suffix(".yaml")
        .tempfile()
        .map_err(CliError::Output)?;
    let mut refused = String::new();
    let mut text = original.clone();
    loop {
        write(&mut file, &format!("{HEADER}{refused}{text}"))?;
        open_editor(session, file.path()).await?;
        let edited = std::fs::read_to_string(file.path()).map_err(|error| CliError::File {
            path: file.path().to_owned(),
            error,
        })?;
        let body: String = edited
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        if body.trim().is_empty() {
            console.note("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        if !refused.is_empty() && body == text {
            console.note(refused.replace("# ", "").trim_end_matches(['#', '\n']));
            let (_, kept) = file.keep().map_err(|error| CliError::Output(error.error))?;
            console.note(&format!(
                "A copy of your changes has been stored to {:?}",
                kept.display().to_string()
            ));
            return Err(CliError::usage(
                "Edit cancelled, no valid changes were saved.",
            ));
        }
        match send(session, console, subject, &before.value, &body).await? {
            Turn::Unchanged => {
                console.note("Edit cancelled, no changes made.");
                return Ok(());
            }
            Turn::Sent(after) => {
                return written::report(console, None, &[(*after, "edited")], DryRun::None);
            }
            Turn::Refused(why) => {
                let told: String = why.lines().map(|line| format!("# {line}\n")).collect();
                refused = format!(
                    "# {} {:?} was not valid:\n{told}#\n",
                    subject.resource.qualified_plural(),
                    subject.name
                );
                text = body;
            }
        }
    }
}

fn write(file: &mut tempfile::NamedTempFile, text: &str) -> Result<(), CliError> {
    let path = file.path().to_owned();
    let wrong = |error| CliError::File {
        path: path.clone(),
        error,
    };
    // Editors replace files as often as they write into them: go by the name.
    let mut opened = std::fs::File::create(&path).map_err(wrong)?;
    opened.write_all(text.as_bytes()).map_err(wrong)
}

async fn open_editor(session: &Session, path: &Path) -> Result<(), CliError> {
    let editor = ["KUBE_EDITOR", "EDITOR", "VISUAL"]
        .into_iter()
        .find_map(|name| (session.variable)(name))
        .unwrap_or_else(|| "vi".to_owned());
    // The variable may hold arguments, so that a shell takes it apart.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$0\""))
        .arg(path)
        .status()
        .await
        .map_err(CliError::Output)?;
    if status.success() {
        return Ok(());
    }
    Err(CliError::hinted(
        format!("there was a problem with the editor {editor:?}: {status}"),
        "EDITOR or KUBE_EDITOR names another one",
    ))
}

/// Sends what differs.
async fn send(
    session: &Session,
    console: &mut Console,
    subject: &Subject,
    before: &Value,
    body: &str,
) -> Result<Turn, CliError> {
    let after = match manifests::parse("the edited file", body.as_bytes()) {
        Ok(mut documents) if documents.len() == 1 => documents.remove(0),
        Ok(_) => return Ok(Turn::Refused("the file must hold one document".to_owned())),
        Err(error) => return Ok(Turn::Refused(error.to_string())),
    };
    for field in [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
    ] {
        if after.pointer(field) != before.pointer(field) {
            return Ok(Turn::Refused(format!(
                "{} must not be changed",
                field[1..].replace('/', ".")
            )));
        }
    }
    let Some(patch) = difference(before, &after) else {
        return Ok(Turn::Unchanged);
    };
    let target = subject.resource.target(&subject.namespace, &subject.name);
    let body = Patch::Merge(patch.to_string().into());
    match session
        .client
        .patch(target, body, session.write_options(false))
        .await
    {
        Ok(response) => {
            written::warn(console, &response.warnings);
            let after = found(&subject.resource, &response.object.unwrap_or_default())?;
            Ok(Turn::Sent(Box::new(after)))
        }
        Err(error @ ClientError::Status(_)) => Ok(Turn::Refused(
            CliError::Server(error).report().unwrap_or_default(),
        )),
        Err(error) => Err(error.into()),
    }
}
