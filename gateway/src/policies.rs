//! Which policies decide.

use std::sync::Arc;

use policy::Ruleset;
use tokio::sync::watch;

/// The policies that a gateway decides by. Others may take their place while it runs ([`crate::Gateway::following`]).
#[derive(Debug, Clone)]
pub struct Policies {
    /// Decides what is done.
    pub policy: Arc<Ruleset>,
    /// Decides the same inputs beside it, onto the topic `actions-shadow`, for comparison. Nothing executes it.
    pub shadow: Option<Arc<Ruleset>>,
}

/// Ends when other policies were put in place since `policies` was last looked at; never when nobody can do so any more.
pub(crate) async fn changed(policies: &mut watch::Receiver<Policies>) {
    if policies.changed().await.is_err() {
        std::future::pending().await
    }
}
