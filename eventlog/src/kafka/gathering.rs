//! Records that come while others are under way to their partition wait for those, and then go together.
//!
//! librdkafka has at most five records of an idempotent producer under way to a partition, or one request of more. What comes meanwhile it
//! gathers by itself, but its thread polls without a pause until the broker has answered, which takes more time than all else that it
//! does. So what it would only keep is kept here. Below that nobody waits.

use std::{
    array,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// So many records are under way to a partition before others wait: as many as the client sends one by one.
const ENOUGH: usize = 5;
/// Partitions beyond so many share ways, which costs only time.
const WAYS: usize = 64;

/// The ways to all partitions, by their numbers: topics share them, which costs only time, too. What goes to several partitions goes the
/// way of its first.
pub(super) struct Gathering {
    ways: [Way; WAYS],
    patience: Duration,
}

/// The way to a partition.
#[derive(Default)]
struct Way {
    under_way: AtomicUsize,
    /// Fewer than [`ENOUGH`] are under way again.
    open: Notify,
}

/// So many records are under way, until this is dropped.
pub(super) struct UnderWay<'w> {
    way: &'w Way,
    records: usize,
}

impl Gathering {
    /// Nobody waits longer than `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { ways: array::from_fn(|_| Way::default()), patience }
    }

    /// Waits until so many records for `partition` may go into the client's queue: at once, or with all others that wait.
    pub(super) async fn pass(&self, partition: u32, records: usize) -> UnderWay<'_> {
        let way = &self.ways[partition as usize % WAYS];
        if way.is_taken() {
            let mut open = pin!(way.open.notified());
            // From here on no opening is missed.
            open.as_mut().enable();
            if way.is_taken() {
                let _ = timeout(self.patience, open).await;
            }
        }
        way.under_way.fetch_add(records, SeqCst);
        UnderWay { way, records }
    }
}

impl Way {
    fn is_taken(&self) -> bool {
        self.under_way.load(SeqCst) >= ENOUGH
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // By what was left, whoever has come since.
        if self.way.under_way.fetch_sub(self.records, SeqCst) - self.records < ENOUGH {
            self.way.open.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        sync::mpsc,
        task::{JoinSet, yield_now},
    };

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(1 << 30);

    /// Whether whoever comes now has to wait.
    async fn waits(ways: &Gathering, partition: u32) -> bool {
        timeout(Duration::ZERO, ways.pass(partition, 0)).await.is_err()
    }

    #[tokio::test]
    async fn only_who_comes_behind_enough_others_waits() {
        let ways = Gathering::new(FOR_EVER);
        let mut under_way = Vec::new();
        for _ in 0..ENOUGH {
            assert!(!waits(&ways, 3).await);
            under_way.push(ways.pass(3, 1).await);
        }
        assert!(waits(&ways, 3).await && !waits(&ways, 4).await, "another partition is another way");
        under_way.pop();
        assert!(!waits(&ways, 3).await);
        let many = ways.pass(3, 100).await;
        drop(under_way);
        assert!(waits(&ways, 3).await, "records count, not appends");
        drop(many);
        assert!(!waits(&ways, 3).await);
    }

    #[tokio::test]
    async fn all_that_wait_go_together() {
        let ways = Arc::new(Gathering::new(FOR_EVER));
        let first = ways.pass(0, ENOUGH).await;
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut waiting = JoinSet::new();
        for number in 0..20 {
            let (ways, tell) = (ways.clone(), tell.clone());
            waiting.spawn(async move {
                let _under_way = ways.pass(0, 1).await;
                tell.send(number).unwrap();
                std::future::pending::<()>().await;
            });
        }
        yield_now().await;
        assert!(told.try_recv().is_err());
        drop(first);
        for _ in 0..20 {
            told.recv().await.unwrap();
        }
        assert!(waits(&ways, 0).await, "who comes behind them waits again");
        waiting.shutdown().await;
        assert!(!waits(&ways, 0).await, "who is gone stands in nobody's way");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let ways = Gathering::new(Duration::ZERO);
        let _stuck = ways.pass(0, ENOUGH).await;
        ways.pass(0, 1).await;
    }
}
