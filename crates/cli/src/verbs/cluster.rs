//! `cluster`: the servers themselves: how they are doing, who they are, who may join.

mod members;
mod token;

use crate::{console::Console, error::CliError, exit, session::Session};
use members::Shown;

/// What there is to do with the cluster itself.
#[derive(Debug, clap::Subcommand)]
pub enum Cluster {
    /// Show how the control plane is doing.
    Status(OutputArgs),
    /// List the servers.
    Members(OutputArgs),
    /// Make, list and revoke the tokens that servers and agents join with.
    #[command(subcommand)]
    Token(token::Token),
    /// Let a server vote that only gets the log.
    Promote(IdArgs),
    /// Take a server out for good: its id is never used again.
    Remove(RemoveArgs),
    /// Have another server lead.
    Transfer(TransferArgs),
}

/// How to print.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// json for programs.
    #[arg(short, long, value_parser = ["json"])]
    pub output: Option<String>,
}

/// A server.
#[derive(Debug, clap::Args)]
pub struct IdArgs {
    /// The server's id, as `pontoon cluster members` shows it.
    pub id: u64,
}

/// Arguments of `cluster remove`.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The server's id, as `pontoon cluster members` shows it.
    pub id: u64,
    /// Also when too few of the others answer: for a disaster only.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `cluster transfer`.
#[derive(Debug, clap::Args)]
pub struct TransferArgs {
    /// The server that is to lead; whichever is furthest unless given.
    pub id: Option<u64>,
}

impl Cluster {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let client = &session.client;
        match self {
            Self::Status(args) => {
                let status = client.status().await?;
                let shown = Shown::of(&status);
                match args.output {
                    Some(_) => shown.print_json(&status, console)?,
                    None => shown.print_status(&status, console)?,
                }
                return Ok(if status.leader_id == 0 {
                    exit::ERROR
                } else {
                    exit::OK
                });
            }
            Self::Members(args) => {
                let status = client.status().await?;
                let shown = Shown::of(&status);
                match args.output {
                    Some(_) => shown.print_json(&status, console)?,
                    None => shown.print_members(console)?,
                }
            }
            Self::Token(token) => return token.run(session, console).await,
            Self::Promote(args) => {
                client.promote(args.id).await?;
                console.line(&format!("member/{} votes", args.id))?;
            }
            Self::Remove(args) => {
                client.remove(args.id, args.force).await?;
                console.line(&format!("member/{} removed", args.id))?;
            }
            Self::Transfer(args) => {
                let answer = client.transfer(args.id.unwrap_or(0)).await?;
                console.line(&format!("member/{} leads", answer.leader_id))?;
            }
        }
        Ok(exit::OK)
    }
}
