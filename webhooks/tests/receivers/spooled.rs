//! Deliveries that are taken while the broker is away.

use std::sync::Arc;

use eventlog::{Log, LogError, ManualClock};
use events::{DeadLetter, IssueEvent, topic};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use webhooks::{Limits, Provider, Spool, SpoolLimits};

use crate::{
    github::opened,
    harness::{MemoryLog, PATIENCE, Receiver, config, start_on},
};

async fn spooling(max_bytes: u64) -> (tempfile::TempDir, Receiver, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(MemoryLog::default());
    log.fail(Some(LogError::Unavailable("down".into())));
    let clock = Arc::new(ManualClock::new("2026-02-02T10:00:00Z".parse().unwrap()));
    let limits = SpoolLimits { max_bytes, slow_after: PATIENCE, ..SpoolLimits::default() };
    let broker: Arc<dyn Log> = log.clone();
    let spool = Spool::open(broker, dir.path(), limits, clock).await.unwrap();
    let server = start_on(config(Limits::default()), log, spool.clone()).await;
    (dir, server, spool)
}

#[tokio::test]
async fn are_answered_202_without_a_place_and_arrive_when_it_is_back() {
    let (_dir, server, spool) = spooling(1 << 20).await;
    let payload = opened().to_string();
    let reply = server.deliver(Provider::Github, "issues", payload.as_bytes()).await;
    let answer = reply.json();
    assert_eq!(reply.status, 202);
    let event_id = answer["event_id"].clone();
    assert_eq!(answer, json!({"event_id": event_id, "topic": "issues", "spooled": true}));
    let unreadable = server.deliver(Provider::Github, "issues", b"unreadable").await;
    assert_eq!(unreadable.refused(400), "unreadable", "kept as a dead letter, there too");
    assert_eq!((server.log.len(), spool.report().records), (0, 2));

    server.log.fail(None);
    let stop = CancellationToken::new();
    let forward = tokio::spawn(spool.clone().forward(stop.clone()));
    let direct = async {
        while spool.report().spooling {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, direct).await.unwrap();
    let event: IssueEvent = server.log.events().pop().unwrap();
    assert_eq!(event_id, event.event_id);
    let letter: DeadLetter = server.log.dead_letters().pop().unwrap();
    assert_eq!(letter.reason, "unreadable");
    let headers = &server.log.records(topic::ISSUES)[0].headers;
    assert!(headers.iter().all(|(name, _)| !name.starts_with("spool")), "{headers:?}");
    let again = server.deliver(Provider::Github, "issues", payload.as_bytes()).await.json();
    assert_eq!(again, json!({"event_id": event_id, "topic": "issues", "partition": 3, "offset": 2}));
    stop.cancel();
    forward.await.unwrap().unwrap();
}

#[tokio::test]
async fn are_answered_503_when_the_spool_is_full() {
    let (_dir, server, _spool) = spooling(100).await;
    let reply = server.deliver(Provider::Github, "issues", opened().to_string().as_bytes()).await;
    assert_eq!(reply.refused(503), "unavailable");
    assert!(reply.header("retry-after").is_some());
}
