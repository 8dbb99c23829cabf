//! Requests at a fixed rate, sent when they are due whether or not the last ones were answered.
//!
//! A latency counts from the instant at which the request was due: where all connections wait for answers, the requests
//! that cannot go out grow old, as they would at the sender. (Counting from the sending would hide just the bad moments.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Result,
    connection::Connection,
    measured::{Stopwatch, Taken, Tally},
    pacer::{Pacer, Schedule},
    requests::Requests,
};

/// How long answers may take after the last request was due.
const DRAIN: Duration = Duration::from_secs(15);

/// How much is sent how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Requests a second.
    pub(crate) rate: u32,
    /// How many requests come before those that count.
    pub(crate) warmup: u64,
    /// All requests.
    pub(crate) total: u64,
}

impl Plan {
    pub(crate) fn new(rate: u32, warmup: Duration, length: Duration) -> Self {
        let count = |span: Duration| (span.as_secs_f64() * f64::from(rate)).round() as u64;
        Self { rate, warmup: count(warmup), total: count(warmup) + count(length) }
    }
}

/// A request that was answered with 202.
pub(crate) struct Accepted<'a> {
    /// The answer's body.
    pub(crate) body: &'a [u8],
    /// When the request was due.
    pub(crate) due: Instant,
    /// False in the warm-up.
    pub(crate) counts: bool,
}

/// Sends every request of the plan; `accepted` is told of each 202.
pub(crate) async fn run<F>(
    address: &str,
    requests: Arc<Requests>,
    connections: usize,
    plan: Plan,
    server: Option<u32>,
    accepted: F,
) -> Result<(Tally, Taken)>
where
    F: Fn(Accepted<'_>) + Clone + Send + 'static,
{
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(
            Connection::open(address)
                .await
                .map_err(|error| format!("cannot connect to {address}: {error}"))?,
        );
    }
    let released = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let mut pacer = Pacer::start(plan.rate)?;
    let schedule = pacer.schedule();
    let mut workers = JoinSet::new();
    for connection in opened {
        let line = Line { released: Arc::clone(&released), next: Arc::clone(&next), schedule, plan };
        workers.spawn(work(connection, Arc::clone(&requests), line, accepted.clone()));
    }
    let mut stopwatch = None;
    let mut gone = 0;
    while gone < plan.total {
        let due = pacer.ticks().await?.min(plan.total - gone);
        gone += due;
        released.add_permits(usize::try_from(due)?);
        if gone >= plan.warmup && stopwatch.is_none() {
            stopwatch = Some(Stopwatch::start(server)?);
        }
    }
    // Every worker finds out that there is no more.
    released.add_permits(connections);
    let mut tally = Tally::default();
    let finish = async {
        while let Some(done) = workers.join_next().await {
            tally.merge(done?);
        }
        Ok::<_, tokio::task::JoinError>(())
    };
    match tokio::time::timeout(DRAIN, finish).await {
        Ok(finished) => finished?,
        Err(_) => {
            return Err(format!("{address} still owes answers {} s after the end", DRAIN.as_secs()).into());
        }
    }
    let taken = stopwatch.ok_or("a run without requests measures nothing")?.stop()?;
    Ok((tally, taken))
}

/// What the connections take their requests from.
struct Line {
    released: Arc<Semaphore>,
    next: Arc<AtomicU64>,
    schedule: Schedule,
    plan: Plan,
}

impl Line {
    /// The next request that is due, once it is; `None` when there are no more.
    async fn take(&self) -> Option<u64> {
        self.released.acquire().await.ok()?.forget();
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        (n < self.plan.total).then_some(n)
    }
}

async fn work(
    mut connection: Connection,
    requests: Arc<Requests>,
    line: Line,
    accepted: impl Fn(Accepted<'_>),
) -> Tally {
    let (mut tally, mut buffer) = (Tally::default(), requests.buffer());
    while let Some(n) = line.take().await {
        let (due, counts) = (line.schedule.due(n), n >= line.plan.warmup);
        requests.write(&mut buffer, n);
        match connection.exchange(&buffer).await {
            Ok(answer) if answer.status == 202 => {
                let took = Instant::now().saturating_duration_since(due);
                tally.accepted += 1;
                if counts {
                    tally.latencies.record(took);
                }
                accepted(Accepted { body: answer.body, due, counts });
            }
            Ok(answer) => tally.refused(answer.status, answer.body),
            Err(error) => tally.failed(&error),
        }
    }
    tally
}
