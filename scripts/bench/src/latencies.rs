//! Percentiles of durations.

use std::time::Duration;

use serde_json::{Value, json};

/// Durations, each kept as it was measured: a run has a million at most.
#[derive(Debug, Default, Clone)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `p50_us`, `p90_us`, `p99_us`, `max_us` (microseconds), by nearest rank; null where nothing was measured.
    pub(crate) fn summary(mut self) -> Value {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let rank = (self.0.len() * percent).div_ceil(100).max(1);
            self.0.get(rank - 1).map(|took| took.as_nanos() as f64 / 1000.0)
        };
        json!({"p50_us": at(50), "p90_us": at(90), "p99_us": at(99), "max_us": at(100)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut latencies = Latencies::default();
        for us in (1..=200).rev() {
            latencies.record(Duration::from_micros(us));
        }
        let expected = json!({"p50_us": 100.0, "p90_us": 180.0, "p99_us": 198.0, "max_us": 200.0});
        assert_eq!(latencies.summary(), expected);
    }

    #[test]
    fn one_is_all_of_them_and_none_is_null() {
        let mut one = Latencies::default();
        one.record(Duration::from_micros(7));
        assert_eq!(one.summary()["p50_us"], 7.0);
        assert_eq!(Latencies::default().summary()["max_us"], Value::Null);
    }
}
