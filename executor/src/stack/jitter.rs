//! Jitter without dice: derived from the action and the try, so that actions that failed together do not come back
//! together, and a test can tell when each will.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// `wait`, lengthened by up to a quarter.
pub(crate) fn spread(wait: Duration, action_id: &str, nth: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (action_id, nth).hash(&mut hasher);
    let part = f64::from(hasher.finish() as u32) / f64::from(u32::MAX);
    wait.saturating_add(wait.mul_f64(part / 4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_differ_by_action_and_try_and_stay_within_a_quarter() {
        let second = Duration::from_secs(1);
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|n| spread(second, &format!("a-{}", n / 2), n % 2)).collect();
        assert_eq!(waits.len(), 100);
        assert!(waits.iter().all(|w| (second..=second * 5 / 4).contains(w)));
        assert!(waits.last() > Some(&(second * 23 / 20)), "they use the whole range");
        assert_eq!(spread(second, "a", 1), spread(second, "a", 1));
        assert_eq!(spread(Duration::MAX, "a", 1), Duration::MAX);
    }
}
