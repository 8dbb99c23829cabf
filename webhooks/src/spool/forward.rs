//! Forwards what waits on the disk, in order, at least once.

use std::{pin::pin, time::Duration};

use eventlog::{Log, LogError, NewRecord, Polled, Record, Step, Subscription, SubscriptionSpec};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{CHANGELOG, GROUP, Spool, TOPIC, UNFIT, record, state::Mode, unfit};

/// Most records that the broker is given at once.
const MOST: usize = 256;
/// How long something to forward is waited for at a time.
const WAIT: Duration = Duration::from_secs(1);
/// How often the pause after a failure doubles.
const DOUBLINGS: u32 = 4;

impl Spool {
    /// Forwards what is spooled until told to stop; an append under way is finished first.
    ///
    /// # Errors
    /// [`LogError::Refused`] when it runs already.
    pub async fn forward(self, stop: CancellationToken) -> Result<(), LogError> {
        let spec =
            SubscriptionSpec { group: GROUP.into(), inputs: vec![TOPIC.into()], changelog: CHANGELOG.into() };
        let member = self.shared.disk.subscribe(spec).await?;
        let forwarder = Forwarder {
            spool: self,
            member,
            forwarded_to: 0,
            unfit: Vec::new(),
            batch: 1,
            failures: 0,
            in_time: true,
        };
        forwarder.run(stop).await;
        Ok(())
    }
}

struct Forwarder {
    spool: Spool,
    member: Box<dyn Subscription>,
    /// The offset in the spool up to which the broker has all, committed or not.
    forwarded_to: u64,
    /// What goes aside with the next commit.
    unfit: Vec<NewRecord>,
    /// How many records the broker is given next.
    batch: usize,
    /// How often something failed in a row.
    failures: u32,
    /// Whether the broker took the last batch as quickly as it has to take a delivery.
    in_time: bool,
}

impl Forwarder {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let polled = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                polled = self.poll() => polled,
            };
            let done = match polled {
                Ok(Polled::Records(records)) => self.take(&records, &stop).await,
                Ok(Polled::Idle) => self.turn_to_broker().await,
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "the spool cannot be read or written; trying again");
                self.spool.let_go(&error);
                self.rest(&stop).await;
            }
        }
        self.spool.let_go(&"the program is shutting down");
    }

    async fn poll(&mut self) -> Result<Polled, LogError> {
        let shared = self.spool.shared.clone();
        // The sender lives in what we hold.
        let mut mode = shared.lock().watch_mode();
        let _ = mode.wait_for(|mode| *mode != Mode::Direct).await;
        while !shared.lock().is_settled() {
            shared.settled.notified().await;
        }
        self.member.poll(MOST, WAIT).await
    }

    /// Forwards what was polled and commits it; comes back without an error, and with nothing committed, when told to stop.
    async fn take(&mut self, records: &[Record], stop: &CancellationToken) -> Result<(), LogError> {
        let fresh = records.iter().position(|record| record.offset >= self.forwarded_to);
        let mut rest = &records[fresh.unwrap_or(records.len())..];
        while let [first, ..] = rest {
            self.tell_age(first);
            let part = &rest[..self.batch.min(rest.len())];
            match self.send(part).await {
                Ok(()) => {
                    metrics::counter!("breakdown_forwarded_total").increment(part.len() as u64);
                    self.forwarded_to = part[part.len() - 1].offset + 1;
                    rest = &rest[part.len()..];
                    self.batch = (self.batch * 2).min(MOST);
                    self.failures = 0;
                }
                Err(error) => {
                    // Said when it went away, and not with every try again.
                    tracing::debug!(%error, "the broker does not take what is spooled");
                    self.batch = 1;
                    self.rest(stop).await;
                }
            }
            if stop.is_cancelled() && !rest.is_empty() {
                return Ok(());
            }
        }
        let step = Step { partitions: vec![0], append: self.unfit.clone() };
        self.member.commit(step).await?;
        self.unfit.clear();
        let bytes = records.iter().map(record::size_read).sum();
        let shared = self.spool.shared.clone();
        shared.lock().left(records.len() as u64, bytes);
        // Giving space back may take a while: never while deliveries are held for the last records.
        if shared.lock().mode() == Mode::Spooling {
            self.tidy().await;
        }
        self.turn_to_broker().await?;
        if shared.lock().mode() == Mode::Direct {
            self.tidy().await;
        }
        Ok(())
    }

    async fn tidy(&mut self) {
        if let Err(error) = self.spool.shared.disk.tidy().await {
            tracing::warn!(%error, "the space of what was forwarded is not given back yet");
        }
    }

    /// Gives the broker `part`. A record that it will never take is dealt with when it is given alone.
    async fn send(&mut self, part: &[Record]) -> Result<(), LogError> {
        let shared = self.spool.shared.clone();
        // What we did not write cannot be read, and is nothing that anybody was promised.
        let records: Vec<_> = part.iter().filter_map(record::unwrap).collect();
        let mut append = pin!(shared.broker.append(records.clone()));
        let in_time = timeout(shared.limits.slow_after, &mut append).await;
        self.in_time = in_time.is_ok();
        let result = match in_time {
            Ok(result) => result,
            Err(_) => {
                self.spool.let_go(&"it is slow again");
                append.await
            }
        };
        if let Err(error) = &result {
            self.spool.let_go(error);
        }
        match (result, &records[..], part) {
            (Err(LogError::Unfit(why)), [record], [spooled]) => {
                self.bury(record, spooled, &LogError::Unfit(why)).await
            }
            (result, ..) => result.map(drop),
        }
    }

    async fn bury(&mut self, record: &NewRecord, spooled: &Record, why: &LogError) -> Result<(), LogError> {
        let shared = &self.spool.shared;
        let letter = unfit::letter(record, why, shared.clock.now());
        let buried = match letter {
            Some(letter) => shared.broker.append(vec![letter]).await.map(drop),
            None => Err(why.clone()),
        };
        let event_id = spooled.header("ce_id").unwrap_or_default();
        match buried {
            Ok(()) => {
                tracing::error!(event_id, %why, "the broker will never take a spooled record; it is a dead letter")
            }
            Err(LogError::Unfit(_)) => {
                tracing::error!(event_id, %why, "the broker will never take a spooled record; it is set aside in the spool");
                self.unfit.push(NewRecord { topic: UNFIT.into(), ..record::wrap(record) });
            }
            Err(error) => return Err(error),
        }
        metrics::counter!("breakdown_spool_unfit_total").increment(1);
        Ok(())
    }

    /// Lets deliveries go to the broker again, as soon as nothing waits and it is quick. A slow one is left to take what comes in
    /// batches; unless the disk fails, too.
    async fn turn_to_broker(&mut self) -> Result<(), LogError> {
        let shared = self.spool.shared.clone();
        let drained = {
            let mut state = shared.lock();
            if !self.in_time && !state.in_doubt() {
                return Ok(());
            }
            state.close();
            state.drained()
        };
        let Some(admitted) = drained else { return Ok(()) };
        metrics::gauge!("breakdown_spool_oldest_seconds").set(0.0);
        // The disk may have kept what it said it did not.
        if self.member.caught_up(TOPIC, 0).await? {
            self.spool.turn_to_broker(admitted);
        }
        Ok(())
    }

    fn tell_age(&self, first: &Record) {
        let shared = &self.spool.shared;
        shared.lock().oldest_is(first.timestamp);
        let age = (shared.clock.now() - first.timestamp).as_seconds_f64().max(0.0);
        metrics::gauge!("breakdown_spool_oldest_seconds").set(age);
    }

    async fn rest(&mut self, stop: &CancellationToken) {
        let pause = self.spool.shared.limits.retry_after * (1 << self.failures);
        self.failures = (self.failures + 1).min(DOUBLINGS);
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}
