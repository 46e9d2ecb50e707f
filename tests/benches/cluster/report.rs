//! Figures as people read them: a line when it is known, a table at the end.

use crate::samples::Samples;
use std::fmt::Write as _;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    PerSecond,
    Megabytes,
    Bytes,
    /// Percent of one core.
    Percent,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::PerSecond => "/s",
            Self::Megabytes => "MB",
            Self::Bytes => "B",
            Self::Percent => "% of a core",
        }
    }

    const fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }
}

/// One thing that was measured.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    /// One per repetition.
    pub values: Samples,
    /// Latencies of the single operations in milliseconds, where the values are not those.
    pub latencies: Samples,
    /// What the median is to reach.
    pub aim: Option<f64>,
    /// What the 99th percentile is to reach.
    pub aim_p99: Option<f64>,
    /// The reference beside it, in the same unit.
    pub peer: Option<String>,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: Unit, values: Samples) -> Self {
        let (latencies, aim, aim_p99, peer) = (Samples::default(), None, None, None);
        Self {
            name: name.into(),
            unit,
            values,
            latencies,
            aim,
            aim_p99,
            peer,
        }
    }

    pub const fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }

    pub const fn aim_p99(mut self, aim: f64) -> Self {
        self.aim_p99 = Some(aim);
        self
    }

    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.peer = Some(peer.into());
        self
    }

    pub fn latencies(mut self, latencies: Samples) -> Self {
        self.latencies = latencies;
        self
    }

    /// Whether the machine reached what was aimed at.
    fn verdict(&self) -> String {
        let judge = |aim: Option<f64>, reached: f64, what: &str| {
            let aim = aim?;
            let met = if self.unit.more_is_better() {
                reached >= aim
            } else {
                reached <= aim
            };
            let verdict = if met { "met" } else { "missed" };
            Some(format!("{what}{}: {verdict}", number(aim)))
        };
        let parts = [
            judge(self.aim, self.values.median(), ""),
            judge(self.aim_p99, self.values.percentile(99.0), "p99 "),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn spread(&self) -> String {
        let values = &self.values;
        let mut text = format!(
            "{} / {} / {}, {} times",
            number(values.smallest()),
            number(values.median()),
            number(values.largest()),
            values.count()
        );
        let (tail, prefix) = match self.latencies.is_empty() {
            true if self.unit == Unit::Milliseconds && values.count() >= 20 => (values, ""),
            true => return text,
            false => (&self.latencies, "each "),
        };
        let [middle, late] = [50.0, 99.0].map(|percent| number(tail.percentile(percent)));
        // Writing to a String cannot fail.
        let _ = write!(text, "; {prefix}p50 {middle} ms, p99 {late} ms");
        text
    }
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<String>,
}

impl Report {
    pub fn add(&mut self, figure: &Figure) {
        let median = format!("{} {}", number(figure.values.median()), figure.unit.name());
        let (spread, verdict) = (figure.spread(), figure.verdict());
        let aim = if verdict.is_empty() { "-" } else { &verdict };
        println!(
            "{}: {median} (min/median/max {spread}) aim {aim}",
            figure.name
        );
        self.rows.push(format!(
            "| {} | {median} | {spread} | {aim} | {} |",
            figure.name,
            figure.peer.as_deref().unwrap_or("-")
        ));
    }

    /// A group that could not be measured stays visible.
    pub fn failed(&mut self, name: &str, error: &anyhow::Error) {
        let error = format!("{error:#}").replace(['\n', '|'], " ");
        self.rows
            .push(format!("| {name} | not measured | {error} | - | - |"));
    }

    /// As docs/benchmarks.md shows it.
    pub fn table(&self) -> String {
        let head = "| what | median | min / median / max | aim | peer: Kubernetes 1.36.2*, or etcd in this run |\n|---|---|---|---|---|\n";
        format!("{head}{}\n", self.rows.join("\n"))
    }
}
