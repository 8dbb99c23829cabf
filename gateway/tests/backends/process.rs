//! A gateway in a process of its own, which can be killed.
//!
//! It is this test program, run again for the ignored test `child_process`. Each line on its standard input is the policies that
//! it is to follow from then on; at the end of the input it stops.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use gateway::{Gateway, Policies};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::place::{Place, clock, held};

/// The policies, as text.
#[derive(Clone, Serialize, Deserialize)]
pub struct Texts {
    pub policy: String,
    pub shadow: Option<String>,
}

impl Texts {
    fn load(&self) -> Policies {
        let load = |text: &str| Arc::new(policy::load(text).unwrap());
        Policies { policy: load(&self.policy), shadow: self.shadow.as_deref().map(load) }
    }
}

/// A gateway in another process; dies with the test.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    pub fn start(place: &Place, texts: &Texts) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .envs(place.env())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut process = Self { child, input };
        process.follow(texts);
        process
    }

    /// Lets other policies take over.
    pub fn follow(&mut self, texts: &Texts) {
        let mut line = serde_json::to_vec(texts).unwrap();
        line.push(b'\n');
        self.input.as_mut().unwrap().write_all(&line).unwrap();
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it, and waits until it has ended.
    pub fn stop(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child process runs.
pub fn child() {
    let Some(log) = held() else { return };
    let mut lines = BufReader::new(std::io::stdin()).lines().map_while(Result::ok);
    let mut next = move || lines.next().map(|line| serde_json::from_str::<Texts>(&line).unwrap().load());
    let Some(first) = next() else { return };
    let (policies, followed) = watch::channel(first);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    std::thread::spawn(move || {
        while let Some(other) = next() {
            policies.send_replace(other);
        }
        stopping.cancel();
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Gateway::following(log, clock(), followed).run(stop)).unwrap();
}
