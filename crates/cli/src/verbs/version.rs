//! `version`.

use crate::{
    console::Console,
    error::CliError,
    exit,
    output::{Format, json, yaml},
    session::Session,
};
use serde_json::json;

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Only this program's: ask no server.
    #[arg(long)]
    pub client: bool,
    /// json or yaml.
    #[arg(short, long, value_name = "FORMAT", value_parser = Format::parse)]
    pub output: Option<Format>,
}

impl VersionArgs {
    pub(crate) async fn run(
        self,
        session: Result<Session, CliError>,
        version: &str,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let mut shown = json!({"clientVersion": {"gitVersion": format!("v{version}")}});
        let mut failed = None;
        if !self.client {
            match session {
                Ok(session) => match session.client.status().await {
                    Ok(status) => {
                        shown["serverVersion"] = json!({
                            "gitVersion": status.kubernetes_version,
                            "pontoonVersion": status.version,
                        });
                    }
                    Err(error) => failed = Some(error.into()),
                },
                Err(error) => failed = Some(error),
            }
        }
        match self.output {
            Some(Format::Json) => console.print(&json::pretty(&shown))?,
            Some(Format::Yaml) => console.print(&yaml::block(&shown))?,
            Some(_) => return Err(CliError::usage("--output must be 'yaml' or 'json'")),
            None => {
                console.line(&format!("Client Version: v{version}"))?;
                if let Some(server) = shown.get("serverVersion") {
                    let text = |field: &str| {
                        server
                            .get(field)
                            .and_then(|text| text.as_str())
                            .unwrap_or("")
                    };
                    console.line(&format!(
                        "Server Version: {} (pontoon {})",
                        text("gitVersion"),
                        text("pontoonVersion")
                    ))?;
                }
            }
        }
        failed.map_or(Ok(exit::OK), Err)
    }
}
