//! What every runtime must do.
//!
//! A runtime's own tests implement [`Subject`] and call [`conformance_suite!`](crate::conformance_suite) with a function that makes one;
//! each case becomes a test. Cases about something a runtime cannot do on this node check instead that it says so.

pub mod case;
pub mod exec;
pub mod limits;
pub mod logs;
pub mod mounts;
pub mod program;
pub mod recovery;
pub mod start;
pub mod stop;

pub use case::{Case, Subject};

/// Makes a test of every case of the suite. The argument is the path of a function without parameters that returns a
/// future of a [`Subject`].
#[macro_export]
macro_rules! conformance_suite {
    ($factory:path) => {
        $crate::conformance_cases! { $factory;
            start: a_program_that_ends_with_zero_is_completed, a_program_that_fails_keeps_its_code,
                a_crash_is_128_plus_the_signal, a_running_container_is_listed, a_missing_command_is_a_start_error,
                a_file_that_is_not_executable_cannot_run, a_missing_working_directory_is_a_start_error,
                a_malformed_image_name_is_refused, a_container_needs_a_sandbox, the_same_sandbox_is_made_once,
                one_attempt_runs_once, attempts_are_separate, the_environment_is_given,
                the_working_directory_is_given;
            stop: a_program_ends_by_term, a_program_that_heeds_term_ends_with_its_code,
                a_deaf_program_is_killed_after_its_grace, without_grace_it_is_killed, stopping_is_idempotent,
                descendants_die_when_the_container_is_stopped, descendants_die_when_the_program_ends,
                removal_is_idempotent_and_refuses_what_runs, a_stopped_sandbox_runs_nothing;
            logs: both_streams_are_logged, a_last_line_without_an_end_is_partial,
                a_long_line_is_cut_and_joins_again, binary_output_is_kept;
            exec: an_exec_has_streams_and_a_code, an_exec_sees_the_environment, an_exec_takes_input,
                an_exec_with_a_terminal_knows_its_size, an_exec_of_a_missing_command_is_refused,
                an_exec_needs_a_running_container, a_dropped_exec_is_killed, an_exec_ends_with_its_container;
            limits: too_much_memory_is_oom_killed, a_cpu_limit_throttles, a_pids_limit_holds, usage_is_measured;
            mounts: a_volume_appears_at_any_path, a_read_only_volume_refuses_writes, network_files_are_the_pods_own;
            recovery: a_running_container_is_found_again, an_end_after_a_restart_is_told, an_end_is_remembered,
                a_failed_start_is_remembered, a_killed_supervisor_ends_the_container_once;
        }
    };
}

/// The list of [`conformance_suite!`](crate::conformance_suite) written out. A runtime that starts nothing, for which only a part can
/// hold, writes its own.
#[macro_export]
macro_rules! conformance_cases {
    ($factory:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let case = $crate::conformance::Case::new($factory().await).await;
                $crate::conformance::$module::$case(case).await;
            })+
        })+
    };
}
