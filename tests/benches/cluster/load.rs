//! Clients that each do one thing after the other, as fast as they are answered.

use crate::{figures::Effort, samples::Samples};
use anyhow::Result;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What one client does over and over.
pub trait Operation: Send + 'static {
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Load {
    /// Operations per second, one for each repetition.
    pub rates: Samples,
    /// Of every operation after the warm-up, in milliseconds.
    pub latencies: Samples,
}

/// Runs all clients at once, first to warm up and then for each repetition.
pub async fn run<O: Operation>(clients: Vec<O>, effort: Effort) -> Result<Load> {
    let (mut clients, _) = once(clients, effort.warm_up).await?;
    let mut load = Load::default();
    for _ in 0..effort.repetitions {
        let start = Instant::now();
        let (back, latencies) = once(clients, effort.period).await?;
        clients = back;
        load.rates
            .add(latencies.count() as f64 / start.elapsed().as_secs_f64());
        load.latencies.append(latencies);
    }
    Ok(load)
}

async fn once<O: Operation>(clients: Vec<O>, period: Duration) -> Result<(Vec<O>, Samples)> {
    let end = Instant::now() + period;
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let mut latencies = Samples::default();
            while Instant::now() < end {
                let start = Instant::now();
                client.call().await?;
                latencies.add_duration(start.elapsed());
            }
            anyhow::Ok((client, latencies))
        });
    }
    let (mut clients, mut all) = (Vec::new(), Samples::default());
    while let Some(ended) = tasks.join_next().await {
        let (client, latencies) = ended??;
        clients.push(client);
        all.append(latencies);
    }
    Ok((clients, all))
}
