//! The verbs, one file each.

pub mod annotate;
pub mod api_resources;
pub mod apply;
pub mod cluster;
pub mod completion;
pub mod create;
pub mod delete;
pub mod describe;
pub mod edit;
pub mod events;
pub mod exec;
pub mod get;
pub mod label;
pub mod logs;
pub mod patch;
pub mod plan;
pub mod port_forward;
pub mod rollout;
pub mod scale;
pub mod set;
pub mod version;
pub mod wait;
pub mod why;

mod labelling;
mod written;

use crate::{
    console::Console,
    error::CliError,
    exit,
    globals::{Globals, Surroundings},
    session::Session,
};

/// What a person types behind `pontoon`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show objects.
    Get(get::GetArgs),
    /// Show objects in detail, with what happened to them.
    Describe(describe::DescribeArgs),
    /// Say in words why an object waits, fails or sits where it does.
    Why(why::WhyArgs),
    /// Make the cluster as files say: all objects in one transaction.
    Apply(apply::ApplyArgs),
    /// Show what apply would change, without doing it.
    Plan(plan::PlanArgs),
    /// Create objects from files or from flags.
    Create(create::CreateArgs),
    /// Delete objects.
    Delete(delete::DeleteArgs),
    /// Change an object in an editor.
    Edit(edit::EditArgs),
    /// Change a part of an object.
    Patch(patch::PatchArgs),
    /// Set the number of replicas.
    Scale(scale::ScaleArgs),
    /// Change labels.
    Label(label::LabelArgs),
    /// Change annotations.
    Annotate(annotate::AnnotateArgs),
    /// Change a field of objects, such as the image.
    #[command(subcommand)]
    Set(set::Set),
    /// Follow, undo, pause and restart rollouts.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Wait until objects are as wished.
    Wait(wait::WaitArgs),
    /// Show what happened.
    Events(events::EventsArgs),
    /// Print the logs of containers.
    Logs(logs::LogsArgs),
    /// Run a command in a container.
    Exec(exec::ExecArgs),
    /// Carry local ports to a pod.
    PortForward(port_forward::PortForwardArgs),
    /// List every type of object.
    ApiResources(api_resources::ApiResourcesArgs),
    /// Look after the servers themselves.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Print the versions of client and server.
    Version(version::VersionArgs),
    /// Print a completion script for a shell.
    Completion(completion::CompletionArgs),
}

/// Does what was typed; gives the code to exit with.
pub(crate) async fn dispatch(
    verb: Verb,
    globals: Globals,
    surroundings: &Surroundings,
    console: &mut Console,
) -> Result<u8, CliError> {
    let is_plan = matches!(verb, Verb::Plan(_));
    let done = match verb {
        Verb::Completion(args) => args.run(surroundings, console),
        Verb::Version(args) => {
            let session = Session::open(&globals, surroundings);
            args.run(session, surroundings.version, console).await
        }
        verb => match Session::open(&globals, surroundings) {
            Ok(session) => Box::pin(perform(verb, &session, console)).await,
            Err(error) => Err(error),
        },
    };
    if !is_plan {
        return done;
    }
    // As of diff: 1 is a difference, so that an error must be something else.
    done.map_err(|error| {
        if let Some(report) = error.report() {
            console.note(&report);
        }
        CliError::Told(exit::TROUBLE)
    })
}

/// Does a verb that asks the cluster.
pub(crate) async fn perform(
    verb: Verb,
    session: &Session,
    console: &mut Console,
) -> Result<u8, CliError> {
    match verb {
        Verb::Get(args) => args.run(session, console).await,
        Verb::Describe(args) => args.run(session, console).await,
        Verb::Why(args) => args.run(session, console).await,
        Verb::Apply(args) => args.run(session, console).await,
        Verb::Plan(args) => args.run(session, console).await,
        Verb::Create(args) => args.run(session, console).await,
        Verb::Delete(args) => args.run(session, console).await,
        Verb::Edit(args) => args.run(session, console).await,
        Verb::Patch(args) => args.run(session, console).await,
        Verb::Scale(args) => args.run(session, console).await,
        Verb::Label(args) => args.run(session, console).await,
        Verb::Annotate(args) => args.run(session, console).await,
        Verb::Set(args) => args.run(session, console).await,
        Verb::Rollout(args) => args.run(session, console).await,
        Verb::Wait(args) => args.run(session, console).await,
        Verb::Events(args) => args.run(session, console).await,
        Verb::Logs(args) => args.run(session, console).await,
        Verb::Exec(args) => args.run(session, console).await,
        Verb::PortForward(args) => args.run(session, console).await,
        Verb::ApiResources(args) => args.run(session, console).await,
        Verb::Cluster(args) => args.run(session, console).await,
        Verb::Version(_) | Verb::Completion(_) => {
            Err(CliError::usage("this verb needs no cluster"))
        }
    }
}
