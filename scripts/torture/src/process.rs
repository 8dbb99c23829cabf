//! A process that is started again whenever it ends, as a service manager would, until it is told to stop.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
};

use crate::Result;

/// Between the end of a process and its next start, unless a fault says otherwise.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// `serve` drains within 40 s.
const STOP_WITHIN: Duration = Duration::from_secs(45);

/// The addresses that `serve` prints, `http://host:port…`; of the last start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// The receivers' listener.
    pub(crate) webhooks: Option<String>,
    /// The admin listener.
    pub(crate) admin: Option<String>,
    /// calendar-mock, with its path.
    pub(crate) calendar: Option<String>,
}

/// A supervised process.
pub(crate) struct Member {
    /// Its name, also of its log file.
    pub(crate) name: String,
    shared: Arc<Shared>,
    addresses: watch::Receiver<Addresses>,
    task: JoinHandle<Result<Option<i32>>>,
}

struct Shared {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    directory: PathBuf,
    name: String,
    /// None while it is not running.
    pid: Mutex<Option<Pid>>,
    /// A fault has killed it: its end is no surprise.
    killed: AtomicBool,
    stopping: AtomicBool,
    /// It has printed an address since its start: it has the log.
    serving: AtomicBool,
    /// How often it ended before it served.
    failed_starts: AtomicU32,
    /// How often it ended while it served, though nobody killed it.
    fell: AtomicU32,
}

impl Member {
    /// Starts `program` in `directory`, which also gets its output, NAME.log, and its pid, NAME.pid.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (said, addresses) = watch::channel(Addresses::default());
        let shared = Arc::new(Shared {
            program: program.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            directory: directory.to_owned(),
            name: name.to_owned(),
            pid: Mutex::new(None),
            killed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            failed_starts: AtomicU32::new(0),
            fell: AtomicU32::new(0),
        });
        let task = tokio::spawn(supervise(shared.clone(), said));
        Self { name: name.to_owned(), shared, addresses, task }
    }

    /// Its addresses, as of its last start.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.borrow().clone()
    }

    /// Follows its addresses from start to start.
    pub(crate) fn watch(&self) -> watch::Receiver<Addresses> {
        self.addresses.clone()
    }

    /// How often a start failed: a process does not start while the broker is away.
    pub(crate) fn failed_starts(&self) -> u32 {
        self.shared.failed_starts.load(SeqCst)
    }

    /// Its ends while it served though nobody killed it, and its panics.
    pub(crate) fn falls(&self) -> Result<Vec<String>> {
        let name = &self.name;
        let log = std::fs::read(self.shared.file("log"))?;
        let log = String::from_utf8_lossy(&log);
        let panics =
            log.lines().filter(|line| line.contains("panicked at")).map(|line| format!("{name}: {line}"));
        let ends = match self.shared.fell.load(SeqCst) {
            0 => None,
            times => Some(format!("{name} ended {times} times by itself")),
        };
        Ok(panics.chain(ends).collect())
    }

    /// kill -9; it is started again. False where it does not run at the moment.
    pub(crate) fn kill(&self) -> bool {
        let pid = self.shared.pid();
        self.shared.killed.store(pid.is_some(), SeqCst);
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// SIGSTOP. False where it does not run at the moment.
    pub(crate) fn pause(&self) -> bool {
        self.shared.send(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> bool {
        self.shared.send(Signal::CONT)
    }

    /// SIGTERM, and its end: the exit code, or none where it had to be killed.
    pub(crate) async fn stop(mut self) -> Result<Option<i32>> {
        self.shared.stopping.store(true, SeqCst);
        self.shared.send(Signal::TERM);
        match tokio::time::timeout(STOP_WITHIN, &mut self.task).await {
            Ok(ended) => ended?,
            Err(_) => {
                self.shared.send(Signal::KILL);
                (&mut self.task).await??;
                Ok(None)
            }
        }
    }
}

impl Drop for Member {
    /// The child goes with the task that holds it.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn pid(&self) -> std::sync::MutexGuard<'_, Option<Pid>> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child is not yet waited for while its pid is there, so that the pid is nobody else's.
    fn send(&self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.file("log"))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Its own group: a Ctrl-C is for the harness, which then ends its processes itself.
        command.process_group(0).kill_on_drop(true);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?)
    }
}

async fn supervise(shared: Arc<Shared>, said: watch::Sender<Addresses>) -> Result<Option<i32>> {
    loop {
        shared.serving.store(false, SeqCst);
        let mut child = shared.spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            std::fs::write(shared.file("pid"), pid.as_raw_nonzero().to_string())?;
        }
        *shared.pid() = pid;
        if let Some(stdout) = child.stdout.take() {
            let log = OpenOptions::new().create(true).append(true).open(shared.file("log"))?;
            tokio::spawn(listen(shared.clone(), stdout, log, said.clone()));
        }
        // Stopped between the two: the signal found no process.
        if shared.stopping.load(SeqCst) {
            shared.send(Signal::TERM);
        }
        ended(&shared).await;
        *shared.pid() = None;
        let code = child.wait().await?.code();
        std::fs::remove_file(shared.file("pid"))?;
        if shared.stopping.load(SeqCst) {
            return Ok(code);
        }
        if !shared.killed.swap(false, SeqCst) {
            let ended = if shared.serving.load(SeqCst) { &shared.fell } else { &shared.failed_starts };
            ended.fetch_add(1, SeqCst);
        }
        tokio::time::sleep(RESTART_AFTER).await;
    }
}

/// Waits until the process has ended, and leaves it to be reaped: until then nobody else has its pid.
async fn ended(shared: &Shared) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let pid = *shared.pid();
    let Some(pid) = pid else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the addresses from what it prints, and keeps the rest beside its log.
async fn listen(shared: Arc<Shared>, stdout: ChildStdout, mut log: File, said: watch::Sender<Addresses>) {
    use std::io::Write;
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.split_whitespace();
        let (what, address) = (words.next(), words.next().map(str::to_owned));
        said.send_if_modified(|known| {
            match what {
                Some("webhooks") => known.webhooks = address,
                Some("admin") => known.admin = address,
                Some("calendar") => known.calendar = address,
                _ => return false,
            }
            shared.serving.store(true, SeqCst);
            true
        });
        // A full disk shall not stop the process whose output it is.
        let _ = writeln!(log, "{line}");
    }
}
