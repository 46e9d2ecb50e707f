//! Where log lines go and how they look.

use crate::StartError;
use std::io::IsTerminal as _;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

/// What is logged when neither a flag nor `RUST_LOG` says otherwise: state changes an operator
/// cares about, and of the libraries only what is unexpected.
pub const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,hyper_util=warn,tower=warn,tonic=warn,rustls=warn,openraft=warn,hickory_server=warn,opentelemetry=warn";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Human`] on a terminal, else [`Format::Json`].
    Auto,
    /// For eyes: coloured on a terminal.
    Human,
    /// One JSON object a line, for collectors.
    Json,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" | "text" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// The text names no log format.
#[derive(Debug, thiserror::Error)]
#[error("unknown log format {0:?}: use auto, human or json")]
pub struct UnknownFormat(String);

/// What to log, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// Directives as `RUST_LOG` takes them (`info,pontoon_state=debug`); without, `RUST_LOG`
    /// decides, and without that the [`DEFAULT_FILTER`].
    pub filter: Option<String>,
}

impl Config {
    /// The filter that applies.
    pub(crate) fn filter(&self) -> Result<EnvFilter, StartError> {
        let from_environment = || {
            std::env::var(EnvFilter::DEFAULT_ENV)
                .ok()
                .filter(|text| !text.is_empty())
        };
        let filter = self
            .filter
            .clone()
            .or_else(from_environment)
            .unwrap_or_else(|| DEFAULT_FILTER.to_owned());
        EnvFilter::try_new(&filter).map_err(|source| StartError::Filter { filter, source })
    }

    /// Writes to standard error, so that standard output stays a command's own.
    pub(crate) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let terminal = std::io::stderr().is_terminal();
        let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        match self.format {
            Format::Human => layer.with_ansi(terminal).boxed(),
            Format::Auto if terminal => layer.with_ansi(true).boxed(),
            Format::Auto | Format::Json => layer.json().flatten_event(true).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused_by_its_text() {
        let config = Config {
            format: Format::Json,
            filter: Some("pontoon=loud".to_owned()),
        };
        let error = config.filter().unwrap_err().to_string();
        assert!(error.contains("pontoon=loud"), "{error}");
    }

    #[test]
    fn the_default_filter_is_valid() {
        EnvFilter::try_new(DEFAULT_FILTER).unwrap();
    }

    #[test]
    fn an_unknown_format_is_refused_with_what_would_do() {
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "unknown log format \"xml\": use auto, human or json");
    }
}
