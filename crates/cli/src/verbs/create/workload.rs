//! Deployments and Services of flags.

use super::{WritingArgs, bare};
use crate::error::CliError;
use serde_json::{Value, json};

/// Arguments of `create deployment`.
#[derive(Debug, clap::Args)]
pub struct DeploymentArgs {
    /// Its name.
    pub name: String,
    /// An image; several make several containers.
    #[arg(long, required = true, value_name = "IMAGE")]
    pub image: Vec<String>,
    /// How many pods.
    #[arg(short, long, default_value = "1", value_name = "COUNT")]
    pub replicas: u32,
    /// The port that its container listens on.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
    /// What the container runs.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl DeploymentArgs {
    pub(super) fn make(self) -> Result<(Value, WritingArgs), CliError> {
        if !self.command.is_empty() && self.image.len() > 1 {
            return Err(CliError::usage(
                "cannot specify multiple --image options and command",
            ));
        }
        let containers: Vec<Value> = self
            .image
            .iter()
            .map(|image| {
                let mut container = json!({"name": container_name(image), "image": image});
                if !self.command.is_empty() {
                    container["command"] = json!(self.command);
                }
                if let Some(port) = self.port {
                    container["ports"] = json!([{"containerPort": port}]);
                }
                container
            })
            .collect();
        let mut value = bare("apps/v1", "Deployment", &self.name);
        value["metadata"]["labels"] = json!({"app": self.name});
        value["spec"] = json!({
            "replicas": self.replicas,
            "selector": {"matchLabels": {"app": self.name}},
            "template": {"metadata": {"labels": {"app": self.name}}, "spec": {"containers": containers}},
        });
        Ok((value, self.writing))
    }
}

/// The image's last part, as far as a container may be called so.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split([':', '@']).next().unwrap_or(last);
    let name: String = bare
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    match name.trim_matches('-') {
        "" => "container".to_owned(),
        name => name.to_owned(),
    }
}

/// The kinds of Service.
#[derive(Debug, clap::Subcommand)]
pub enum ServiceKind {
    /// An address within the cluster.
    #[command(name = "clusterip")]
    ClusterIp(ServiceArgs),
    /// A port of every node.
    #[command(name = "nodeport")]
    NodePort(ServiceArgs),
    /// Another name.
    #[command(name = "externalname")]
    ExternalName(ExternalNameArgs),
}

/// Arguments of Services that have ports.
#[derive(Debug, clap::Args)]
pub struct ServiceArgs {
    /// Its name.
    pub name: String,
    /// A port, and where it leads to in pods.
    #[arg(long, value_name = "PORT[:TARGET]")]
    pub tcp: Vec<String>,
    /// The address; None for a headless Service.
    #[arg(long, value_name = "ADDRESS")]
    pub clusterip: Option<String>,
    /// The node's port.
    #[arg(long, value_name = "PORT")]
    pub node_port: Option<u16>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

/// Arguments of `create service externalname`.
#[derive(Debug, clap::Args)]
pub struct ExternalNameArgs {
    /// Its name.
    pub name: String,
    /// The name it stands for.
    #[arg(long, value_name = "NAME")]
    pub external_name: String,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub writing: WritingArgs,
}

impl ServiceKind {
    pub(super) fn make(self) -> Result<(Value, WritingArgs), CliError> {
        let (args, kind) = match self {
            Self::ClusterIp(args) => (args, "ClusterIP"),
            Self::NodePort(args) => (args, "NodePort"),
            Self::ExternalName(args) => {
                let mut value = bare("v1", "Service", &args.name);
                value["spec"] = json!({"type": "ExternalName", "externalName": args.external_name});
                return Ok((value, args.writing));
            }
        };
        let headless = args.clusterip.as_deref() == Some("None");
        if args.tcp.is_empty() && !headless {
            return Err(CliError::usage(
                "at least one tcp port specifier must be provided",
            ));
        }
        let mut ports = Vec::new();
        for text in &args.tcp {
            let mut port = port(text)?;
            if let Some(number) = args.node_port {
                port["nodePort"] = number.into();
            }
            ports.push(port);
        }
        let mut value = bare("v1", "Service", &args.name);
        value["metadata"]["labels"] = json!({"app": args.name});
        value["spec"] = json!({"type": kind, "selector": {"app": args.name}, "ports": ports});
        if let Some(address) = args.clusterip {
            value["spec"]["clusterIP"] = address.into();
        }
        Ok((value, args.writing))
    }
}

fn port(text: &str) -> Result<Value, CliError> {
    let wrong = || CliError::usage(format!("{text:?} is not a port: use PORT or PORT:TARGET"));
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let target = match target.parse::<u16>() {
        Ok(number) => json!(number),
        Err(_) if !target.is_empty() => json!(target),
        Err(_) => return Err(wrong()),
    };
    Ok(
        json!({"name": text.replace(':', "-"), "port": port, "targetPort": target, "protocol": "TCP"}),
    )
}

#[cfg(test)]
mod tests {
    use super::container_name;

    #[test]
    fn a_container_is_called_as_its_image() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("example.com:5000/team/web_app:1.2", "web-app"),
            ("web@sha256:abc", "web"),
            ("oci:/srv/Images/Redis", "redis"),
            ("///", "container"),
        ] {
            assert_eq!(container_name(image), name, "{image}");
        }
    }
}
