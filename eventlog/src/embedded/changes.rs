//! Waking whoever waits for records.
//!
//! Our own writer says when it has committed. Other processes cannot, so while anybody waits a thread looks at the
//! file's `data_version`, which costs one look at shared memory, and only when that has changed are queries run. By hand
//! there are no others.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::watch;

use super::database;

/// How long it may take until what another process appended is seen.
const LOOK_EVERY: Duration = Duration::from_millis(75);

/// Counts what may have been committed.
pub(super) struct Changes {
    shared: Arc<Shared>,
    by_hand: bool,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    file: PathBuf,
    version: watch::Sender<u64>,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    waiting: usize,
    closed: bool,
}

/// Keeps the watcher looking while it lives.
pub(super) struct Waiting(Arc<Shared>);

impl Changes {
    pub(super) fn new(file: PathBuf, by_hand: bool) -> Self {
        let shared =
            Shared { file, version: watch::Sender::new(0), state: Mutex::default(), woken: Condvar::new() };
        Self { shared: Arc::new(shared), by_hand, watcher: Mutex::default() }
    }

    /// Says that something was committed. Held by the writer, too, which must not keep the log alive.
    pub(super) fn sender(&self) -> watch::Sender<u64> {
        self.shared.version.clone()
    }

    /// The count, to wait on while [`Changes::waiting`] is held.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    pub(super) fn waiting(&self) -> Waiting {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() && !self.by_hand {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("eventlog-watch".into());
            match thread.spawn(move || shared.watch()) {
                Ok(handle) => *watcher = Some(handle),
                Err(error) => {
                    tracing::warn!(%error, "cannot watch for what other processes append; trying again")
                }
            }
        }
        self.shared.lock().waiting += 1;
        self.shared.woken.notify_one();
        Waiting(Arc::clone(&self.shared))
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.woken.notify_one();
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            let _ = watcher.join();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut connection = None;
        let mut seen = None;
        loop {
            {
                let idle = |state: &mut State| state.waiting == 0 && !state.closed;
                let state = self.woken.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
                let (state, _) = self
                    .woken
                    .wait_timeout_while(state, LOOK_EVERY, |state| !state.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                if state.closed {
                    return;
                }
            }
            match data_version(&self.file, &mut connection) {
                Ok(version) => {
                    // The first look says nothing: something may have been committed before it.
                    if seen.replace(version) != Some(version) {
                        self.version.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, file = %self.file.display(), "cannot see what other processes append");
                    connection = None;
                    seen = None;
                }
            }
        }
    }
}

fn data_version(file: &std::path::Path, connection: &mut Option<Connection>) -> rusqlite::Result<i64> {
    let open = match connection.take() {
        Some(open) => open,
        None => database::open_for_reading(file)?,
    };
    let version = open.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?;
    *connection = Some(open);
    Ok(version)
}
