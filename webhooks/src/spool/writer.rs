//! Puts records onto the disk in the order in which they were admitted: whatever waits is written, and synced, together.

use std::sync::Arc;

use eventlog::{Log, LogError, NewRecord, embedded::EmbeddedLog};
use tokio::sync::mpsc;

use super::{
    Appended, record,
    state::{Shared, Waiting},
};

/// Most records written together.
const BATCH: usize = 256;

/// Writes until the last sender is gone.
pub(super) async fn write(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let (deliveries, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.records, waiting.answer)).unzip();
        let results = store(&shared.disk, &deliveries).await;
        for ((records, answer), result) in deliveries.iter().zip(answers).zip(results) {
            let (count, bytes) = record::sizes(records);
            match &result {
                Ok(()) => {
                    shared.lock().disk_took();
                    metrics::counter!("breakdown_spooled_total").increment(1);
                }
                Err(_) => shared.lock().disk_refused(count, bytes),
            }
            // Whoever asked may be gone.
            let _ = answer.send(result.map(|()| Appended::Spooled));
        }
    }
}

async fn store(disk: &EmbeddedLog, deliveries: &[Vec<NewRecord>]) -> Vec<Result<(), LogError>> {
    match disk.append(deliveries.concat()).await {
        Ok(_) => deliveries.iter().map(|_| Ok(())).collect(),
        Err(LogError::Unfit(_)) if deliveries.len() > 1 => {
            // One of them is too large, even for the disk: the others go on without it.
            let mut results = Vec::with_capacity(deliveries.len());
            for records in deliveries {
                results.push(disk.append(records.clone()).await.map(drop));
            }
            results
        }
        Err(error) => deliveries.iter().map(|_| Err(error.clone())).collect(),
    }
}
