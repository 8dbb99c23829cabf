//! How the sweeps are, for `/health`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How each sweep is, by what is swept. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct SweepReports(Arc<Mutex<BTreeMap<String, SweepReport>>>);

/// How one sweep is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// When it was last done whole, by this process or another.
    pub swept_at: Option<DateTime<Utc>>,
    /// Why it cannot be done now.
    pub trouble: Option<String>,
    /// Since when.
    pub troubled_since: Option<DateTime<Utc>>,
}

impl SweepReports {
    /// All of them.
    pub fn all(&self) -> BTreeMap<String, SweepReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts down how a sweep went; true when that is other than before.
    pub(super) fn put(&self, name: &str, went: Result<DateTime<Utc>, &str>, now: DateTime<Utc>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let report = all.entry(name.to_owned()).or_default();
        let before = report.trouble.take();
        report.trouble = went.err().map(str::to_owned);
        report.swept_at = went.ok().or(report.swept_at);
        report.troubled_since = report.trouble.as_ref().map(|_| report.troubled_since.unwrap_or(now));
        before != report.trouble
    }
}
