//! A real broker of our own, of one node or several, by scripts/kafka.sh: its ports, its data, its death.

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
    /// Of the first node; each has two.
    port: u16,
    nodes: u16,
}

impl Broker {
    /// Starts one in `directory`, on ports that are free in a row: of each node the second is its controller's.
    pub(crate) async fn start(script: &Path, directory: &Path, nodes: u16) -> Result<Self> {
        let port = free_ports(2 * nodes)?;
        let broker = Self { script: script.to_owned(), directory: directory.to_owned(), port, nodes };
        broker.up().await?;
        Ok(broker)
    }

    /// What REDPANDA_BROKERS is to be.
    pub(crate) fn address(&self) -> String {
        let nodes = (0..self.nodes).map(|node| format!("127.0.0.1:{}", self.port + 2 * node));
        nodes.collect::<Vec<_>>().join(",")
    }

    /// Starts the nodes that do not run, on the data that they have.
    pub(crate) async fn up(&self) -> Result<()> {
        match self.nodes {
            1 => self.run(&["up"]).await,
            nodes => self.run(&["up", "--nodes", &nodes.to_string()]).await,
        }
    }

    /// Stops it and keeps its data.
    pub(crate) async fn down(&self) -> Result<()> {
        for node in 0..self.nodes.into() {
            self.resume(node);
        }
        self.run(&["down"]).await
    }

    /// kill -9 of a node, and waits until it is gone.
    pub(crate) async fn kill(&self, node: usize) -> Result<()> {
        let pid = self.pid(node).ok_or("the broker does not run")?;
        kill_process(pid, Signal::KILL)?;
        // It is not our child, so its end cannot be waited for.
        while self.pid(node) == Some(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGSTOP of a node: connections are taken and nothing is answered.
    pub(crate) fn pause(&self, node: usize) -> bool {
        self.pid(node).is_some_and(|pid| kill_process(pid, Signal::STOP).is_ok())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, node: usize) -> bool {
        self.pid(node).is_some_and(|pid| kill_process(pid, Signal::CONT).is_ok())
    }

    /// The pid of a node, counted from 0. The file outlives it when it is killed, and its number may be another program's by then.
    fn pid(&self, node: usize) -> Option<Pid> {
        let home = match self.nodes {
            1 => self.directory.clone(),
            _ => self.directory.join(format!("node-{}", node + 1)),
        };
        let pid = std::fs::read_to_string(home.join("pid")).ok()?;
        let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).ok()?;
        let ours = String::from_utf8_lossy(&arguments).contains(&*home.to_string_lossy());
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
        for pid in (0..self.nodes.into()).filter_map(|node| self.pid(node)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The first of `count` free ports in a row.
fn free_ports(count: u16) -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        let is_free =
            |more| port.checked_add(more).is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        if (1..count).all(is_free) {
            return Ok(port);
        }
    }
    Err(format!("no {count} free ports in a row").into())
}
