//! Limits hold where the runtime claims them; where it does not, the container says what was not enforced.

use super::case::{Case, FifoReader, Subject};
use super::program::Program;
use crate::contract::capabilities::Capability;
use crate::contract::spec::ContainerSpec;
use crate::contract::status::ExitReason;

/// True when the capability is there; otherwise checks that its absence is said.
async fn can<S: Subject>(case: &Case<S>, capability: Capability, spec: &mut ContainerSpec) -> bool {
    if case.runtime().capabilities().has(capability) {
        return true;
    }
    if case
        .runtime()
        .capabilities()
        .iter()
        .any(|(entry, _)| entry == capability)
        && case.runtime().handler() != "fake"
    {
        spec.command = case.subject.command(&Program::Forever);
        let status = case.start(spec).await.expect("it starts all the same");
        assert!(
            !status.warnings.is_empty(),
            "{capability:?} is missing and nobody says so"
        );
    }
    false
}

/// Beyond its memory limit a container is killed, and told so.
pub async fn too_much_memory_is_oom_killed<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::EatMemory);
    spec.limits.memory_limit_bytes = Some(32 << 20);
    if can(&case, Capability::MemoryLimit, &mut spec).await {
        let exit = case.run_to_end(&spec).await;
        assert_eq!((exit.reason, exit.exit_code), (ExitReason::OomKilled, 137));
    }
    case.finish().await;
}

/// A cpu limit slows a computation down.
pub async fn a_cpu_limit_throttles<S: Subject>(case: Case<S>) {
    let fifo = case.fifo("spun");
    let mut spec = case.container(&Program::SpinOneSecond { fifo: fifo.clone() });
    spec.limits.cpu_limit_millis = Some(100);
    if can(&case, Capability::CpuLimit, &mut spec).await {
        let mut spun = FifoReader::open(&fifo);
        let status = case.start(&spec).await.expect("it starts");
        spun.await_writer().await;
        let stats = case.runtime().stats(&status.id).await.expect("it runs");
        // One second of wall time at a tenth of a core is 100 ms; the start and the last period add to it.
        assert!(stats.cpu_usage_nanos > 20_000_000, "{stats:?}");
        assert!(stats.cpu_usage_nanos < 500_000_000, "{stats:?}");
    }
    case.finish().await;
}

/// A limit on processes keeps a container from starting more.
pub async fn a_pids_limit_holds<S: Subject>(case: Case<S>) {
    let mut spec = case.container(&Program::StartManyProcesses);
    spec.limits.pids_limit = Some(20);
    if can(&case, Capability::PidsLimit, &mut spec).await {
        assert_ne!(case.run_to_end(&spec).await.exit_code, 0);
        spec.attempt = 1;
        spec.limits.pids_limit = Some(100);
        assert_eq!(case.run_to_end(&spec).await.exit_code, 0);
    }
    case.finish().await;
}

/// Usage of a running container is measured.
pub async fn usage_is_measured<S: Subject>(case: Case<S>) {
    if case.runtime().capabilities().has(Capability::Stats) {
        let status = case.run(&Program::Forever).await;
        let stats = case.runtime().stats(&status.id).await.expect("it runs");
        assert!(stats.pids.is_none_or(|pids| pids > 0), "{stats:?}");
        // The kernel's own count of a small process' pages is batched and may still read 0; a group's is exact.
        let exact = case.runtime().capabilities().has(Capability::MemoryLimit);
        assert!(stats.memory_working_set_bytes > 0 || !exact, "{stats:?}");
    }
    case.finish().await;
}
