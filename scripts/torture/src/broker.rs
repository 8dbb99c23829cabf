//! A real broker of our own, by scripts/kafka.sh: its port, its data, its death.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, time::timeout};

use crate::Result;

/// How long a start may take; the broker replays its log after a crash.
const START_WITHIN: Duration = Duration::from_secs(120);

/// A running broker.
pub(crate) struct Broker {
    script: PathBuf,
    directory: PathBuf,
    port: u16,
}

impl Broker {
    /// Starts one in `directory`, on a port that is free together with the next one, which its controller takes.
    pub(crate) async fn start(script: &Path, directory: &Path) -> Result<Self> {
        let broker =
            Self { script: script.to_owned(), directory: directory.to_owned(), port: two_free_ports()? };
        broker.up().await?;
        Ok(broker)
    }

    /// What REDPANDA_BROKERS is to be.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on the data that it has.
    pub(crate) async fn up(&self) -> Result<()> {
        self.run(&["up"]).await
    }

    /// Stops it and keeps its data.
    pub(crate) async fn down(&self) -> Result<()> {
        self.resume();
        self.run(&["down"]).await
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&self) -> Result<()> {
        let pid = self.pid().ok_or("the broker does not run")?;
        kill_process(pid, Signal::KILL)?;
        // It is not our child, so its end cannot be waited for.
        while self.pid() == Some(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGSTOP: connections are taken and nothing is answered.
    pub(crate) fn pause(&self) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, Signal::STOP).is_ok())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, Signal::CONT).is_ok())
    }

    /// Its pid. The file outlives it when it is killed, and its number may be another program's by then.
    fn pid(&self) -> Option<Pid> {
        let pid = std::fs::read_to_string(self.directory.join("pid")).ok()?;
        let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).ok()?;
        let ours = String::from_utf8_lossy(&arguments).contains(&*self.directory.to_string_lossy());
        ours.then(|| Pid::from_raw(pid.trim().parse().ok()?))?
    }

    async fn run(&self, arguments: &[&str]) -> Result<()> {
        // Into a file and not a pipe: the broker inherits it, and a pipe would end only with the broker.
        let said = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.with_extension("script.log"))?;
        let mut script = Command::new(&self.script);
        script.args(arguments).env("BREAKDOWN_KAFKA_PORT", self.port.to_string());
        script.env("BREAKDOWN_KAFKA_DIR", &self.directory).kill_on_drop(true).process_group(0);
        script.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let status = timeout(START_WITHIN, script.status()).await??;
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "scripts/kafka.sh {} failed ({status}): look into {}.script.log",
            arguments.join(" "),
            self.directory.display()
        )
        .into())
    }
}

impl Drop for Broker {
    /// When the run ends before its time; after [`Broker::down`] there is nothing left to kill.
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn two_free_ports() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err("no two free ports in a row".into())
}
