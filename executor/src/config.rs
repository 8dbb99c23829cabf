//! What can be set.

use std::{num::NonZeroU32, time::Duration};

use reqwest::Url;

use crate::{Route, http::Place};

/// What can be set. [`Config::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base of the calendar and notification API, http or https, e.g. `http://127.0.0.1:7300/api`.
    pub calendar_api_base: Url,
    /// Also at an address of a private network, and over http there (false).
    pub calendar_allow_private: bool,
    /// The proxy through which https goes out; none but this one is used.
    pub proxy: Option<Url>,
    /// Which targets carry which action; what fits none goes to the first target that carries it and is on no route.
    pub routes: Vec<Route>,
    /// Touch nothing: every action ends as `dry_run`.
    pub dry_run: bool,
    /// An action is given up when it has not succeeded so long after it was accepted, or, where its project was paused meanwhile,
    /// after the first call that was made for it since that was let go (15 min).
    pub give_up_after: Duration,
    /// An action that is older than this before its attempt ends as `expired` (24 h).
    pub expire_after: Duration,
    /// How long it is remembered that an action is done (7 days).
    pub remember_for: Duration,
    /// Pending actions of one partition for one target at which no more of its actions are read (1,000); it goes on at half. Those of
    /// paused projects do not count. Also the attempts of one partition at one target that run or wait for a permit; the rest of a
    /// backlog follows as they end.
    pub pending_max: usize,
    /// Actions of paused projects of one partition at which no more of its actions are read (10,000), whichever project they are of; it
    /// goes on at half. They are kept in memory.
    pub held_back_max: usize,
    /// Records taken in one step (500).
    pub batch_max: usize,
    /// How long the log is waited for before the clock is looked at again (500 ms).
    pub idle_wait: Duration,
    /// How long is waited after a step that failed (500 ms); doubles for each further one in a row, up to 8 s.
    pub step_wait: Duration,
    /// How long running attempts may take when the executor is told to stop (10 s).
    pub drain_within: Duration,
    /// Limits of each target's stack.
    pub limits: Limits,
}

impl Config {
    /// The defaults, for this API.
    pub fn new(calendar_api_base: Url) -> Self {
        Self {
            calendar_api_base,
            calendar_allow_private: false,
            proxy: None,
            routes: Vec::new(),
            dry_run: false,
            give_up_after: Duration::from_secs(15 * 60),
            expire_after: Duration::from_secs(24 * 3600),
            remember_for: Duration::from_secs(7 * 24 * 3600),
            pending_max: 1000,
            held_back_max: 10_000,
            batch_max: 500,
            idle_wait: Duration::from_millis(500),
            step_wait: Duration::from_millis(500),
            drain_within: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }

    pub(crate) fn calendar_place(&self) -> Place {
        Place {
            key: "CALENDAR_API_BASE".into(),
            base: self.calendar_api_base.clone(),
            allow_private: self.calendar_allow_private,
            proxy: self.proxy.clone(),
        }
    }
}

/// Limits of one target's stack.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One attempt, from connecting to the last byte (10 s). HTTP requests take at most four fifths of it.
    pub attempt_timeout: Duration,
    /// Attempts in flight at once (16).
    pub concurrency: usize,
    /// Attempts a second, as many at once (1,000).
    pub per_second: NonZeroU32,
    /// Attempts in a row before an action is parked (3).
    pub quick_attempts: u32,
    /// Wait before the second quick attempt; doubles for each further one (250 ms).
    pub quick_wait: Duration,
    /// The longest wait that is not parked (5 s).
    pub quick_wait_max: Duration,
    /// Wait after the first parking without word from the target; doubles for each further one (5 s).
    pub park_wait: Duration,
    /// The longest such wait (2 min).
    pub park_wait_max: Duration,
    /// Failures in a row that open the breaker (10).
    pub breaker_failures: u32,
    /// How long the breaker stays open before one attempt is let through (30 s).
    pub breaker_open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            concurrency: 16,
            per_second: NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN),
            quick_attempts: 3,
            quick_wait: Duration::from_millis(250),
            quick_wait_max: Duration::from_secs(5),
            park_wait: Duration::from_secs(5),
            park_wait_max: Duration::from_secs(120),
            breaker_failures: 10,
            breaker_open: Duration::from_secs(30),
        }
    }
}
