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
        let (records, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.record, waiting.answer)).unzip();
        let results = store(&shared.disk, &records).await;
        for ((record, answer), result) in records.iter().zip(answers).zip(results) {
            match &result {
                Ok(()) => {
                    shared.lock().disk_took();
                    metrics::counter!("breakdown_spooled_total").increment(1);
                }
                Err(_) => shared.lock().disk_refused(record::size(record)),
            }
            // Whoever asked may be gone.
            let _ = answer.send(result.map(|()| Appended::Spooled));
        }
    }
}

async fn store(disk: &EmbeddedLog, records: &[NewRecord]) -> Vec<Result<(), LogError>> {
    match disk.append(records.to_vec()).await {
        Ok(_) => records.iter().map(|_| Ok(())).collect(),
        Err(LogError::Unfit(_)) if records.len() > 1 => {
            // One of them is too large, even for the disk: the others go on without it.
            let mut results = Vec::with_capacity(records.len());
            for record in records {
                results.push(disk.append(vec![record.clone()]).await.map(drop));
            }
            results
        }
        Err(error) => records.iter().map(|_| Err(error.clone())).collect(),
    }
}
