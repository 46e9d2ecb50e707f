//! What a container's command says about how it ends. A hollow container runs no program, so without a word it runs until
//! it is stopped; init containers and pods that are to complete need one.

use std::time::Duration;

/// First word of a command that ends by itself: `["exit", "CODE"]` or `["exit", "CODE", "SECONDS"]`.
pub const EXIT: &str = "exit";

/// How a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// It does not.
    Runs,
    /// With a code, after a while. A code above 128 is a signal's, as in a shell.
    Exits {
        /// The code.
        code: i32,
        /// How long it runs.
        after: Duration,
    },
}

impl Script {
    /// Reads a container's command, its arguments appended. Whatever is not a script runs.
    pub fn of(command: &[String], args: &[String]) -> Self {
        let words: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
        let (code, after) = match words.as_slice() {
            [EXIT, code] => (code.parse(), Ok(0)),
            [EXIT, code, seconds] => (code.parse(), seconds.parse()),
            _ => return Self::Runs,
        };
        match (code, after) {
            (Ok(code), Ok(seconds)) if (0..=255).contains(&code) => Self::Exits {
                code,
                after: Duration::from_secs(seconds),
            },
            _ => Self::Runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Script {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Script::of(&words, &[])
    }

    #[test]
    fn a_container_ends_as_its_command_says() {
        let ends = |code, seconds| Script::Exits {
            code,
            after: Duration::from_secs(seconds),
        };
        assert_eq!(of(&["exit", "0"]), ends(0, 0));
        assert_eq!(of(&["exit", "139", "5"]), ends(139, 5));
        let args = ["3".to_owned()];
        assert_eq!(Script::of(&["exit".to_owned()], &args), ends(3, 0));
    }

    #[test]
    fn whatever_is_no_script_runs() {
        for words in [
            &["nginx"][..],
            &[],
            &["exit"],
            &["exit", "256"],
            &["exit", "1", "soon"],
            &["exit", "1", "2", "3"],
        ] {
            assert_eq!(of(words), Script::Runs, "{words:?}");
        }
    }
}
