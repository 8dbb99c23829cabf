//! The targets, in the order in which they are asked whether they carry an action.

mod calendar;
mod notification;

use std::sync::Arc;

use eventlog::Clock;

use crate::{Config, ExecutorError, Target};

/// Every target that `config` asks for.
pub(crate) fn all(config: &Config, clock: &Arc<dyn Clock>) -> Result<Vec<Arc<dyn Target>>, ExecutorError> {
    Ok(vec![
        Arc::new(calendar::Calendar::new(config, clock.clone())?),
        Arc::new(notification::Notification::new(config, clock.clone())?),
    ])
}
