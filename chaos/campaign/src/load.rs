//! The workloads of a run.

use crate::limits::{AFTERMATH, OPERATIONS_PER_SECOND, OPERATIONS_PER_WORKLOAD};
use anyhow::{Context as _, Result};
use pontoon_history::watch::Scope;
use pontoon_report::{End, Workload};
use pontoon_workloads::append::Append;
use pontoon_workloads::churn::Churn;
use pontoon_workloads::lock::Lock;
use pontoon_workloads::register::Register;
use pontoon_workloads::set::Set;
use pontoon_workloads::{DotEnd, Servers, Stop};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients of each workload that writes.
const CLIENTS: u32 = 3;

/// Watchers; their scopes are in `start`.
const WATCHERS: u32 = 3;

/// Everything that clients do.
pub(crate) struct Load {
    runtime: tokio::runtime::Runtime,
    servers: Servers,
    register: Arc<Register>,
    set: Arc<Set>,
    append: Arc<Append>,
    lock: Arc<Lock>,
    churn: Arc<Churn>,
    clients: JoinSet<Result<()>>,
    watchers: JoinSet<Result<()>>,
    stop: Stop,
    stop_watching: Stop,
}

impl Load {
    /// Starts them. The calling thread's network is theirs.
    pub(crate) fn start(servers: Servers, seed: u64, start: Instant) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime
            .block_on(async {
                Append::prepare(&servers).await?;
                Lock::prepare(&servers).await?;
                Churn::prepare(&servers).await
            })
            .context("prepare the workloads")?;
        let mut load = Self {
            runtime,
            servers,
            register: Arc::new(Register::new(start)),
            set: Arc::new(Set::new(start)),
            append: Arc::new(Append::new(start)),
            lock: Arc::new(Lock::new(start)),
            churn: Arc::new(Churn::new(start)),
            clients: JoinSet::new(),
            watchers: JoinSet::new(),
            stop: Stop::default(),
            stop_watching: Stop::default(),
        };
        load.spawn(seed);
        Ok(load)
    }

    fn spawn(&mut self, seed: u64) {
        let _inside = self.runtime.enter();
        for process in 0..CLIENTS {
            let seed = seed
                .wrapping_mul(1_000)
                .wrapping_add(u64::from(process) * 10);
            let (servers, stop) = (self.servers.clone(), self.stop.clone());
            let (register, own, ends) = (Arc::clone(&self.register), servers.clone(), stop.clone());
            self.clients
                .spawn(async move { register.client(&own, process, seed, &ends).await });
            let (set, own, ends) = (Arc::clone(&self.set), servers.clone(), stop.clone());
            self.clients
                .spawn(async move { set.client(&own, process, seed + 1, &ends).await });
            let (append, own, ends) = (Arc::clone(&self.append), servers.clone(), stop.clone());
            self.clients
                .spawn(async move { append.client(&own, process, seed + 2, &ends).await });
            let (lock, own, ends) = (Arc::clone(&self.lock), servers.clone(), stop.clone());
            self.clients
                .spawn(async move { lock.client(&own, process, seed + 3, &ends).await });
            if process > 0 {
                let churn = Arc::clone(&self.churn);
                self.clients
                    .spawn(async move { churn.writer(&servers, process, seed + 4, &stop).await });
            } else {
                let churn = Arc::clone(&self.churn);
                self.clients
                    .spawn(async move { churn.lister(&servers, process, seed + 5, &stop).await });
            }
        }
        for number in 0..WATCHERS {
            let scope = match number {
                0 => Scope::All,
                1 => Scope::Residue {
                    divisor: 3,
                    remainder: 1,
                },
                _ => Scope::Key(4),
            };
            let (churn, servers, stop) = (
                Arc::clone(&self.churn),
                self.servers.clone(),
                self.stop_watching.clone(),
            );
            let seed = seed.wrapping_add(u64::from(number)).wrapping_mul(7_919);
            self.watchers
                .spawn(async move { churn.watcher(&servers, number, scope, seed, &stop).await });
        }
    }

    /// Lets clients go on a little, stops them, and judges.
    pub(crate) fn finish(mut self) -> Result<Vec<pontoon_workloads::Result>> {
        self.runtime.block_on(async {
            tokio::time::sleep(AFTERMATH).await;
            self.stop.now();
            while let Some(ended) = self.clients.join_next().await {
                ended.context("a client panicked")??;
            }
            self.set.read_all(&self.servers).await?;
            tokio::time::sleep(AFTERMATH).await;
            self.stop_watching.now();
            while let Some(ended) = self.watchers.join_next().await {
                ended.context("a watcher panicked")??;
            }
            anyhow::Ok(())
        })?;
        const HELD: &str = "its clients have ended";
        let mut results = vec![
            Arc::into_inner(self.register).context(HELD)?.judge(),
            Arc::into_inner(self.set).context(HELD)?.judge(),
            Arc::into_inner(self.append).context(HELD)?.judge(),
            Arc::into_inner(self.lock).context(HELD)?.judge(),
        ];
        results.extend(Arc::into_inner(self.churn).context(HELD)?.judge());
        Ok(results)
    }
}

/// What makes a run fail that is not a fault's doing: a verdict, or too little done.
pub(crate) fn complaints(results: &[pontoon_workloads::Result], length: Duration) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut total = 0;
    for result in results {
        if !result.verdict.is_valid() {
            complaints.push(format!("{}: {}", result.name, result.verdict));
        }
        let done = result
            .dots
            .iter()
            .filter(|dot| dot.end == DotEnd::Done)
            .count();
        total += done;
        if done < OPERATIONS_PER_WORKLOAD {
            complaints.push(format!(
                "{}: {done} operations done; {OPERATIONS_PER_WORKLOAD} are needed to show anything",
                result.name
            ));
        }
    }
    let rate = total as f64 / length.as_secs_f64();
    if rate < OPERATIONS_PER_SECOND {
        complaints.push(format!(
            "{rate:.0} operations a second; {OPERATIONS_PER_SECOND} are needed to show anything"
        ));
    }
    complaints
}

/// A result as the report takes it.
pub(crate) fn shown(result: &pontoon_workloads::Result) -> Workload {
    let seconds = |moment: pontoon_history::Moment| moment.0 as f64 / 1e9;
    let operations = result
        .dots
        .iter()
        .filter(|dot| dot.to != pontoon_history::Moment::NEVER)
        .map(|dot| {
            let end = match dot.end {
                DotEnd::Done => End::Done,
                DotEnd::Failed => End::Failed,
                DotEnd::Indeterminate => End::Indeterminate,
            };
            (seconds(dot.from), seconds(dot.to), end)
        });
    Workload {
        name: result.name.to_owned(),
        valid: result.verdict.is_valid(),
        verdict: result.verdict.to_string(),
        figures: result.figures.clone(),
        operations: operations.collect(),
    }
}
