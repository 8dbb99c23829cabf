//! A server on a port of its own, a log in memory, and a client that sends exactly what it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, routing::get};
use eventlog::{
    GroupOffset, Log, LogError, ManualClock, NewRecord, Position, Reader, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};
use events::{DeadLetter, EventType, IssueEvent, topic};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use webhooks::{Config, Journal, Limits, Projects, Provider, Secrets, Server, sign};

pub const SECRET: &str = "It's a Secret to Everybody";
/// Longer than anything here may take, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Length of the answer at `/large`, in bytes: more than a connection's two ends hold unread.
pub const LARGE: usize = 32 * 1024 * 1024;

/// Keeps what is appended; can be closed, or told to fail.
#[derive(Debug)]
pub struct MemoryLog {
    records: Mutex<Vec<NewRecord>>,
    failure: Mutex<Option<LogError>>,
    gate: Semaphore,
    pub waiting: AtomicUsize,
    pub most_waiting: AtomicUsize,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            failure: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            waiting: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
        }
    }
}

impl MemoryLog {
    pub fn fail(&self, failure: Option<LogError>) {
        *self.failure.lock().unwrap() = failure;
    }

    /// Lets no append through.
    pub fn close(&self) {
        self.gate.forget_permits(1_000_000);
    }

    pub fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    /// Returns once so many appends wait at the closed gate.
    pub async fn wait_for(&self, waiting: usize) {
        let arrived = async {
            while self.waiting.load(Ordering::SeqCst) < waiting {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, arrived).await.expect("appends arrive");
    }

    pub fn records(&self, topic: &str) -> Vec<NewRecord> {
        self.records.lock().unwrap().iter().filter(|record| record.topic == topic).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub fn events(&self) -> Vec<IssueEvent> {
        let records = self.records(topic::ISSUES);
        records.iter().map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()).collect()
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let records = self.records(topic::DEAD_LETTERS);
        records.iter().map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()).collect()
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_waiting.fetch_max(waiting, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        let _open = self.gate.acquire().await.unwrap();
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        let mut kept = self.records.lock().unwrap();
        Ok(records
            .into_iter()
            .map(|record| {
                kept.push(record);
                Position { partition: 3, offset: kept.len() as u64 - 1 }
            })
            .collect())
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Ok(vec![])
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        Ok(vec![])
    }

    async fn read(&self, _: &str, _: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Err(LogError::Refused("the receivers never read".into()))
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Refused("the receivers never subscribe".into()))
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    pub log: Arc<MemoryLog>,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<std::io::Result<()>>,
}

pub fn secrets() -> Secrets {
    Secrets::parse(SECRET).unwrap()
}

pub fn config(limits: Limits) -> Config {
    Config {
        github: Some(secrets()),
        jira: Some(secrets()),
        pagerduty: Some(secrets()),
        projects: Projects::new("alpha"),
        limits,
        ..Config::default()
    }
}

pub async fn start() -> Receiver {
    start_with(config(Limits::default())).await
}

pub async fn start_with(config: Config) -> Receiver {
    let log = Arc::new(MemoryLog::default());
    start_on(config, log.clone(), log).await
}

/// Receivers whose `journal` ends in `log`.
pub async fn start_on(config: Config, log: Arc<MemoryLog>, journal: impl Into<Journal>) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Arc::new(ManualClock::new("2026-02-02T10:00:00Z".parse().unwrap()));
    let extra = Router::new()
        .route("/health/live", get(|| async { "live" }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }));
    let shutdown = CancellationToken::new();
    let server = Server::new(config, journal, clock, extra);
    let served = tokio::spawn(server.serve(listener, shutdown.clone()));
    Receiver { address, log, shutdown, served }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Checks that this is a refusal as every refusal is, and returns its reason.
    #[track_caller]
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem["reason"].as_str().unwrap().to_owned()
    }
}

/// A connection on which anything can be written.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Writes as much as the peer takes: it may have answered and closed before all was sent.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.expect("the peer reads or closes");
    }

    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Reply {
        let mut headers = headers.to_vec();
        headers.push(("content-length".into(), body.len().to_string()));
        self.write(&[&head(method, path, &headers), body].concat()).await;
        self.reply().await.expect("an answer")
    }

    /// Reads one answer; `None` when the connection ends without one.
    pub async fn reply(&mut self) -> Option<Reply> {
        timeout(PATIENCE, self.read_reply()).await.expect("an answer or an end in time")
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let mut part = [0; 4096];
            match self.0.read(&mut part).await {
                Ok(0) | Err(_) => {
                    assert!(bytes.is_empty(), "half an answer");
                    return None;
                }
                Ok(read) => bytes.extend_from_slice(&part[..read]),
            }
        };
        let mut body = bytes.split_off(end);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length =
            headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
        while body.len() < length {
            let mut part = vec![0; length - body.len()];
            let read = self.0.read(&mut part).await.unwrap();
            assert!(read > 0, "half a body");
            body.extend_from_slice(&part[..read]);
        }
        Some(Reply { status, headers, body })
    }

    /// Waits until the server ends the connection; true when nothing came before that.
    pub async fn ends_silently(&mut self) -> bool {
        self.reply().await.is_none()
    }
}

pub fn head(method: &str, path: &str, headers: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

pub fn signed(provider: Provider, event: &str, body: &[u8]) -> Vec<(String, String)> {
    sign(provider, &secrets(), event, "72d3162e-cc78-11e3-81ab-4c9367dc0958", body)
}

/// The same headers, with `name` replaced by `value`, or left out.
pub fn with(headers: &[(String, String)], name: &str, value: Option<&str>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.iter().filter(|(n, _)| n != name).cloned().collect();
    headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    headers
}

impl Receiver {
    pub async fn post(&self, path: &str, headers: &[(String, String)], body: &[u8]) -> Reply {
        Client::connect(self.address).await.send("POST", path, headers, body).await
    }

    /// Sends `body`, rightly signed.
    pub async fn deliver(&self, provider: Provider, event: &str, body: &[u8]) -> Reply {
        self.post(provider.path(), &signed(provider, event, body), body).await
    }

    /// Sends `payload` rightly signed and returns the event that it became, without the answer that lies in it.
    pub async fn event(&self, provider: Provider, event: &str, payload: &Value) -> IssueEvent {
        let before = self.log.events().len();
        let reply = self.deliver(provider, event, payload.to_string().as_bytes()).await;
        assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
        let mut events = self.log.events().split_off(before);
        let answer = events.iter().skip(1).all(|event| event.event_type == EventType::IssueAcknowledged);
        assert!(answer && (1..=2).contains(&events.len()), "{events:?}");
        events.swap_remove(0)
    }
}
