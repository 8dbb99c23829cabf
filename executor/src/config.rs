//! What can be set.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use reqwest::Url;
use serde::Deserialize;

use crate::{Route, Within, http::Place};

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
    /// Pending actions of one partition for one target, or for the targets of one route together (1,000). Those beyond are deferred, and
    /// taken up once half of these have ended. Those of paused projects do not count. Also the attempts of one partition at one target that run or wait for a permit; the rest of a
    /// backlog follows as they end.
    pub pending_max: usize,
    /// Deferred actions of one partition for one target at which no more of the partition's actions are read (100,000), whatever target
    /// they are for; it goes on at half. Each takes some 150 bytes of memory, and its record on `actions`.
    pub deferred_max: usize,
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
    /// What targets of these names have instead.
    pub own_limits: BTreeMap<String, OwnLimits>,
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
            deferred_max: 100_000,
            held_back_max: 10_000,
            batch_max: 500,
            idle_wait: Duration::from_millis(500),
            step_wait: Duration::from_millis(500),
            drain_within: Duration::from_secs(10),
            limits: Limits::default(),
            own_limits: BTreeMap::new(),
        }
    }

    /// The limits of the stack of the target of this name.
    pub(crate) fn limits_of(&self, target: &str) -> Limits {
        match self.own_limits.get(target) {
            Some(own) => own.over(&self.limits),
            None => self.limits.clone(),
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

/// Limits of one target that its table `[targets.NAME]` sets under `limits`; what is left out is as for every target ([`Limits`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLimits {
    /// Attempts in flight at once.
    pub concurrency: Option<Within<1, 256>>,
    /// Attempts a second. An attempt may be several requests.
    pub per_second: Option<Within<1, 10_000>>,
    /// How long one attempt may take, in seconds. A few of them in a row end before an action is given up.
    pub timeout_seconds: Option<Within<1, 60>>,
}

impl OwnLimits {
    fn over(&self, limits: &Limits) -> Limits {
        let timeout = self.timeout_seconds.map(|seconds| Duration::from_secs(seconds.get().into()));
        let per_second = self.per_second.and_then(|attempts| NonZeroU32::new(attempts.get()));
        Limits {
            attempt_timeout: timeout.unwrap_or(limits.attempt_timeout),
            concurrency: self.concurrency.map_or(limits.concurrency, |permits| permits.get() as usize),
            per_second: per_second.unwrap_or(limits.per_second),
            ..limits.clone()
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_does_not_set_is_as_for_all() {
        let mut config = Config::new("http://h/".parse().expect("a url"));
        let own =
            OwnLimits { concurrency: Within::new(2), per_second: None, timeout_seconds: Within::new(30) };
        config.own_limits.insert("pager".to_owned(), own);
        let [own, all] = ["pager", "chat"].map(|name| config.limits_of(name));
        assert_eq!((own.concurrency, own.attempt_timeout), (2, Duration::from_secs(30)));
        assert_eq!((own.per_second, own.breaker_failures), (all.per_second, all.breaker_failures));
        assert_eq!((all.concurrency, all.attempt_timeout), (16, Duration::from_secs(10)));
        let slow = OwnLimits { per_second: Within::new(3), ..OwnLimits::default() };
        assert_eq!(slow.over(&all).per_second.get(), 3);
    }
}
