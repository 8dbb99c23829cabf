//! Where deliveries are made durable.

use std::sync::Arc;

use eventlog::{Log, LogError, NewRecord};

use crate::spool::{Appended, Spool};

/// Where deliveries are made durable.
#[derive(Clone)]
pub enum Journal {
    /// On the log itself.
    Log(Arc<dyn Log>),
    /// On the log or, while it is away, on this machine's disk.
    Spool(Spool),
}

impl Journal {
    /// Appends records at once, and returns when they are durable: where the first one is.
    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        match self {
            Self::Spool(spool) => spool.append(records).await,
            Self::Log(log) => Appended::first_of(&log.append(records).await?),
        }
    }
}

impl From<Spool> for Journal {
    fn from(spool: Spool) -> Self {
        Self::Spool(spool)
    }
}

impl From<Arc<dyn Log>> for Journal {
    fn from(log: Arc<dyn Log>) -> Self {
        Self::Log(log)
    }
}

impl<L: Log> From<Arc<L>> for Journal {
    fn from(log: Arc<L>) -> Self {
        Self::Log(log)
    }
}
