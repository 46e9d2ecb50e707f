//! Stopping and removing.

use std::time::Duration;

use super::case::{Case, FifoReader, Subject, in_time, tell_fifo};
use super::program::Program;
use crate::contract::capabilities::Capability;
use crate::contract::id::ContainerId;
use crate::contract::status::{ContainerState, ExitReason, SandboxState};
use crate::error::RuntimeError;

/// A grace that is never waited out.
const LONG: Duration = Duration::from_secs(600);

/// A program without a handler ends by TERM, at once.
pub async fn a_program_ends_by_term<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let exit = case.stop(&status.id, LONG).await;
    assert_eq!(
        (exit.exit_code, exit.signal, exit.reason),
        (143, Some(15), ExitReason::Error)
    );
    case.finish().await;
}

/// A program that handles TERM ends with its own code.
pub async fn a_program_that_heeds_term_ends_with_its_code<S: Subject>(case: Case<S>) {
    let ready = case.fifo("ready");
    let mut await_ready = FifoReader::open(&ready);
    let status = case.run(&Program::HeedTerm { code: 7, ready }).await;
    await_ready.await_writer().await;
    let exit = case.stop(&status.id, LONG).await;
    assert_eq!(
        (exit.exit_code, exit.signal, exit.reason),
        (7, None, ExitReason::Error)
    );
    case.finish().await;
}

/// A program that ignores TERM is killed when its grace is over.
pub async fn a_deaf_program_is_killed_after_its_grace<S: Subject>(case: Case<S>) {
    let ready = case.fifo("ready");
    let mut await_ready = FifoReader::open(&ready);
    let status = case.run(&Program::DeafToTerm { ready }).await;
    await_ready.await_writer().await;
    let begun = std::time::Instant::now();
    let exit = case.stop(&status.id, Duration::from_millis(300)).await;
    assert_eq!((exit.exit_code, exit.signal), (137, Some(9)));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    case.finish().await;
}

/// Without grace it is killed at once.
pub async fn without_grace_it_is_killed<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let exit = case.stop(&status.id, Duration::ZERO).await;
    assert_eq!((exit.exit_code, exit.signal), (137, Some(9)));
    case.finish().await;
}

/// Stopping what has ended changes nothing; stopping what never was is NotFound.
pub async fn stopping_is_idempotent<S: Subject>(case: Case<S>) {
    let spec = case.container(&Program::Exit { code: 5 });
    let status = case.start(&spec).await.expect("it starts");
    let exit = case.exit_of(&status.id).await;
    assert_eq!(case.stop(&status.id, LONG).await, exit);
    assert_eq!(case.stop(&status.id, Duration::ZERO).await, exit);
    let nothing = ContainerId::new("no-such-container");
    let error = case
        .runtime()
        .stop_container(&nothing, LONG)
        .await
        .expect_err("no such container");
    assert!(matches!(error, RuntimeError::NotFound { .. }), "{error:?}");
    case.finish().await;
}

/// What a program has started dies with it when it is stopped, even in a session of its own.
pub async fn descendants_die_when_the_container_is_stopped<S: Subject>(case: Case<S>) {
    if !case
        .runtime()
        .capabilities()
        .has(Capability::KillDescendants)
    {
        return case.finish().await;
    }
    let fifo = case.fifo("descendant");
    let mut descendant = FifoReader::open(&fifo);
    let status = case
        .run(&Program::Daemonise {
            fifo,
            then_exit: None,
        })
        .await;
    descendant.await_writer().await;
    case.stop(&status.id, LONG).await;
    descendant.await_end().await;
    case.finish().await;
}

/// What a program has started dies with it when it ends by itself.
pub async fn descendants_die_when_the_program_ends<S: Subject>(case: Case<S>) {
    if !case
        .runtime()
        .capabilities()
        .has(Capability::KillDescendants)
    {
        return case.finish().await;
    }
    let fifo = case.fifo("descendant");
    let mut descendant = FifoReader::open(&fifo);
    let go = case.fifo("go");
    let status = case
        .run(&Program::Daemonise {
            fifo,
            then_exit: Some(go.clone()),
        })
        .await;
    descendant.await_writer().await;
    let _told = tell_fifo(&go);
    assert_eq!(case.exit_of(&status.id).await.exit_code, 0);
    descendant.await_end().await;
    case.finish().await;
}

/// A running container is not removed; an ended one is; an absent one is no error.
pub async fn removal_is_idempotent_and_refuses_what_runs<S: Subject>(case: Case<S>) {
    let status = case.run(&Program::Forever).await;
    let error = case
        .runtime()
        .remove_container(&status.id)
        .await
        .expect_err("it runs");
    assert!(matches!(error, RuntimeError::Busy { .. }), "{error:?}");
    case.stop(&status.id, Duration::ZERO).await;
    case.runtime()
        .remove_container(&status.id)
        .await
        .expect("it has ended");
    case.runtime()
        .remove_container(&status.id)
        .await
        .expect("it is gone");
    assert!(
        case.runtime()
            .list()
            .await
            .expect("a list")
            .containers
            .is_empty()
    );
    case.finish().await;
}

/// Stopping a sandbox ends its containers, and no more can be started in it.
pub async fn a_stopped_sandbox_runs_nothing<S: Subject>(case: Case<S>) {
    let mut second = case.container(&Program::Forever);
    second.name = "second".to_owned();
    case.run(&Program::Forever).await;
    case.start(&second).await.expect("it starts");
    in_time(
        "stop of the sandbox",
        case.runtime().stop_sandbox(&case.sandbox),
    )
    .await
    .expect("it stops");
    let inventory = case.runtime().list().await.expect("a list");
    assert_eq!(inventory.containers.len(), 2);
    assert!(
        inventory
            .containers
            .iter()
            .all(|c| matches!(c.state, ContainerState::Exited(_))),
        "{inventory:?}"
    );
    assert_eq!(inventory.sandboxes[0].state, SandboxState::NotReady);
    second.attempt = 1;
    case.start(&second)
        .await
        .expect_err("the sandbox is stopped");
    case.runtime()
        .stop_sandbox(&case.sandbox)
        .await
        .expect("it is stopped");
    case.runtime()
        .remove_sandbox(&case.sandbox)
        .await
        .expect("it goes");
    case.runtime()
        .remove_sandbox(&case.sandbox)
        .await
        .expect("it is gone");
    case.finish().await;
}
