//! Where everything a person sees goes, and where what they type comes from.

use std::io::{self, IsTerminal as _, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Input as a command reads it.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Which of the three streams a person sits at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input.
    pub input: bool,
    /// Standard output.
    pub output: bool,
    /// Standard error.
    pub errors: bool,
    /// Whether colour is welcome on those that are terminals (`NO_COLOR` is not set).
    pub colour: bool,
}

/// Standard input, output and error, or a test's.
pub struct Console {
    output: Box<dyn Write + Send>,
    errors: Box<dyn Write + Send>,
    input: Option<Input>,
    terminal: Terminal,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// The process's own streams. Call it inside a tokio runtime.
    #[must_use]
    pub fn standard() -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = Terminal {
            input: io::stdin().is_terminal(),
            output: io::stdout().is_terminal(),
            errors: io::stderr().is_terminal(),
            colour,
        };
        Self::new(
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            Box::new(tokio::io::stdin()),
            terminal,
        )
    }

    /// Over any streams.
    #[must_use]
    pub fn new(
        output: Box<dyn Write + Send>,
        errors: Box<dyn Write + Send>,
        input: Input,
        terminal: Terminal,
    ) -> Self {
        Self {
            output,
            errors,
            input: Some(input),
            terminal,
        }
    }

    /// Which streams are terminals.
    #[must_use]
    pub const fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// Whether the answer may be coloured.
    #[must_use]
    pub const fn colours(&self) -> bool {
        self.terminal.output && self.terminal.colour
    }

    /// Writes a part of the answer as it is.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes a line of the answer.
    ///
    /// # Errors
    /// As [`Console::print`].
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes bytes of the answer.
    ///
    /// # Errors
    /// As [`Console::print`].
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    /// Writes bytes to standard error.
    ///
    /// # Errors
    /// As [`Console::print`].
    pub fn error_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.errors.write_all(bytes)?;
        self.errors.flush()
    }

    /// Writes a line to standard error: warnings, errors, what is going on. Where nobody reads
    /// it, it is lost: the exit code still tells.
    pub fn note(&mut self, text: &str) {
        let text = text.trim_end_matches('\n');
        let _ = self.error_bytes(format!("{text}\n").as_bytes());
    }

    /// Takes standard input; it can be read once.
    pub fn take_input(&mut self) -> Option<Input> {
        self.input.take()
    }

    /// Reads standard input to its end, at most `limit` bytes of it.
    ///
    /// # Errors
    /// When it cannot be read, was read before or is longer.
    pub async fn read_input(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let input = self.take_input().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "standard input was read already",
            )
        })?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        input
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .await?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is longer than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }
}
