//! The flags that every verb takes, and what the binary brings.

use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

/// Flags that say which cluster, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Globals {
    /// Path to the kubeconfig file to use.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// The namespace to work in.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    pub namespace: Option<String>,
    /// How long to wait for the server's answer to one request (0 for as long as it takes).
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, help_heading = "Cluster")]
    pub request_timeout: Option<Duration>,
}

/// What the binary knows and a verb needs.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// The clock.
    pub now: fn() -> Timestamp,
    /// The whole command line, for completion.
    pub command: fn() -> clap::Command,
    /// This binary's version, such as `0.1.0`.
    pub version: &'static str,
    /// An environment variable's value, unless it is unset or empty.
    pub variable: fn(&str) -> Option<String>,
}

/// Reads a duration as Go writes it: `90s`, `1m30s`, `500ms`, `1h`; a bare number is seconds.
///
/// # Errors
/// Says what is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: use such as 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    proptest::proptest! {
        #[test]
        fn any_text_is_a_duration_or_not(text in r"[0-9.hms-]{0,30}|\PC{0,20}") {
            let _ = duration(&text);
        }
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in [
            "",
            "s",
            "3x",
            "-1s",
            "1m30",
            "99999999999999999999h",
            "1e5s",
            "é",
        ] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
