//! Starting: what ends how, and what is refused with which words.

use std::path::PathBuf;

use super::case::{Case, Subject, tell_fifo};
use super::program::Program;
use crate::contract::id::SandboxId;
use crate::contract::spec::PullPolicy;
use crate::contract::status::{ContainerState, ExitReason};
use crate::error::RuntimeError;

/// Code 0 is Completed, with times.
pub async fn a_program_that_ends_with_zero_is_completed<S: Subject>(case: Case<S>) {
    let exit = case
        .run_to_end(&case.container(&Program::Exit { code: 0 }))
        .await;
    assert_eq!(
        (exit.exit_code, exit.reason, exit.signal),
        (0, ExitReason::Completed, None)
    );
    assert!(exit.started_at.expect("it ran") <= exit.finished_at);
    case.finish().await;
}

/// Another code is Error and is kept.
pub async fn a_program_that_fails_keeps_its_code<S: Subject>(case: Case<S>) {
    let exit = case
        .run_to_end(&case.container(&Program::Exit { code: 42 }))
        .await;
    assert_eq!((exit.exit_code, exit.reason), (42, ExitReason::Error));
    case.finish().await;
}

/// A crash is 128 plus the signal.
pub async fn a_crash_is_128_plus_the_signal<S: Subject>(case: Case<S>) {
    let exit = case
        .run_to_end(&case.container(&Program::Crash { signal: 11 }))
        .await;
    assert_eq!(
        (exit.exit_code, exit.reason, exit.signal),
        (139, ExitReason::Error, Some(11))
    );
    case.finish().await;
}

/// A running container is listed as such under its identity.
pub async fn a_running_container_is_listed<S: Subject>(case: Case<S>) {
    let started = case.run(&Program::Forever).await;
    assert!(
        matches!(started.state, ContainerState::Running { .. }),
        "{started:?}"
    );
    let inventory = case.runtime().list().await.expect("a list");
    assert_eq!(inventory.sandboxes.len(), 1);
    assert_eq!(inventory.sandboxes[0].pod, case.sandbox_spec.pod);
    assert_eq!(inventory.containers, std::slice::from_ref(&started));
    assert_eq!((started.name.as_str(), started.attempt), ("main", 0));
    assert_eq!(started.pod_uid, case.sandbox_spec.pod.uid);
    case.finish().await;
}

/// A missing program is named in the error and recorded as StartError.
pub async fn a_missing_command_is_a_start_error<S: Subject>(case: Case<S>) {
    let error = case
        .start(&case.container(&Program::Missing))
        .await
        .expect_err("there is no such program");
    assert!(
        matches!(error, RuntimeError::CommandNotFound { .. }),
        "{error:?}"
    );
    assert_recorded(&case, ExitReason::StartError).await;
    case.finish().await;
}

/// A file without execute permission cannot run.
pub async fn a_file_that_is_not_executable_cannot_run<S: Subject>(case: Case<S>) {
    let error = case
        .start(&case.container(&Program::NotExecutable))
        .await
        .expect_err("it is not executable");
    assert!(matches!(error, RuntimeError::CannotRun { .. }), "{error:?}");
    assert_recorded(&case, ExitReason::ContainerCannotRun).await;
    case.finish().await;
}

/// A missing working directory is named in the error.
pub async fn a_missing_working_directory_is_a_start_error<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::Exit { code: 0 });
    spec.working_dir = Some(PathBuf::from("/pontoon-conformance/no-such-directory"));
    let error = case
        .start(&spec)
        .await
        .expect_err("there is no such directory");
    assert!(
        matches!(error, RuntimeError::StartError { .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("/pontoon-conformance/no-such-directory"),
        "{error}"
    );
    assert_recorded(&case, ExitReason::StartError).await;
    case.finish().await;
}

async fn assert_recorded<S: Subject>(case: &Case<S>, reason: ExitReason) {
    let inventory = case.runtime().list().await.expect("a list");
    match &inventory.containers[0].state {
        ContainerState::Exited(exit) => {
            assert_eq!(
                (exit.reason, exit.exit_code, exit.started_at),
                (reason, 128, None)
            );
            assert!(!exit.message.is_empty());
        }
        state => panic!("{state:?}"),
    }
}

/// An unreadable image name is refused as such.
pub async fn a_malformed_image_name_is_refused<S: Subject>(case: Case<S>) {
    let error = case
        .runtime()
        .ensure_image("not an image", PullPolicy::IfNotPresent)
        .await
        .expect_err("malformed");
    assert!(
        matches!(error, RuntimeError::InvalidImageName { .. }),
        "{error:?}"
    );
    case.runtime()
        .ensure_image(&case.subject.image(), PullPolicy::IfNotPresent)
        .await
        .expect("it is there");
    case.finish().await;
}

/// A container needs its sandbox.
pub async fn a_container_needs_a_sandbox<S: Subject>(case: Case<S>) {
    let nowhere = SandboxId::new("00000000-0000-4000-8000-ffffffffffff-0");
    let spec = case.container(&Program::Exit { code: 0 });
    let error = case
        .runtime()
        .start_container(&nowhere, &spec)
        .await
        .expect_err("no such sandbox");
    assert!(matches!(error, RuntimeError::NotFound { .. }), "{error:?}");
    case.finish().await;
}

/// The same sandbox asked for twice is one.
pub async fn the_same_sandbox_is_made_once<S: Subject>(case: Case<S>) {
    let again = case
        .runtime()
        .create_sandbox(&case.sandbox_spec)
        .await
        .expect("it exists");
    assert_eq!(again, case.sandbox);
    assert_eq!(
        case.runtime().list().await.expect("a list").sandboxes.len(),
        1
    );
    case.finish().await;
}

/// However often and at once an attempt is started, its program runs once.
pub async fn one_attempt_runs_once<S: Subject>(case: Case<S>) {
    let mark = case.subject.directory().join("mark");
    let fifo = case.fifo("once");
    let spec = case.container(&Program::MarkAndRun { path: mark.clone() });
    let starts = futures::future::join_all((0..4).map(|_| case.start(&spec))).await;
    let ids: Vec<_> = starts
        .into_iter()
        .map(|started| started.expect("it starts or runs").id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // A second container proves that time has passed for a wrong second copy to leave its mark.
    let mut witness = case.container(&Program::ExitWhenTold {
        fifo: fifo.clone(),
        code: 0,
    });
    witness.name = "witness".to_owned();
    let witness = case.start(&witness).await.expect("it starts");
    let _told = tell_fifo(&fifo);
    case.exit_of(&witness.id).await;
    case.stop(&ids[0], std::time::Duration::from_secs(10)).await;
    let again = case.start(&spec).await.expect("the attempt exists");
    assert!(
        matches!(again.state, ContainerState::Exited(_)),
        "{again:?}"
    );
    assert_eq!(
        std::fs::read_to_string(&mark).expect("the mark"),
        "started\n"
    );
    case.finish().await;
}

/// Attempts of one container are told apart.
pub async fn attempts_are_separate<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::Exit { code: 1 });
    let first = case.run_to_end(&spec).await;
    spec.attempt = 1;
    spec.command = case.subject.command(&Program::Exit { code: 2 });
    let second = case.run_to_end(&spec).await;
    assert_eq!((first.exit_code, second.exit_code), (1, 2));
    assert_eq!(
        case.runtime()
            .list()
            .await
            .expect("a list")
            .containers
            .len(),
        2
    );
    case.finish().await;
}

/// The environment is what the spec says; the later of two entries counts.
pub async fn the_environment_is_given<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::PrintVariable {
        name: "GREETING".to_owned(),
    });
    spec.env.push(("GREETING".to_owned(), "first".to_owned()));
    spec.env
        .push(("GREETING".to_owned(), "a = 'b' $c".to_owned()));
    assert_eq!(case.output_of(&spec).await.0, "a = 'b' $c\n");
    case.finish().await;
}

/// The working directory is what the spec says.
pub async fn the_working_directory_is_given<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::PrintWorkingDirectory);
    spec.working_dir = Some(PathBuf::from("/usr"));
    assert_eq!(case.output_of(&spec).await.0, "/usr\n");
    case.finish().await;
}
