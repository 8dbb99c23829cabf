//! Every answer is counted.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventlog::LogError;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use webhooks::{Limits, Provider};

use crate::{github::opened, harness::*};

/// Counters by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }

    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn every_answer_is_counted_by_provider_status_and_reason() {
    let counters = Counters::default();
    // The recorder is this thread's, and so is the whole server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&counters, || runtime.block_on(conversation()));
    for (labels, expected) in [
        ("provider=github,status=202,reason=accepted", 2),
        ("provider=github,status=200,reason=ping", 1),
        ("provider=github,status=401,reason=signature_missing", 1),
        ("provider=github,status=401,reason=signature_wrong", 1),
        ("provider=github,status=429,reason=too_many_failures", 1),
        ("provider=github,status=415,reason=content_type", 1),
        ("provider=github,status=413,reason=too_large", 1),
        ("provider=github,status=400,reason=ambiguous_length", 1),
        ("provider=github,status=0,reason=slow_body", 1),
        ("provider=github,status=405,reason=method_not_allowed", 1),
        ("provider=github,status=503,reason=unavailable", 1),
        ("provider=jira,status=400,reason=unreadable", 1),
        ("provider=none,status=404,reason=not_found", 1),
    ] {
        assert_eq!(counters.get(&format!("breakdown_deliveries_total{{{labels}}}")), expected, "{labels}");
    }
    assert_eq!(counters.get("breakdown_connections_cut_total{listener=webhooks,reason=slow_head}"), 1);
    assert_eq!(counters.get("breakdown_connections_cut_total{listener=webhooks,reason=slow_reader}"), 1);
    assert_eq!(counters.get("breakdown_connections_cut_total{listener=webhooks,reason=not_http}"), 1);
    assert_eq!(f64::from_bits(counters.get("breakdown_connections{listener=webhooks}")), 0.0);
}

async fn conversation() {
    let limits = Limits {
        failures_per_peer: NonZeroU32::new(2).unwrap(),
        body_timeout: Duration::from_millis(100),
        head_timeout: Duration::from_millis(200),
        answer_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = start_with(config(limits)).await;
    let payload = opened().to_string();
    let body = payload.as_bytes();
    let good = signed(Provider::Github, "issues", body);
    server.deliver(Provider::Github, "issues", body).await;
    server.deliver(Provider::Github, "issues", body).await;
    server.deliver(Provider::Github, "ping", body).await;
    server.deliver(Provider::Jira, "", body).await;
    server.post("/github/issues", &with(&good, "x-hub-signature-256", None), body).await;
    server.post("/github/issues", &good, b"{}").await;
    server.post("/github/issues", &good, b"{}").await;
    server.post("/github/issues", &with(&good, "content-type", None), body).await;
    server.post("/elsewhere", &good, body).await;
    Client::connect(server.address).await.send("PUT", "/github/issues", &good, b"").await;
    for (name, value) in
        [("content-length", "99999999"), ("transfer-encoding", "chunked"), ("content-length", "9")]
    {
        let mut client = Client::connect(server.address).await;
        let mut headers = with(&good, name, Some(value));
        if name == "transfer-encoding" {
            headers.push(("content-length".into(), "1".into()));
        }
        client.write(&head("POST", "/github/issues", &headers)).await;
        client.reply().await;
    }
    for bytes in [b"POST /gith".as_slice(), b"\x00\x01\r\n\r\n"] {
        let mut client = Client::connect(server.address).await;
        client.write(bytes).await;
        client.reply().await;
    }
    let mut deaf = Client::connect(server.address).await;
    deaf.write(&head("GET", "/large", &[])).await;
    server.log.fail(Some(LogError::Unavailable("down".into())));
    server.deliver(Provider::Github, "issues", body).await;
    server.shutdown.cancel();
    // Draining waits for the one that does not read.
    server.served.await.unwrap().unwrap();
    drop(deaf);
}
