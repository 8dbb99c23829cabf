//! `bench append`: what one append-and-acknowledge round trip costs, one at a time and from many tasks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::{Keep, Log, NewRecord, TopicSpec};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Result,
    latencies::Latencies,
    log::{APPEND_TOPIC, PARTITIONS, Which},
    measured::{self, extend},
    pacer::Pacer,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    log: Which,
    /// How long to append one at a time, and then how long from many tasks
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Appends a second while one at a time; without it, one after the other
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Tasks
    #[arg(long, default_value_t = 64)]
    tasks: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1_500)]
    bytes: usize,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let length = Duration::try_from_secs_f64(args.seconds)?;
    let log = args.log.open()?;
    let spec = TopicSpec {
        name: APPEND_TOPIC.into(),
        partitions: PARTITIONS,
        keep: Keep::Until { age: Some(Duration::from_secs(24 * 60 * 60)), bytes: None },
    };
    log.create_topics(&[spec]).await?;
    let record = record(args.bytes);

    // The first ones open connections and files.
    sequential(&*log, &record, args.rate, length.min(Duration::from_secs(1))).await?;
    let alone = sequential(&*log, &record, args.rate, length).await?;
    let appends = alone.len();

    let (began, until) = (Instant::now(), Instant::now() + length);
    let mut tasks = JoinSet::new();
    for _ in 0..args.tasks {
        tasks.spawn(until_then(Arc::clone(&log), record.clone(), until));
    }
    let mut together = Latencies::default();
    while let Some(done) = tasks.join_next().await {
        together.merge(done??);
    }
    let per_second = together.len() as f64 / began.elapsed().as_secs_f64();

    let mut line = json!({"appends": appends, "rate": args.rate, "bytes": args.bytes});
    extend(&mut line, alone.summary());
    extend(
        &mut line,
        json!({"tasks": args.tasks, "tasks_per_second": per_second, "tasks_p50_us": together.summary()["p50_us"]}),
    );
    measured::print(args.label.as_deref(), line);
    Ok(())
}

/// A record the size of an event, with an event's headers; its bytes do not compress to nothing.
fn record(bytes: usize) -> NewRecord {
    let value: Vec<u8> =
        (0..bytes as u64).map(|n| b' ' + (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as u8).collect();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    NewRecord {
        topic: APPEND_TOPIC.into(),
        partition: None,
        key: "alpha".into(),
        value: Some(value.into()),
        headers: vec![
            header("ce_specversion", "1.0"),
            header("ce_id", "gh-00000000000000000000000000000000"),
            header("ce_type", "breakdown.issue_opened"),
            header("ce_source", "/github/octo/bench"),
            header("content-type", "application/json"),
            header("traceparent", "00-00000000000000000000000000000001-0000000000000001-01"),
        ],
    }
}

async fn sequential(
    log: &dyn Log,
    record: &NewRecord,
    rate: Option<u32>,
    length: Duration,
) -> Result<Latencies> {
    let mut pacer = rate.map(Pacer::start).transpose()?;
    let (mut latencies, until) = (Latencies::default(), Instant::now() + length);
    while Instant::now() < until {
        if let Some(pacer) = &mut pacer {
            pacer.ticks().await?;
        }
        let (records, began) = (vec![record.clone()], Instant::now());
        log.append(records).await?;
        latencies.record(began.elapsed());
    }
    Ok(latencies)
}

async fn until_then(log: Arc<dyn Log>, record: NewRecord, until: Instant) -> Result<Latencies> {
    sequential(&*log, &record, None, until.saturating_duration_since(Instant::now())).await
}
