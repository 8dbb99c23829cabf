//! The one clock of a world: tokio's, which stands still while anything works, and what it was turned by.

use std::sync::Mutex;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use eventlog::Clock;
use tokio::time::Instant;

/// Instants of the wall pass as the runtime's do, which are paused; turning it makes the wall jump and lets no timer of the
/// runtime fire, as when a machine wakes up.
#[derive(Debug)]
pub struct WorldClock {
    began: Instant,
    turned: Mutex<DateTime<Utc>>,
}

impl WorldClock {
    pub fn new(at: DateTime<Utc>) -> Self {
        Self { began: Instant::now(), turned: Mutex::new(at) }
    }

    pub fn turn(&self, by: TimeDelta) {
        *self.turned.lock().unwrap() += by;
    }

    /// Milliseconds since the world began, without the jumps.
    pub fn elapsed(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

impl Clock for WorldClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.began.elapsed()).unwrap();
        (*self.turned.lock().unwrap() + passed).trunc_subsecs(3)
    }
}
