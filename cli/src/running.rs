//! Roles at work, and how they end.

use std::{
    future::Future,
    io::{IsTerminal, stdin},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::error::Failure;

/// How long a role may take to drain; each has bounds of its own below this.
const DRAIN: Duration = Duration::from_secs(40);

/// On Linux and macOS.
const SIGXFSZ: i32 = 25;

/// SIGINT, SIGTERM and SIGHUP, watched for since this was made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Somebody sits there.
    at_terminal: bool,
    /// Taken so that it does not end the process: a file that may not grow is like a full disk, which is answered 503.
    _file_size: Option<Signal>,
}

impl Signals {
    pub(crate) fn watch() -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("signals cannot be watched: {error}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hang_up: watch(SignalKind::hangup())?,
            at_terminal: stdin().is_terminal(),
            _file_size: signal(SignalKind::from_raw(SIGXFSZ)).ok(),
        })
    }

    /// The name of the next signal that ends the process. SIGHUP sets off `reload`, where there is one, and ends the process
    /// only when it came because the terminal closed: nobody is left to press Ctrl-C.
    pub(crate) async fn next(&mut self, reload: Option<&Notify>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.hang_up.recv() => {}
            }
            // A terminal that was hung up is none any more.
            if self.at_terminal && !stdin().is_terminal() {
                return "SIGHUP";
            }
            match reload {
                Some(reload) => {
                    info!("SIGHUP: reading the policy again");
                    reload.notify_one();
                }
                None => info!("SIGHUP: no policy file is watched here, so there is nothing to reload"),
            }
        }
    }
}

/// The roles at work.
#[derive(Default)]
pub(crate) struct Running {
    roles: Vec<Role>,
    failed: CancellationToken,
}

struct Role {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a role, which ends when its token is cancelled. One that ends before, or panics, takes the process with
    /// it: a gateway that no longer decides must not look alive.
    pub(crate) fn start<F, E>(&mut self, name: &'static str, role: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let stop = CancellationToken::new();
        let (told, failed) = (stop.clone(), self.failed.clone().drop_guard());
        let role = role(stop.clone());
        let task = tokio::spawn(async move {
            let ended = role.await;
            if let Err(why) = &ended {
                error!(role = name, "stopped: {why}");
            }
            // Otherwise, and when the role panics, dropping the guard says that it failed.
            if ended.is_ok() && told.is_cancelled() {
                failed.disarm();
            }
        });
        self.roles.push(Role { name, stop, task });
    }

    /// Ends when a role has ended that was not told to.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops the roles one after the other, the one that was started last first.
    pub(crate) async fn stop(self) {
        for Role { name, stop, mut task } in self.roles.into_iter().rev() {
            stop.cancel();
            match tokio::time::timeout(DRAIN, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => error!(role = name, "panicked: {panic}"),
                Err(_) => {
                    error!(role = name, "did not drain within {} s", DRAIN.as_secs());
                    task.abort();
                }
            }
        }
    }
}
