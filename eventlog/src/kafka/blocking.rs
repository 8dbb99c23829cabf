//! librdkafka blocks; the callers here do not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use crate::LogError;

/// Runs what blocks where it may block. The work goes on when the future is dropped.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(LogError::Unavailable("the program is shutting down".to_owned())),
    }
}

/// Runs on a thread of its own what may never come back, and waits for it until `until`. `None` when it is not back by then: it is left
/// behind, with all that it was given, until it does come back.
pub(super) fn within<T: Send + 'static>(
    what: &'static str,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    let left_behind = move || {
        if tell.send(work()).is_err() {
            tracing::info!(what, "a call that nobody waits for any more has come back");
        }
    };
    let started = thread::Builder::new().name(format!("kafka {what}")).spawn(left_behind);
    started.ok().and_then(|_| told.recv_timeout(until.saturating_duration_since(Instant::now())).ok())
}

/// Drops clients where it may take a while: they leave their group and close their connections. A runtime that ends waits
/// for it.
pub(super) fn retire<T: Send + 'static>(clients: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(clients))),
        Err(_) => drop(clients),
    }
}

/// Something that is used by blocking calls, one at a time, and outlives a call whose future is dropped.
pub(super) struct Shared<T: Send + 'static>(Arc<Mutex<Option<T>>>);

fn lock<T>(shared: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    shared.lock().unwrap_or_else(|e| e.into_inner())
}

impl<T: Send + 'static> Shared<T> {
    pub(super) fn new(it: T) -> Self {
        Self(Arc::new(Mutex::new(Some(it))))
    }

    /// Runs `work` on it. The flag turns false when nobody waits for the result any more; work that has not begun by
    /// then does not begin.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T, &AtomicBool) -> Result<R, LogError> + Send + 'static,
    ) -> Result<R, LogError> {
        let shared = Arc::clone(&self.0);
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let flag = Arc::clone(&wanted.0);
        run_blocking(move || match lock(&shared).as_mut() {
            Some(it) if flag.load(Ordering::Relaxed) => work(it, &flag),
            _ => Err(LogError::Unavailable("nobody waits for this any more".to_owned())),
        })
        .await
    }

    /// Something short, right after [`Shared::run`] returned.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.0).as_mut().map(work)
    }
}

impl<T: Send + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.0);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(lock(&shared).take()))),
            Err(_) => drop(lock(&shared).take()),
        }
    }
}

struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_back_is_left_behind() {
        let (never, waits) = mpsc::channel::<()>();
        assert_eq!(within("test", Instant::now(), move || waits.recv().is_ok()), None);
        drop(never);
        let later = Instant::now() + std::time::Duration::from_secs(60);
        assert_eq!(within("test", later, || 7), Some(7));
    }
}
