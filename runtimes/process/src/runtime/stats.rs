//! What a container uses: from its control groups, or else from its session's processes.

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};
use pontoon_runtime::ContainerStats;

use crate::cgroup::Group;
use crate::procfs;

pub(super) fn measure(group: Option<&Group>, program: i32, at: Timestamp) -> ContainerStats {
    let (cpu, memory, pids) = group.map_or((None, None, None), Group::usage);
    let session = session_usage(program);
    ContainerStats {
        at,
        cpu_usage_nanos: cpu.unwrap_or(session.0),
        memory_working_set_bytes: memory.unwrap_or(session.1),
        pids: pids.or(Some(session.2)),
    }
}

/// Time, memory and number of the living processes of the program's session. What ended is not counted, and shared
/// pages are counted for each: an estimate.
fn session_usage(program: i32) -> (u64, u64, u64) {
    let of = |variable, default: u64| {
        sysconf(variable)
            .ok()
            .flatten()
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(default)
    };
    let tick_nanos = 1_000_000_000 / of(SysconfVar::CLK_TCK, 100).max(1);
    let page_bytes = of(SysconfVar::PAGE_SIZE, 4096);
    let members = procfs::all().filter(|process| process.session == program);
    members.fold((0, 0, 0), |(cpu, memory, count), process| {
        (
            cpu + process.cpu_ticks * tick_nanos,
            memory + process.resident_pages * page_bytes,
            count + 1,
        )
    })
}
