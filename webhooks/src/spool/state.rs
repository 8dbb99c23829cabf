//! Where deliveries go now, and what waits.
//!
//! ```text
//!          the broker fails, or is slow                      little is left, and the broker is quick
//!  direct ───────────────────────────────────► spooling ◄──────────────────────────────────────────► closing
//!    ▲                                             │           the broker fails, or is slow             │
//!    └──────────────── nothing waits ──────────────┴────────────────────────────────────────────────────┘
//! ```
//!
//! Closing holds new deliveries for the few milliseconds that the last records take: under steady load the spool would never be
//! empty otherwise.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::{
    Clock, Log, LogError, NewRecord,
    embedded::{Backlog, EmbeddedLog},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use super::{Appended, SpoolLimits, SpoolReport};

/// How long a spool that refused something is kept out of the way between deliveries and the broker.
const DOUBT: Duration = Duration::from_secs(10);
/// So much may wait for the broker when new deliveries are held until it is gone.
const LITTLE: u64 = 256;

/// A delivery's records, and who wants to know that they are durable.
pub(super) struct Waiting {
    pub(super) records: Vec<NewRecord>,
    pub(super) answer: oneshot::Sender<Result<Appended, LogError>>,
}

/// What all clones of a spool, its writer and its forwarder share.
pub(super) struct Shared {
    pub(super) broker: Arc<dyn Log>,
    pub(super) disk: EmbeddedLog,
    pub(super) limits: SpoolLimits,
    pub(super) clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// The last direct append has ended.
    pub(super) settled: Notify,
}

impl Shared {
    pub(super) fn new(
        broker: Arc<dyn Log>,
        disk: EmbeddedLog,
        limits: SpoolLimits,
        clock: Arc<dyn Clock>,
        state: State,
    ) -> Self {
        Self { broker, disk, limits, clock, state: Mutex::new(state), settled: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a delivery that comes now goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// To the broker.
    Direct,
    /// Onto the disk.
    Spooling,
    /// It is held, until the disk's last records are with the broker.
    Closing,
}

/// A delivery that nobody has answered yet and the disk does not have.
pub(super) struct Unanswered {
    pub(super) waiting: Waiting,
    /// Whether the broker was given it: then it will have an answer.
    pub(super) given: bool,
}

/// Where deliveries go now, and what waits.
pub(super) struct State {
    mode: watch::Sender<Mode>,
    /// In the order in which they came.
    unanswered: BTreeMap<u64, Unanswered>,
    next: u64,
    /// Direct appends that have not ended, answered or not.
    under_way: u64,
    /// How often a record was admitted to the disk.
    admitted: u64,
    /// Records that were admitted and neither forwarded nor refused by the disk; those that the disk held before.
    records: u64,
    bytes: u64,
    oldest: Option<DateTime<Utc>>,
    refused_at: Option<Instant>,
    /// Something was refused for want of room, and nothing has left since.
    full: bool,
}

impl State {
    pub(super) fn new(backlog: Backlog) -> Self {
        let Backlog { records, bytes, oldest } = backlog;
        let mode = if records > 0 { Mode::Spooling } else { Mode::Direct };
        let state = Self {
            mode: watch::Sender::new(mode),
            unanswered: BTreeMap::new(),
            next: 0,
            under_way: 0,
            admitted: 0,
            records,
            bytes,
            oldest,
            refused_at: None,
            full: false,
        };
        state.gauge();
        state
    }

    pub(super) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(super) fn watch_mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// Keeps a delivery that goes to the broker now; returns the append's number.
    pub(super) fn begin(&mut self, waiting: Waiting) -> u64 {
        self.under_way += 1;
        self.keep(Unanswered { waiting, given: true })
    }

    /// Keeps a delivery that goes to the broker later.
    pub(super) fn hold(&mut self, waiting: Waiting) {
        self.keep(Unanswered { waiting, given: false });
    }

    fn keep(&mut self, unanswered: Unanswered) -> u64 {
        let number = self.next;
        self.next += 1;
        self.unanswered.insert(number, unanswered);
        number
    }

    /// Ends a direct append: who still waits for its answer, and whether no other is under way.
    pub(super) fn end(&mut self, number: u64) -> (Option<Waiting>, bool) {
        self.under_way -= 1;
        (self.unanswered.remove(&number).map(|unanswered| unanswered.waiting), self.under_way == 0)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    /// Whatever comes from here on goes onto the disk, and so should those that are returned. Also says whether deliveries went to
    /// the broker until now.
    pub(super) fn turn_to_disk(&mut self) -> (BTreeMap<u64, Unanswered>, bool) {
        let before = self.mode.send_replace(Mode::Spooling);
        (mem::take(&mut self.unanswered), before == Mode::Direct)
    }

    /// The disk has no room for one of those that [`State::turn_to_disk`] returned: it waits on for the broker.
    pub(super) fn put_back(&mut self, number: u64, unanswered: Unanswered) {
        self.unanswered.insert(number, unanswered);
    }

    /// Holds what comes from here on, if little is left.
    pub(super) fn close(&mut self) {
        if self.mode() == Mode::Spooling && self.records <= LITTLE {
            self.mode.send_replace(Mode::Closing);
        }
    }

    /// How often a record was admitted, where all of them have left again.
    pub(super) fn drained(&self) -> Option<u64> {
        (self.mode() != Mode::Direct && self.records == 0).then_some(self.admitted)
    }

    /// Whatever comes from here on goes to the broker, and so must those that are returned: they have begun. `None` where a record
    /// was admitted since [`State::drained`] said `admitted`.
    pub(super) fn turn_to_broker(&mut self, admitted: u64) -> Option<Vec<(u64, Vec<NewRecord>)>> {
        if self.drained() != Some(admitted) {
            return None;
        }
        self.mode.send_replace(Mode::Direct);
        let held = self.unanswered.iter_mut().filter(|(_, unanswered)| !unanswered.given);
        let begun: Vec<_> = held
            .map(|(number, unanswered)| {
                unanswered.given = true;
                (*number, unanswered.waiting.records.clone())
            })
            .collect();
        self.under_way += begun.len() as u64;
        Some(begun)
    }

    /// Counts so many records of so many bytes in, where there is room.
    pub(super) fn admit(&mut self, records: u64, bytes: u64, max_bytes: u64, now: DateTime<Utc>) -> bool {
        if self.bytes.saturating_add(bytes) > max_bytes {
            self.refused_at = Some(Instant::now());
            self.full = true;
            return false;
        }
        self.admitted += records;
        self.records += records;
        self.bytes += bytes;
        self.oldest.get_or_insert(now);
        self.gauge();
        true
    }

    /// The disk has not taken records that were admitted.
    pub(super) fn disk_refused(&mut self, records: u64, bytes: u64) {
        self.refused_at = Some(Instant::now());
        self.left(records, bytes);
    }

    pub(super) fn disk_took(&mut self) {
        self.refused_at = None;
    }

    /// Records have been forwarded. There may be more of them than were counted: the disk may have kept what it said it did not.
    pub(super) fn left(&mut self, records: u64, bytes: u64) {
        self.full = false;
        self.records = self.records.saturating_sub(records);
        self.bytes = if self.records == 0 { 0 } else { self.bytes.saturating_sub(bytes) };
        if self.records == 0 {
            self.oldest = None;
        }
        self.gauge();
    }

    /// The oldest that waits is now of this instant.
    pub(super) fn oldest_is(&mut self, instant: DateTime<Utc>) {
        if self.records > 0 {
            self.oldest = Some(instant);
        }
    }

    /// Whether it refused something a short time ago.
    pub(super) fn in_doubt(&self) -> bool {
        self.refused_at.is_some_and(|at| at.elapsed() < DOUBT)
    }

    pub(super) fn report(&self, max_bytes: u64) -> SpoolReport {
        SpoolReport {
            spooling: self.mode() != Mode::Direct,
            records: self.records,
            bytes: self.bytes,
            oldest: self.oldest,
            full: self.full || self.bytes >= max_bytes,
        }
    }

    fn gauge(&self) {
        metrics::gauge!("breakdown_spool_records").set(self.records as f64);
        metrics::gauge!("breakdown_spool_bytes").set(self.bytes as f64);
    }
}
