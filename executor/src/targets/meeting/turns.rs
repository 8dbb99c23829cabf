//! Whose turn it is. Between asking who is free and booking, nobody else may book those people: each would be told the same
//! time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// One turn at a time for each calendar; of this process: another one may book at the same instant.
#[derive(Debug, Default)]
pub(in crate::targets) struct Turns(Mutex<HashMap<String, Arc<Turn<()>>>>);

impl Turns {
    /// Waits until nobody else books any of these calendars; until what is returned is dropped, nobody does.
    pub(in crate::targets) async fn take(&self, calendars: &[&str]) -> Vec<OwnedMutexGuard<()>> {
        let mut sorted = calendars.to_vec();
        // In one order for all, so that no two wait for each other.
        sorted.sort_unstable();
        sorted.dedup();
        let turns: Vec<Arc<Turn<()>>> = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are forgotten.
            known.retain(|_, turn| Arc::strong_count(turn) > 1);
            sorted.into_iter().map(|calendar| known.entry(calendar.to_owned()).or_default().clone()).collect()
        };
        let mut taken = Vec::with_capacity(turns.len());
        for turn in turns {
            taken.push(turn.lock_owned().await);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_shares_a_calendar_waits_and_nobody_else_does() {
        let turns = Turns::default();
        let first = turns.take(&["b", "a", "b"]).await;
        assert_eq!(first.len(), 2);
        let mut second = Box::pin(turns.take(&["c", "b"]));
        assert!(second.as_mut().now_or_never().is_none());
        let third = turns.take(&["d"]).await;
        drop(first);
        drop(second.await);
        drop(third);
        drop(turns.take(&["a", "b", "c"]).await);
        assert_eq!(turns.take(&[]).await.len(), 0);
        assert!(
            turns.0.lock().expect("the map").is_empty(),
            "nothing is kept of calendars that nobody books"
        );
    }
}
