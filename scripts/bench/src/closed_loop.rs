//! As many requests as go through: each connection sends the next when it has the answer to the last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Result,
    connection::Connection,
    measured::{Stopwatch, Taken, Tally},
    requests::Requests,
};

/// How long answers may take after the end.
const DRAIN: Duration = Duration::from_secs(15);

/// Runs for `warmup`, which does not count, and `length`, which does: the answers that come in it.
pub(crate) async fn run(
    address: &str,
    requests: Arc<Requests>,
    connections: usize,
    (warmup, length): (Duration, Duration),
    server: Option<u32>,
) -> Result<(Tally, Taken)> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(
            Connection::open(address)
                .await
                .map_err(|error| format!("cannot connect to {address}: {error}"))?,
        );
    }
    let from = Instant::now() + warmup;
    let until = from + length;
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for connection in opened {
        workers.spawn(work(connection, Arc::clone(&requests), Arc::clone(&next), (from, until)));
    }
    tokio::time::sleep_until(from.into()).await;
    let stopwatch = Stopwatch::start(server)?;
    tokio::time::sleep_until(until.into()).await;
    let taken = stopwatch.stop()?;
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
    Ok((tally, taken))
}

async fn work(
    mut connection: Connection,
    requests: Arc<Requests>,
    next: Arc<AtomicU64>,
    (from, until): (Instant, Instant),
) -> Tally {
    let (mut tally, mut buffer) = (Tally::default(), requests.buffer());
    loop {
        let began = Instant::now();
        if began >= until {
            return tally;
        }
        requests.write(&mut buffer, next.fetch_add(1, Ordering::Relaxed));
        let answer = connection.exchange(&buffer).await;
        let now = Instant::now();
        let counts = (from..until).contains(&now);
        match answer {
            Ok(answer) if answer.status == 202 => {
                tally.accepted += 1;
                if counts {
                    tally.latencies.record(now - began);
                }
            }
            Ok(answer) => {
                if counts {
                    tally.refused(answer.status, answer.body);
                }
            }
            Err(error) => {
                tally.failed(&error);
                // A server that is gone must not make this spin.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
