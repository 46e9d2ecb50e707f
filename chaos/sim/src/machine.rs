//! The machine under a simulated thread: its clock and its random numbers.
//!
//! `World` is Pontoon's own door to both, but libraries go around it: `HashMap`'s keys, `rand`'s generator (election
//! timeouts), tokio's fair `select!`, HTTP's date header. All of them end at two functions of libc, which this program
//! defines itself. A thread that has not entered a simulation gets what the system says.
#![allow(unsafe_code)]

use nix::libc;
use std::cell::Cell;
use std::time::Duration;

/// Simulated time begins here, in seconds since 1970.
pub const EPOCH_SECONDS: u64 = 1_700_000_000;

thread_local! {
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    static NUMBERS: Cell<u64> = const { Cell::new(0) };
}

/// From here on this thread's time and random numbers are simulated.
pub fn enter(seed: u64) {
    NUMBERS.set(seed);
    NOW.set(Some(Duration::ZERO));
}

/// Sets the time passed since the simulation began.
pub fn set_now(now: Duration) {
    NOW.set(Some(now));
}

/// The next number of this thread (SplitMix64).
fn number() -> u64 {
    let state = NUMBERS.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    NUMBERS.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// In place of libc's: `std`, `getrandom` and thereby `rand` ask it.
///
/// # Safety
/// As `getrandom(2)`: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    if NOW.get().is_none() {
        // SAFETY: the caller's promise is the system call's own.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    if length > 0 {
        // SAFETY: the caller promises `length` bytes, of which none is read.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&number().to_le_bytes()[..chunk.len()]);
        }
    }
    length.cast_signed()
}

/// In place of libc's: `std::time` asks it.
///
/// # Safety
/// As `clock_gettime(2)`: `time` is valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    let simulated = !matches!(
        clock,
        libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID
    );
    let Some(now) = NOW.get().filter(|_| simulated) else {
        // SAFETY: the caller's promise is the system call's own.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int };
    };
    let seconds = now.as_secs() + EPOCH_SECONDS;
    let written = libc::timespec {
        tv_sec: seconds.cast_signed(),
        tv_nsec: i64::from(now.subsec_nanos()),
    };
    // SAFETY: the caller promises that `time` can be written.
    unsafe { time.write(written) };
    0
}
