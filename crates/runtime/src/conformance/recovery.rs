//! Containers outlive the agent, and none is lost, doubled or misreported.

use super::case::{Case, Subject, exit_of, in_time, tell_fifo};
use super::program::Program;
use crate::contract::status::{ContainerState, ExitReason};

/// What runs is found again as it was, and can be stopped.
pub async fn a_running_container_is_found_again<S: Subject>(mut case: Case<S>) {
    let before = case.run(&Program::Forever).await;
    case.subject.restart().await;
    let after = case
        .runtime()
        .container_status(&before.id)
        .await
        .expect("it is found");
    assert_eq!(after, before);
    let again = case
        .start(&case.container(&Program::Forever))
        .await
        .expect("it runs");
    assert_eq!(again, before);
    let exit = case
        .stop(&before.id, std::time::Duration::from_secs(600))
        .await;
    assert_eq!(exit.exit_code, 143);
    case.finish().await;
}

/// An end after a restart is told as an event.
pub async fn an_end_after_a_restart_is_told<S: Subject>(mut case: Case<S>) {
    let fifo = case.fifo("told");
    let status = case
        .run(&Program::ExitWhenTold {
            fifo: fifo.clone(),
            code: 21,
        })
        .await;
    case.subject.restart().await;
    let runtime = case.runtime();
    let id = status.id.clone();
    let waiting = tokio::spawn(async move { exit_of(runtime, &id).await });
    let _told = tell_fifo(&fifo);
    let exit = in_time("exit", waiting).await.expect("the wait ends");
    assert_eq!((exit.exit_code, exit.reason), (21, ExitReason::Error));
    case.finish().await;
}

/// The code and the output of a program that ended are known to the next agent.
pub async fn an_end_is_remembered<S: Subject>(mut case: Case<S>) {
    let print = Program::Print {
        stdout: "bye\n".to_owned(),
        stderr: String::new(),
        code: 33,
    };
    let spec = case.container(&print);
    let before = case.run_to_end(&spec).await;
    case.subject.restart().await;
    let inventory = case.runtime().list().await.expect("a list");
    match &inventory.containers[0].state {
        ContainerState::Exited(exit) => assert_eq!(*exit, before),
        state => panic!("{state:?}"),
    }
    case.finish().await;
}

/// A failed start is known to the next agent.
pub async fn a_failed_start_is_remembered<S: Subject>(mut case: Case<S>) {
    case.start(&case.container(&Program::Missing))
        .await
        .expect_err("no such program");
    case.subject.restart().await;
    let inventory = case.runtime().list().await.expect("a list");
    match &inventory.containers[0].state {
        ContainerState::Exited(exit) => assert_eq!(exit.reason, ExitReason::StartError),
        state => panic!("{state:?}"),
    }
    case.finish().await;
}

/// A container whose supervisor was killed is reported as ended with unknown cause, and is not run again.
pub async fn a_killed_supervisor_ends_the_container_once<S: Subject>(mut case: Case<S>) {
    let mark = case.subject.directory().join("mark");
    let spec = case.container(&Program::MarkAndRun { path: mark.clone() });
    let status = case.start(&spec).await.expect("it starts");
    let _ = super::exec::run(&case, &status.id, &Program::Exit { code: 0 }).await;
    if case.subject.kill_supervisor(&status.id).await {
        let exit = case.exit_of(&status.id).await;
        assert_eq!((exit.reason, exit.exit_code), (ExitReason::Unknown, 137));
        let again = case.start(&spec).await.expect("the attempt exists");
        assert!(
            matches!(again.state, ContainerState::Exited(_)),
            "{again:?}"
        );
        assert!(
            std::fs::read_to_string(&mark)
                .unwrap_or_default()
                .lines()
                .count()
                <= 1
        );
    }
    case.finish().await;
}
