//! The part of the suite that can hold for a runtime that starts nothing: what ends how, what is listed, stopped and
//! removed, and that what is missing is said. Left out is what a program would have to do itself (leave a mark, print, heed TERM,
//! be missing), and what outlives the process.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use pontoon_hollow::HollowRuntime;
use pontoon_runtime::conformance::Subject;
use pontoon_runtime::conformance::program::Program;
use pontoon_runtime::{ContainerId, Runtime};
use std::path::Path;
use std::sync::Arc;

struct HollowSubject {
    runtime: Arc<HollowRuntime>,
    directory: tempfile::TempDir,
}

#[async_trait]
impl Subject for HollowSubject {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    async fn restart(&mut self) {}

    fn image(&self) -> String {
        "nginx:1".to_owned()
    }

    fn command(&self, program: &Program) -> Vec<String> {
        let code = match program {
            Program::Exit { code } => *code,
            Program::Crash { signal } => 128 + signal,
            _ => return vec!["run".to_owned()],
        };
        vec!["exit".to_owned(), code.to_string()]
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn kill_supervisor(&mut self, _id: &ContainerId) -> bool {
        false
    }
}

async fn subject() -> HollowSubject {
    HollowSubject {
        runtime: Arc::new(HollowRuntime::new(Arc::new(jiff::Timestamp::now))),
        directory: tempfile::tempdir().unwrap(),
    }
}

pontoon_runtime::conformance_cases! { subject;
    start: a_program_that_ends_with_zero_is_completed, a_program_that_fails_keeps_its_code,
        a_crash_is_128_plus_the_signal, a_running_container_is_listed, a_malformed_image_name_is_refused,
        a_container_needs_a_sandbox, the_same_sandbox_is_made_once, attempts_are_separate;
    stop: a_program_ends_by_term, without_grace_it_is_killed, stopping_is_idempotent,
        removal_is_idempotent_and_refuses_what_runs, a_stopped_sandbox_runs_nothing;
    exec: an_exec_needs_a_running_container;
    limits: too_much_memory_is_oom_killed, a_cpu_limit_throttles, a_pids_limit_holds, usage_is_measured;
}
