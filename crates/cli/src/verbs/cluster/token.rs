//! `cluster token`.

use crate::{
    console::Console,
    error::CliError,
    exit,
    globals::duration,
    output::{json, table},
    session::Session,
};
use pontoon_client::messages::{CreateTokenRequest, Role, TokenInfo};
use serde_json::{Value, json};
use std::time::Duration;

/// What there is to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token with which one server or one agent may join, once. It is shown this one time.
    Create(CreateArgs),
    /// List tokens, without their secrets.
    List(super::OutputArgs),
    /// Forget a token: nobody joins with it any more.
    Revoke(RevokeArgs),
}

/// Arguments of `cluster token create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Who may join with it.
    #[arg(long, value_parser = ["server", "agent"])]
    pub role: String,
    /// How long it may be used, such as 1h; a day unless given.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// For an agent: the only node name it may take.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// json for programs.
    #[arg(short, long, value_parser = ["json"])]
    pub output: Option<String>,
}

/// Arguments of `cluster token revoke`.
#[derive(Debug, clap::Args)]
pub struct RevokeArgs {
    /// The token's id, as `pontoon cluster token list` shows it, or the token.
    pub id: String,
}

impl Token {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        match self {
            Self::Create(args) => create(args, session, console).await?,
            Self::List(args) => list(&args, session, console).await?,
            Self::Revoke(args) => {
                session.client.revoke_token(&args.id).await?;
                // What was pasted may be the token itself.
                let id = args.id.split('.').nth(2).unwrap_or(&args.id);
                console.line(&format!("token/{id} revoked"))?;
            }
        }
        Ok(exit::OK)
    }
}

async fn create(
    args: CreateArgs,
    session: &Session,
    console: &mut Console,
) -> Result<(), CliError> {
    let role = if args.role == "server" {
        Role::Server
    } else {
        Role::Agent
    };
    let ttl = args.ttl.unwrap_or_default();
    if args.ttl.is_some() && ttl.as_secs() == 0 {
        return Err(CliError::usage("--ttl must be a second at least"));
    }
    let wanted = CreateTokenRequest {
        role: role.into(),
        ttl_seconds: ttl.as_secs(),
        node_name: args.node.unwrap_or_default(),
    };
    let made = session.client.create_token(wanted).await?;
    let info = made.info.unwrap_or_default();
    if args.output.is_some() {
        let mut shown = shown(&info);
        shown["token"] = made.token.into();
        return Ok(console.print(&json::pretty(&shown))?);
    }
    // Alone on standard output, so that `$(...)` takes it as it is.
    console.line(&made.token)?;
    console.note(&format!(
        "It lets one {} join until {}, and is not shown again.",
        args.role, info.expires
    ));
    Ok(())
}

async fn list(
    args: &super::OutputArgs,
    session: &Session,
    console: &mut Console,
) -> Result<(), CliError> {
    let tokens = session.client.list_tokens().await?;
    if args.output.is_some() {
        let tokens: Vec<Value> = tokens.iter().map(shown).collect();
        return Ok(console.print(&json::pretty(&json!({"tokens": tokens})))?);
    }
    let rows = tokens.iter().map(|token| {
        let node = if token.node_name.is_empty() {
            "<any>"
        } else {
            &token.node_name
        };
        let node = if token.role() == Role::Agent {
            node
        } else {
            "<none>"
        };
        let used = if token.used_by.is_empty() {
            "<unused>"
        } else {
            &token.used_by
        };
        vec![
            token.id.clone(),
            role(token).to_owned(),
            token.expires.clone(),
            node.to_owned(),
            used.to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let headings = ["ID", "ROLE", "EXPIRES", "NODE", "USED-BY"];
    Ok(console.print(&table::plain(&headings, &rows, true))?)
}

fn role(token: &TokenInfo) -> &'static str {
    match token.role() {
        Role::Server => "server",
        Role::Agent => "agent",
        Role::Unspecified => "unknown",
    }
}

fn shown(token: &TokenInfo) -> Value {
    json!({
        "id": token.id,
        "role": role(token),
        "expires": token.expires,
        "nodeName": token.node_name,
        "usedBy": token.used_by,
    })
}
