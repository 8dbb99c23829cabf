//! The machine's clock.

use chrono::{DateTime, SubsecRound, Utc};
use eventlog::Clock;

/// The machine's clock, in milliseconds as the log keeps them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "real processes are judged by the clock that they see")]
    fn now(&self) -> DateTime<Utc> {
        DateTime::<Utc>::from(std::time::SystemTime::now()).trunc_subsecs(3)
    }
}
