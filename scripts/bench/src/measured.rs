//! What a run of requests came to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Result, latencies::Latencies, process};

/// What one connection has seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of the requests that were answered with 202.
    pub(crate) latencies: Latencies,
    /// Requests answered with 202, also before and after what is measured.
    pub(crate) accepted: u64,
    /// Answers with another status.
    pub(crate) not_202: u64,
    /// Requests without an answer.
    pub(crate) failed: u64,
    /// What the first of those was about.
    pub(crate) complaint: Option<String>,
}

impl Tally {
    pub(crate) fn refused(&mut self, status: u16, body: &[u8]) {
        self.not_202 += 1;
        let say = || format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
        self.complaint.get_or_insert_with(say);
    }

    pub(crate) fn failed(&mut self, error: &std::io::Error) {
        self.failed += 1;
        self.complaint.get_or_insert_with(|| format!("no answer: {error}"));
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies.merge(other.latencies);
        self.accepted += other.accepted;
        self.not_202 += other.not_202;
        self.failed += other.failed;
        self.complaint = self.complaint.take().or(other.complaint);
    }
}

/// Looks at wall clock and CPU time at the beginning and the end of what is measured.
pub(crate) struct Stopwatch {
    server: Option<u32>,
    began: Instant,
    server_cpu: Duration,
    own_cpu: Duration,
}

impl Stopwatch {
    /// Begins. `server` is the process whose CPU time is measured.
    pub(crate) fn start(server: Option<u32>) -> Result<Self> {
        let server_cpu = server.map(|pid| process::cpu(Some(pid))).transpose()?.unwrap_or_default();
        Ok(Self { server, began: Instant::now(), server_cpu, own_cpu: process::cpu(None)? })
    }

    /// Ends.
    pub(crate) fn stop(self) -> Result<Taken> {
        let wall = self.began.elapsed();
        let server = self.server.map(|pid| process::cpu(Some(pid))).transpose()?;
        let own = process::cpu(None)? - self.own_cpu;
        let peak = self.server.map(process::peak_resident).transpose()?;
        Ok(Taken { wall, server: server.map(|cpu| cpu - self.server_cpu), own, peak })
    }
}

/// Time that a run took, and the most memory that the server has had up to its end, in KiB.
pub(crate) struct Taken {
    wall: Duration,
    server: Option<Duration>,
    own: Duration,
    peak: Option<u64>,
}

/// The line to print. `per_second` counts requests answered with 202; `server_cpu_us` is the server's CPU time a request;
/// `accepted` counts those
/// before and after, too; `load_busy` is the part of one core that making the load took: near 1 the load was the limit, not the server.
pub(crate) fn line(tally: Tally, taken: &Taken) -> Value {
    if let Some(complaint) = &tally.complaint {
        eprintln!("bench: {} not 202, {} failed; the first: {complaint}", tally.not_202, tally.failed);
    }
    let (accepted, seconds) = (tally.latencies.len(), taken.wall.as_secs_f64());
    let answered = accepted as f64 + tally.not_202 as f64;
    let mut line = json!({
        "requests": accepted,
        "accepted": tally.accepted,
        "seconds": seconds,
        "per_second": accepted as f64 / seconds,
        "not_202": tally.not_202,
        "failed": tally.failed,
        "server_cpu_us": taken.server.filter(|_| answered > 0.0).map(|cpu| cpu.as_secs_f64() * 1e6 / answered),
        "peak_resident_kib": taken.peak,
        "load_busy": taken.own.as_secs_f64() / seconds,
    });
    extend(&mut line, tally.latencies.summary());
    line
}

/// Takes the fields of `more` into `line`; both are objects.
pub(crate) fn extend(line: &mut Value, more: Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more);
    }
}

/// Prints a line of results under its label.
pub(crate) fn print(label: Option<&str>, mut line: Value) {
    if let Some(label) = label {
        extend(&mut line, json!({"label": label}));
    }
    println!("{line}");
}
