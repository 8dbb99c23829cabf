//! `bench actions`: from the request to its action being readable.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use eventlog::Reader;
use events::topic;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Result,
    connection::Connection,
    latencies::Latencies,
    load::Sending,
    log::Which,
    measured::{self, extend},
    open_loop::{self, Accepted, Plan},
    pacer::Pacer,
    requests::{Requests, Target},
};

/// How long the last actions may take.
const DRAIN: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    log: Which,
    /// Requests a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Embedded log: how often a second to ask whether there is something to read. (A reader in another process than the
    /// writer is woken by looking, too, but only every 75 ms.)
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    asking: u32,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let Args { sending, log: which, rate, asking } = args;
    let (warmup, length) = sending.spans()?;
    let plan = Plan::new(rate, warmup, length);
    // One more than the plan has: the probe's.
    let (target, requests) = sending.requests(plan.total + 1)?;

    let log = which.open()?;
    let topics = log.topics().await?;
    let actions = topics.into_iter().find(|info| info.name == topic::ACTIONS);
    let actions = actions.ok_or("there is no topic actions: start the server first")?;
    let ends: Vec<_> =
        (0..).zip(&actions.partitions).map(|(partition, bounds)| (partition, bounds.end)).collect();
    let reader = log.read(topic::ACTIONS, &ends).await?;
    let met = Arc::new(Mutex::new(Met::default()));
    let asking = which.is_embedded().then_some(asking);
    let reading = tokio::spawn(read(reader, asking, Arc::clone(&met)));

    probe(&target, &requests, plan.total, &met).await?;
    let sent = {
        let met = Arc::clone(&met);
        move |accepted: Accepted<'_>| lock(&met).sent(&accepted)
    };
    let (tally, taken) =
        open_loop::run(&target.address, requests, sending.connections, plan, sending.cpu_of, sent).await?;
    let until = Instant::now() + DRAIN;
    while lock(&met).waiting() > 0 && Instant::now() < until && !reading.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if reading.is_finished() {
        return Err(reading.await?.err().unwrap_or_else(|| "the reader ended".into()));
    }
    reading.abort();

    let met = std::mem::take(&mut *lock(&met));
    let mut line = measured::line(tally, &taken);
    extend(&mut line, json!({"connections": sending.connections, "rate": rate, "asking": asking}));
    extend(&mut line, met.line());
    measured::print(sending.label.as_deref(), line);
    Ok(())
}

/// Sends request `n` and waits for its action: the gateway may still be about to join its group.
async fn probe(target: &Target, requests: &Requests, n: u64, met: &Mutex<Met>) -> Result<()> {
    let mut buffer = requests.buffer();
    requests.write(&mut buffer, n);
    let mut connection = Connection::open(&target.address).await?;
    let answer = connection.exchange(&buffer).await?;
    if answer.status != 202 {
        return Err(
            format!("a delivery got {}: {}", answer.status, String::from_utf8_lossy(answer.body)).into()
        );
    }
    lock(met).sent(&Accepted { body: answer.body, due: Instant::now(), counts: false });
    let until = Instant::now() + DRAIN;
    while lock(met).waiting() > 0 {
        if Instant::now() > until {
            return Err("a delivery had no action: does the policy have a rule for the payload?".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn read(mut reader: Box<dyn Reader>, asking: Option<u32>, met: Arc<Mutex<Met>>) -> Result<()> {
    let mut pacer = asking.map(Pacer::start).transpose()?;
    loop {
        let records = match &mut pacer {
            None => reader.next(Duration::from_secs(1)).await?,
            Some(pacer) => {
                pacer.ticks().await?;
                if reader.at_end().await? {
                    continue;
                }
                reader.next(Duration::ZERO).await?
            }
        };
        let now = Instant::now();
        let mut met = lock(&met);
        for record in &records {
            met.seen(record.value.as_deref().unwrap_or_default(), now)?;
        }
    }
}

fn lock(met: &Mutex<Met>) -> std::sync::MutexGuard<'_, Met> {
    met.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the two ends of a story meet, whichever comes first: an action can be read before the answer is.
#[derive(Default)]
struct Met {
    half: HashMap<String, Half>,
    actions: u64,
    latencies: Latencies,
    unreadable: u64,
}

enum Half {
    Sent { due: Instant, counts: bool },
    Seen(Instant),
}

#[derive(Deserialize)]
struct Answer {
    event_id: String,
}

#[derive(Deserialize)]
struct Action {
    cause: Option<String>,
}

impl Met {
    fn sent(&mut self, accepted: &Accepted<'_>) {
        let &Accepted { body, due, counts } = accepted;
        let Ok(Answer { event_id }) = serde_json::from_slice(body) else {
            self.unreadable += 1;
            return;
        };
        match self.half.remove(&event_id) {
            Some(Half::Seen(at)) if counts => self.latencies.record(at.saturating_duration_since(due)),
            Some(Half::Seen(_)) => {}
            // Half::Sent: two deliveries with one event id are one story.
            Some(Half::Sent { .. }) | None => drop(self.half.insert(event_id, Half::Sent { due, counts })),
        }
    }

    fn seen(&mut self, action: &[u8], at: Instant) -> Result<()> {
        self.actions += 1;
        let Action { cause: Some(cause) } = serde_json::from_slice(action)? else { return Ok(()) };
        match self.half.remove(&cause) {
            Some(Half::Sent { due, counts: true }) => {
                self.latencies.record(at.saturating_duration_since(due))
            }
            Some(Half::Sent { .. }) => {}
            // The first action of a cause is the one that counts.
            Some(Half::Seen(first)) => drop(self.half.insert(cause, Half::Seen(first))),
            None => drop(self.half.insert(cause, Half::Seen(at))),
        }
        Ok(())
    }

    /// Deliveries whose action has not been seen.
    fn waiting(&self) -> usize {
        self.half.values().filter(|half| matches!(half, Half::Sent { .. })).count()
    }

    fn line(self) -> Value {
        let (missing, met) = (self.waiting(), self.latencies.len());
        if missing > 0 || self.unreadable > 0 {
            eprintln!(
                "bench: {missing} deliveries without an action, {} answers without an event id",
                self.unreadable
            );
        }
        let summary = self.latencies.summary();
        json!({
            "actions": self.actions,
            "actions_met": met,
            "actions_missing": missing,
            "action_p50_us": summary["p50_us"],
            "action_p99_us": summary["p99_us"],
            "action_max_us": summary["max_us"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_meet_and_the_first_action_counts() {
        let mut met = Met::default();
        let due = Instant::now();
        let after = |ms| due + Duration::from_millis(ms);
        let answer = |id: &str| format!(r#"{{"event_id":"{id}","topic":"issues"}}"#);
        let action = |id: &str| format!(r#"{{"event_id":"a-1","cause":"{id}","more":1}}"#);
        let sent = |met: &mut Met, id: &str, counts| {
            met.sent(&Accepted { body: answer(id).as_bytes(), due, counts });
        };
        sent(&mut met, "gh-1", true);
        met.seen(action("gh-1").as_bytes(), after(5)).unwrap();
        met.seen(action("gh-2").as_bytes(), after(7)).unwrap();
        met.seen(action("gh-2").as_bytes(), after(9)).unwrap();
        sent(&mut met, "gh-2", true);
        sent(&mut met, "gh-3", false);
        met.seen(action("gh-3").as_bytes(), after(100)).unwrap();
        assert_eq!(met.waiting(), 0);
        sent(&mut met, "gh-4", true);
        assert_eq!(met.waiting(), 1);
        let line = met.line();
        assert_eq!((&line["action_p50_us"], &line["action_max_us"]), (&json!(5000.0), &json!(7000.0)));
        assert_eq!((&line["actions_met"], &line["actions_missing"]), (&json!(2), &json!(1)));
    }
}
