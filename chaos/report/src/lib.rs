//! One page about one run: what was done to the servers and when, what clients saw, the verdicts, and how to do it again. The page
//! needs nothing but itself.

use std::fmt::Write as _;

/// One thing that was done to the servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Its kind.
    pub kind: String,
    /// What exactly, in words.
    pub story: String,
    /// Seconds since the run began.
    pub from: f64,
    /// When it was taken back.
    pub to: f64,
    /// Seconds from then until a write was acknowledged.
    pub recovered_after: Option<f64>,
    /// Whether it was seen to have an effect.
    pub fired: bool,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Done.
    Done,
    /// Certainly not done.
    Failed,
    /// Nobody knows.
    Indeterminate,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Whether nothing was wrong.
    pub valid: bool,
    /// The verdict in words.
    pub verdict: String,
    /// Figures in words.
    pub figures: String,
    /// Each operation: when it began and ended, in seconds, and how.
    pub operations: Vec<(f64, f64, End)>,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What chose everything that chance chose.
    pub seed: u64,
    /// Servers.
    pub servers: usize,
    /// Seconds.
    pub length: f64,
    /// The command that does it again.
    pub repeat: String,
    /// Why the run as a whole failed; empty when it passed.
    pub failures: Vec<String>,
    /// What was done.
    pub faults: Vec<Fault>,
    /// What clients did.
    pub workloads: Vec<Workload>,
}

/// Width of the drawings, in pixels.
const WIDTH: f64 = 1_100.0;

/// Operations that one drawing shows: more make a page that browsers choke on. The rest is thinned out evenly.
const DRAWN: usize = 4_000;

/// The page.
#[must_use]
pub fn page(run: &Run) -> String {
    let mut html = String::from(HEAD);
    let outcome = if run.failures.is_empty() {
        "passed"
    } else {
        "failed"
    };
    let _ = write!(
        html,
        "<h1>Chaos: <span class={outcome}>{outcome}</span></h1><p>{} servers, {:.0} seconds, seed {}. Again: <code>{}</code></p>",
        run.servers,
        run.length,
        run.seed,
        escaped(&run.repeat)
    );
    for failure in &run.failures {
        let _ = write!(html, "<p class=failed>{}</p>", escaped(failure));
    }
    html.push_str("<h2>Verdicts</h2><table><tr><th>workload<th>operations<th>done<th>failed<th>unknown<th>p50 ms<th>p99 ms<th>figures<th>verdict");
    for workload in &run.workloads {
        row(&mut html, workload);
    }
    html.push_str("</table><h2>Faults</h2>");
    timeline(&mut html, run);
    html.push_str("<table><tr><th>from<th>to<th>kind<th>what<th>next write after");
    for fault in &run.faults {
        let recovered = fault
            .recovered_after
            .map_or("-".to_owned(), |seconds| format!("{seconds:.2} s"));
        let mark = if fault.fired { "" } else { " (no effect seen)" };
        let _ = write!(
            html,
            "<tr><td>{:.1}<td>{:.1}<td>{}{mark}<td>{}<td>{recovered}",
            fault.from,
            fault.to,
            escaped(&fault.kind),
            escaped(&fault.story)
        );
    }
    html.push_str("</table><h2>Latency</h2>");
    for workload in &run.workloads {
        latency(&mut html, run, workload);
    }
    html
}

fn row(html: &mut String, workload: &Workload) {
    let count = |end| {
        workload
            .operations
            .iter()
            .filter(|(_, _, own)| *own == end)
            .count()
    };
    let class = if workload.valid { "passed" } else { "failed" };
    let _ = write!(
        html,
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.1}<td>{:.1}<td>{}<td class={class}><pre>{}</pre>",
        escaped(&workload.name),
        workload.operations.len(),
        count(End::Done),
        count(End::Failed),
        count(End::Indeterminate),
        percentile(workload, 0.5),
        percentile(workload, 0.99),
        escaped(&workload.figures),
        escaped(&workload.verdict)
    );
}

/// Milliseconds that this share of the done operations took at most.
#[must_use]
pub fn percentile(workload: &Workload, share: f64) -> f64 {
    let done = workload
        .operations
        .iter()
        .filter(|(_, _, end)| *end == End::Done);
    let mut times: Vec<f64> = done.map(|(from, to, _)| (to - from) * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let place = (times.len() as f64 * share) as usize;
    times
        .get(place.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

fn across(run: &Run, seconds: f64) -> f64 {
    WIDTH * (seconds / run.length.max(1.0)).clamp(0.0, 1.0)
}

/// Faults as bars over what was done in each second.
fn timeline(html: &mut String, run: &Run) {
    let _ = write!(html, "<svg width={WIDTH} height=150>");
    bands(html, run, 150.0);
    let seconds = run.length.ceil().max(1.0) as usize;
    let mut rates = vec![0_usize; seconds];
    for (_, to, end) in run
        .workloads
        .iter()
        .flat_map(|workload| &workload.operations)
    {
        if *end == End::Done
            && let Some(rate) = rates.get_mut(*to as usize)
        {
            *rate += 1;
        }
    }
    let most = rates.iter().copied().max().unwrap_or(1).max(1);
    let points = rates.iter().enumerate().map(|(second, rate)| {
        format!(
            "{:.1},{:.1}",
            across(run, second as f64),
            145.0 - 130.0 * *rate as f64 / most as f64
        )
    });
    let points: Vec<String> = points.collect();
    let _ = write!(
        html,
        "<polyline points=\"{}\"/><text x=4 y=12>{most} operations/s</text></svg>",
        points.join(" ")
    );
}

fn bands(html: &mut String, run: &Run, height: f64) {
    for fault in &run.faults {
        let (from, to) = (across(run, fault.from), across(run, fault.to));
        let _ = write!(
            html,
            "<rect x={from:.1} y=0 width={:.1} height={height}><title>{}: {}</title></rect>",
            (to - from).max(1.0),
            escaped(&fault.kind),
            escaped(&fault.story)
        );
    }
}

/// A dot for each operation, at the time it began and, on a logarithmic scale, the time it took.
fn latency(html: &mut String, run: &Run, workload: &Workload) {
    let _ = write!(
        html,
        "<h3>{}</h3><svg width={WIDTH} height=160>",
        escaped(&workload.name)
    );
    bands(html, run, 160.0);
    let every = workload.operations.len().div_ceil(DRAWN).max(1);
    for (from, to, end) in workload.operations.iter().step_by(every) {
        // 0.1 ms at the bottom, 10 s at the top.
        let millis = ((to - from) * 1e3).clamp(0.1, 10_000.0);
        let up = (millis.log10() + 1.0) / 5.0;
        let class = match end {
            End::Done => "d",
            End::Failed => "f",
            End::Indeterminate => "i",
        };
        let _ = write!(
            html,
            "<circle class={class} cx={:.1} cy={:.1} r=1.5 />",
            across(run, *from),
            155.0 - 150.0 * up
        );
    }
    for (label, up) in [("1 ms", 0.2), ("100 ms", 0.6), ("10 s", 1.0)] {
        let _ = write!(
            html,
            "<text x=4 y={:.0}>{label}</text>",
            155.0 - 150.0 * up + 10.0
        );
    }
    html.push_str("</svg>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><meta charset=utf-8><title>Chaos</title><style>
body{font:14px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top}
pre{margin:0;white-space:pre-wrap;max-width:60em}.passed{color:#176d2c}.failed{color:#b3001b}svg{background:#fafafa;border:1px solid #ddd}
rect{fill:#e8b04a;opacity:.35}polyline{fill:none;stroke:#2a5caa;stroke-width:1.5}circle.d{fill:#2a5caa;opacity:.5}circle.f{fill:#b3001b}circle.i{fill:#e07b00}text{font-size:10px;fill:#666}
</style>";

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            seed: 7,
            servers: 3,
            length: 60.0,
            repeat: "chaos --seed 7".to_owned(),
            failures: vec!["a verdict is <unknown>".to_owned()],
            faults: vec![Fault {
                kind: "kill".to_owned(),
                story: "server 1".to_owned(),
                from: 10.0,
                to: 20.0,
                recovered_after: Some(0.5),
                fired: true,
            }],
            workloads: vec![Workload {
                name: "register".to_owned(),
                valid: true,
                verdict: "valid".to_owned(),
                figures: "5 keys".to_owned(),
                operations: (0..10_000)
                    .map(|n| {
                        (
                            f64::from(n) / 200.0,
                            f64::from(n) / 200.0 + 0.002,
                            End::Done,
                        )
                    })
                    .collect(),
            }],
        }
    }

    #[test]
    fn the_page_says_what_failed_with_which_seed_and_how_to_repeat_it() {
        let page = page(&run());
        for wanted in [
            "chaos --seed 7",
            "a verdict is &lt;unknown&gt;",
            "seed 7",
            "register",
            "kill",
            "0.50 s",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_does_not_grow_without_bound() {
        let page = page(&run());
        assert!(!page.contains("http") && !page.contains("src="));
        assert!(page.matches("<circle").count() <= DRAWN);
    }

    #[test]
    fn percentiles_are_of_what_was_done() {
        assert!((percentile(&run().workloads[0], 0.99) - 2.0).abs() < 0.01);
    }
}
