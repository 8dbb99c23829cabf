//! Receivers, a log and a sweeper, in a time that passes only where somebody waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Keep, Log, Record, TopicSpec};
use events::{IssueEvent, topic};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;

use super::memory_log::MemoryLog;
use crate::{
    Config, Provider, Secrets,
    sweep::{
        SweepConfig, SweepReport, Sweeper,
        wire::{NoAnswer, Wire},
    },
};

pub(super) const SECRET: &str = "s3cret";

/// tokio's time, which the tests pause.
#[derive(Debug)]
pub(super) struct TokioClock {
    began: Instant,
    ahead: Mutex<TimeDelta>,
}

impl TokioClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), ahead: Mutex::default() })
    }

    /// Somebody sets it so much ahead of the time, or right again.
    pub(super) fn is_ahead(&self, by: TimeDelta) {
        *self.ahead.lock().unwrap() = by;
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2026-11-20T10:00:00Z".parse().unwrap();
        start + TimeDelta::from_std(self.began.elapsed()).unwrap() + *self.ahead.lock().unwrap()
    }
}

/// Hands requests to a fake without a network.
struct Direct(Router);

#[async_trait::async_trait]
impl Wire for Direct {
    async fn send(&self, request: Request<Bytes>, most: usize) -> Result<Response<Bytes>, NoAnswer> {
        let answer = self.0.clone().oneshot(request.map(Body::from)).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| NoAnswer::BrokeOff)?.to_bytes();
        if body.len() > most { Err(NoAnswer::TooLong) } else { Ok(Response::from_parts(head, body)) }
    }
}

pub(super) struct World {
    pub(super) clock: Arc<TokioClock>,
    pub(super) log: MemoryLog,
    pub(super) receivers: Router,
    config: SweepConfig,
    provider: Router,
    sweeper: Sweeper,
}

pub(super) fn receivers() -> Config {
    let secrets = Secrets::parse(SECRET).unwrap();
    Config { github: Some(secrets.clone()), jira: Some(secrets), ..Config::default() }
}

impl World {
    pub(super) async fn new(clock: Arc<TokioClock>, config: SweepConfig, provider: Router) -> Self {
        let log = MemoryLog::new(clock.clone());
        let spec = |name: &&str| TopicSpec { name: (*name).to_owned(), partitions: 1, keep: Keep::ALL };
        log.create_topics(&topic::ALL.iter().map(spec).collect::<Vec<_>>()).await.unwrap();
        let receivers = crate::routes(Arc::new(receivers()), Arc::new(log.clone()), clock.clone());
        let sweeper = Self::sweeper(&config, &log, clock.clone(), &provider);
        Self { clock, log, receivers, config, provider, sweeper }
    }

    fn sweeper(config: &SweepConfig, log: &MemoryLog, clock: Arc<TokioClock>, provider: &Router) -> Sweeper {
        let shared: Arc<dyn Log> = Arc::new(log.clone());
        let wire = |_: &str, _: &reqwest::Url| Ok(Arc::new(Direct(provider.clone())) as Arc<dyn Wire>);
        Sweeper::over(config, receivers(), shared.clone().into(), shared, clock, wire).unwrap()
    }

    /// Another process, which knows what is on the log.
    pub(super) fn another(&self) -> Sweeper {
        Self::sweeper(&self.config, &self.log, self.clock.clone(), &self.provider)
    }

    /// From here on what is taken in goes by a spool.
    pub(super) fn spools(&mut self, spool: crate::Spool, provider: &Router) {
        let shared: Arc<dyn Log> = Arc::new(self.log.clone());
        let wire = |_: &str, _: &reqwest::Url| Ok(Arc::new(Direct(provider.clone())) as Arc<dyn Wire>);
        let clock = self.clock.clone();
        self.sweeper = Sweeper::over(&self.config, receivers(), spool.into(), shared, clock, wire).unwrap();
    }

    pub(super) fn restart(&mut self) {
        self.sweeper = self.another();
    }

    /// One round of all sweeps; how the only source then is.
    pub(super) async fn sweep(&mut self) -> SweepReport {
        round(&mut self.sweeper).await
    }

    pub(super) fn reports(&self) -> BTreeMap<String, SweepReport> {
        self.sweeper.reports().all()
    }

    /// Time passes until the next round is due, and it is made.
    pub(super) async fn sweep_later(&mut self) -> SweepReport {
        tokio::time::sleep(self.config.every).await;
        self.sweep().await
    }

    /// A webhook; the status of the answer.
    pub(super) async fn deliver(&self, provider: Provider, event: &str, id: &str, body: &str) -> u16 {
        deliver(&self.receivers, provider, event, id, body).await
    }

    pub(super) fn events(&self) -> Vec<IssueEvent> {
        let event = |record: &Record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        self.log.all(topic::ISSUES).iter().map(event).collect()
    }
}

pub(super) async fn round(sweeper: &mut Sweeper) -> SweepReport {
    for turns in &mut sweeper.providers {
        turns.round().await;
    }
    sweeper.reports().all().into_values().next().unwrap()
}

pub(super) async fn deliver(
    receivers: &Router,
    provider: Provider,
    event: &str,
    id: &str,
    body: &str,
) -> u16 {
    let headers = crate::sign(provider, &Secrets::parse(SECRET).unwrap(), event, id, body.as_bytes());
    let request = Request::post(provider.path());
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = receivers.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    answer.status().as_u16()
}
