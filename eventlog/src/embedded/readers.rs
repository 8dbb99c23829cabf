//! A few connections for reading, on the runtime's threads for blocking work; by hand, on the thread that asks.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::database;
use crate::LogError;

/// At most so many reads run at once; each connection caches up to a mebibyte of pages.
const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    file: PathBuf,
    by_hand: bool,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(file: PathBuf, by_hand: bool) -> Self {
        Self { file, by_hand, idle: Mutex::default(), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// Runs `work` in one read transaction, so that all that it sees is of one moment.
    pub(super) async fn run<T, F>(self: &Arc<Self>, doing: &'static str, work: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if self.by_hand {
            return self.run_here(work).map_err(|error| database::failure(&self.file, doing, &error));
        }
        let stopped = || LogError::Unavailable(format!("{doing}: the program is stopping"));
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also when nobody waits for it any more.
            let _permit = permit;
            readers.run_here(work).map_err(|error| database::failure(&readers.file, doing, &error))
        });
        task.await.map_err(|_| stopped())?
    }

    fn run_here<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => database::open_for_reading(&self.file)?,
        };
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        transaction.finish()?;
        // A connection that failed is not used again.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}
