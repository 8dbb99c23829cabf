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
    /// Appends one record, and returns when it is durable.
    pub(crate) async fn append(&self, record: NewRecord) -> Result<Appended, LogError> {
        match self {
            Self::Spool(spool) => spool.append(record).await,
            Self::Log(log) => match log.append(vec![record]).await?.first() {
                Some(position) => Ok(Appended::At(*position)),
                None => Err(LogError::Unavailable("the log took a record and said no position".into())),
            },
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
