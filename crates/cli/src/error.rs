//! What can go wrong, as it is told: a message, and where it helps a detail and a hint.

use crate::exit;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use pontoon_client::{ClientError, transport::ConfigError};
use pontoon_identity::kubeconfig::KubeconfigError;
use std::{io, path::PathBuf};

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server refused or could not be reached.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// As [`CliError::Server`], while doing something with an object of a file.
    #[error("error when {doing} {source_name:?}: {error}")]
    Manifest {
        /// Such as `creating`.
        doing: &'static str,
        /// The file.
        source_name: String,
        /// The server's refusal.
        #[source]
        error: ClientError,
    },
    /// What was typed cannot be done.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// There is no kubeconfig at any place looked at.
    #[error("no cluster is configured")]
    NoKubeconfig {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// The kubeconfig's server cannot be spoken to.
    #[error(transparent)]
    Transport(#[from] ConfigError),
    /// A local file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Nobody reads the answer.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
    /// The failure was told already.
    #[error("failed")]
    Told(u8),
}

impl CliError {
    /// A mistake of the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::hinted(message, "")
    }

    /// A mistake of the command line, and what to do about it.
    pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// What to exit with.
    pub fn code(&self) -> u8 {
        match self {
            Self::Told(code) => *code,
            // `pontoon get pods | head` is nobody's mistake.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            _ => exit::ERROR,
        }
    }

    /// Whether the object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_not_found())
    }

    /// The text for standard error; none when there is nothing left to tell.
    pub fn report(&self) -> Option<String> {
        Some(match self {
            Self::Told(_) => return None,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return None,
            Self::Server(error) => server(error, ""),
            Self::Manifest {
                doing,
                source_name,
                error,
            } => server(error, &format!("error when {doing} {source_name:?}: ")),
            Self::Usage { message, hint } => with_hint(format!("error: {message}"), hint),
            Self::NoKubeconfig { tried } => {
                let tried: String = tried
                    .iter()
                    .map(|path| format!("\n  {}", path.display()))
                    .collect();
                with_hint(
                    format!("error: no cluster is configured: there is no kubeconfig at{tried}"),
                    "start a cluster with `pontoon dev`, or name its kubeconfig with --kubeconfig or KUBECONFIG",
                )
            }
            other => format!("error: {other}"),
        })
    }
}

fn with_hint(message: String, hint: &str) -> String {
    if hint.is_empty() {
        message
    } else {
        format!("{message}\nhint: {hint}")
    }
}

/// A refusal in kubectl's words.
fn server(error: &ClientError, context: &str) -> String {
    match error {
        ClientError::Status(status) => refusal(status, context),
        ClientError::Unreachable(why) => with_hint(
            format!("error: {context}{}", why.trim_end()),
            "is the cluster running? start one with `pontoon dev`",
        ),
        ClientError::Deadline(_) => with_hint(
            format!("error: {context}the server gave {error}"),
            "the server may be overloaded or without a majority; --request-timeout waits longer",
        ),
        ClientError::Lost(_) => with_hint(
            format!("error: {context}{error}"),
            "whether it took effect is not known: look before you repeat it",
        ),
        other => format!("error: {context}{other}"),
    }
}

fn refusal(status: &Status, context: &str) -> String {
    let reason = status.reason.as_deref().unwrap_or("");
    if reason == "Invalid"
        && let Some(details) = &status.details
        && let Some(causes) = details.causes.as_ref().filter(|causes| !causes.is_empty())
    {
        let kind = details.kind.as_deref().unwrap_or("object");
        let name = details.name.as_deref().unwrap_or("");
        let lines: Vec<String> = causes
            .iter()
            .map(|cause| {
                let message = cause.message.as_deref().unwrap_or("");
                match cause.field.as_deref().unwrap_or("") {
                    "" => message.to_owned(),
                    field => format!("{field}: {message}"),
                }
            })
            .collect();
        return match lines.as_slice() {
            [only] => format!("The {kind} {name:?} is invalid: {only}"),
            many => format!("The {kind} {name:?} is invalid: \n* {}", many.join("\n* ")),
        };
    }
    let message = status
        .message
        .as_deref()
        .unwrap_or("the server refused without saying why");
    if reason.is_empty() {
        format!("Error from server: {context}{message}")
    } else {
        format!("Error from server ({reason}): {context}{message}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn told(status: serde_json::Value) -> String {
        let status: Status = serde_json::from_value(status).unwrap();
        CliError::Server(ClientError::Status(Box::new(status)))
            .report()
            .unwrap()
    }

    #[test]
    fn a_refusal_reads_as_kubectl_prints_it() {
        assert_eq!(
            told(json!({"reason": "NotFound", "message": "pods \"x\" not found"})),
            "Error from server (NotFound): pods \"x\" not found"
        );
    }

    #[test]
    fn one_invalid_field_is_told_in_one_line_and_many_as_a_list() {
        let cause = |field: &str| json!({"field": field, "message": "Required value"});
        let status = |causes: Vec<serde_json::Value>| {
            json!({"reason": "Invalid", "message": "whatever",
                   "details": {"kind": "Pod", "name": "x", "causes": causes}})
        };
        assert_eq!(
            told(status(vec![cause("spec.a")])),
            "The Pod \"x\" is invalid: spec.a: Required value"
        );
        assert_eq!(
            told(status(vec![cause("a"), cause("b")])),
            "The Pod \"x\" is invalid: \n* a: Required value\n* b: Required value"
        );
    }

    #[test]
    fn an_unreachable_server_comes_with_a_hint() {
        let error =
            ClientError::Unreachable("no server can be reached:\n  https://a: refused".to_owned());
        let report = CliError::Server(error).report().unwrap();
        assert!(report.contains("https://a: refused"), "{report}");
        assert!(report.ends_with("hint: is the cluster running? start one with `pontoon dev`"));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.code(), error.report()), (0, None));
    }
}
