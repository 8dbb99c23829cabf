//! Catching up on what never arrived.
//!
//! ```text
//!  every so often, and at the start:
//!
//!   cursor (topic `sweeps`) ─► list what happened since ─► what of it is on the log? ─► admit the rest ─► cursor
//!                              github.rs, jira.rs           cursor.rs                    ../admission.rs
//! ```
//!
//! What holds:
//! - **The log decides** what has arrived, not what the provider believes of it: it is read after the list was, so what arrives
//!   meanwhile is there. What is taken in nevertheless, because it is in flight or stands in another receiver's spool, has the
//!   id that it would have had, and counts once.
//! - **The cursor is written after** what was found is durable. A crash in between finds it again, on the log.
//! - **Nobody is elected.** Each receiver sweeps at its start, and then whenever nobody else has for a while; two at once do no
//!   harm, but requests.
//! - **Receiving comes first.** A sweep takes one request's memory and no place of a receiver's; what goes wrong with it is told in
//!   the log (once), in `/health` and metrics, and makes nobody unready. While deliveries wait in this receiver's spool it rests.
//!
//! Metrics (`metrics` facade):
//!
//! | name | labels | meaning |
//! |---|---|---|
//! | `breakdown_sweeps_total` | `provider`, `result` | `done`, `refused` (somebody has to do something), `away` |
//! | `breakdown_swept_deliveries_total` | `provider`, `result` | `known` to the log, `taken` in, `ignored`, `unreadable` (GitHub: a dead letter), `redelivered` (asked for again), `gone`, `lost`, `unserved` (GitHub failed at this one) |
//! | `breakdown_sweep_seconds` | `provider` | how long a sweep took, waits included |
//! | `breakdown_sweep_waits_total` | `provider` | how often a limit of requests was waited for |
//! | `breakdown_swept_at_timestamp_seconds` | `source` | when it was last swept whole |

mod api;
mod app_key;
mod config;
mod cursor;
mod github;
mod jira;
mod report;
#[cfg(test)]
mod tests;
mod wire;

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use eventlog::{Clock, Log, LogError};
use reqwest::Url;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::{
    api::{Api, Login},
    cursor::Cursor,
    github::Hook,
    jira::Site,
    wire::{Http, Wire},
};
pub use self::{
    app_key::AppKey,
    config::{GithubHook, GithubSweep, JiraSweep, SweepConfig, SweepError},
    report::{SweepReport, SweepReports},
};
use crate::{
    Config, Journal, Provider,
    admission::{Admission, Unconfirmed},
};

/// How soon a sweep that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest answer of Jira that is read, in bytes: a page of issues.
const JIRA_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// What all sweeps work with.
struct World {
    log: Arc<dyn Log>,
    admission: Admission,
    clock: Arc<dyn Clock>,
}

impl World {
    /// Fails while deliveries wait to get onto the log, which then does not tell what has arrived.
    async fn settled(&self) -> Result<(), Trouble> {
        match &self.admission.journal {
            Journal::Spool(spool) if spool.report().spooling => Err(Trouble::Away(
                "deliveries wait in the spool: what has not arrived is looked for when they are on the log"
                    .into(),
            )),
            _ => Ok(()),
        }
    }
}

/// Something that is swept.
#[async_trait]
trait Source: Send + Sync {
    /// What a person calls it.
    fn name(&self) -> &str;

    /// What its cursor stands under.
    fn cursor_name(&self) -> String;

    /// Takes in what is missing since `cursor`, and moves it. It is written by whoever asks, where this has not failed.
    async fn sweep(&mut self, world: &World, cursor: &mut Cursor) -> Result<(), Trouble>;
}

/// Why a sweep was not done. Nothing of an answer is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    /// Somebody has to do something about it.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Away(String),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Self::Away(format!("a sweep cannot read or write the log: {error}"))
    }
}

impl From<Unconfirmed> for Trouble {
    fn from(error: Unconfirmed) -> Self {
        Self::Away(format!("a sweep could not take in what it found: {error}"))
    }
}

/// Sweeps for what never arrived.
pub struct Sweeper {
    providers: Vec<Turns>,
    reports: SweepReports,
}

impl Sweeper {
    /// A sweeper that admits what it finds as the receivers of `receivers` would, to `journal`; `log` has what arrived.
    ///
    /// # Errors
    /// What of `config` cannot be: the key, and what to do.
    pub fn new(
        config: &SweepConfig,
        receivers: Config,
        journal: impl Into<Journal>,
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SweepError> {
        let http = |key: &str, base: &Url| Ok(Arc::new(Http::new(key, base)?) as Arc<dyn Wire>);
        Self::over(config, receivers, journal.into(), log, clock, http)
    }

    fn over(
        config: &SweepConfig,
        receivers: Config,
        journal: Journal,
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        wire: impl Fn(&str, &Url) -> Result<Arc<dyn Wire>, SweepError>,
    ) -> Result<Self, SweepError> {
        let mut providers: Vec<(Provider, Vec<Box<dyn Source>>)> = Vec::new();
        if let Some(github) = &config.github {
            // An answer has the payload, and around it what was answered.
            let most = 2 * receivers.limits.body_bytes;
            let key = "github.api_base";
            let api = |login| {
                let wire = wire(key, &github.api_base)?;
                let api =
                    Api::new(Provider::Github, key, &github.api_base, login, most, wire, clock.clone())?;
                Ok::<_, SweepError>(Arc::new(api))
            };
            let by_token = github.token.clone().map(|token| api(Login::Bearer(token))).transpose()?;
            let by_app = github.app.clone().map(|app| api(Login::App(app))).transpose()?;
            let hooks = github.hooks.iter().map(|hook| {
                let (api, needs) = match hook {
                    GithubHook::App => (&by_app, "app_id and private_key_file"),
                    _ => (&by_token, "a token (GITHUB_TOKEN)"),
                };
                let api =
                    api.clone().ok_or_else(|| SweepError(format!("github.hooks: {hook} needs {needs}")))?;
                Ok::<_, SweepError>(Box::new(Hook::new(api, hook)) as Box<dyn Source>)
            });
            providers.push((Provider::Github, hooks.collect::<Result<_, _>>()?));
        }
        if let Some(jira) = &config.jira {
            let key = "jira.api_base";
            let login = match &jira.email {
                Some(email) => Login::Basic { email: email.clone(), token: jira.token.clone() },
                None => Login::Bearer(jira.token.clone()),
            };
            let wire = wire(key, &jira.api_base)?;
            let api =
                Api::new(Provider::Jira, key, &jira.api_base, login, JIRA_ANSWER_BYTES, wire, clock.clone())?;
            providers.push((Provider::Jira, vec![Box::new(Site::new(Arc::new(api), jira))]));
        }
        let admission = Admission::new(Arc::new(receivers), journal, clock.clone());
        let world = Arc::new(World { log, admission, clock });
        let reports = SweepReports::default();
        let turns = providers.into_iter().map(|(provider, sources)| Turns {
            world: world.clone(),
            every: config.every,
            provider,
            sources: sources.into_iter().map(|source| (source, true)).collect(),
            reports: reports.clone(),
        });
        Ok(Self { providers: turns.collect(), reports })
    }

    /// How the sweeps are, also from here on.
    pub fn reports(&self) -> SweepReports {
        self.reports.clone()
    }

    /// Sweeps until told to stop. What is under way then is left: the next sweep finds it.
    ///
    /// # Errors
    /// None: what goes wrong is told, and tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut providers: JoinSet<()> = self.providers.into_iter().map(Turns::run).collect();
        let ended = async {
            while let Some(ended) = providers.join_next().await {
                // None ends by itself. What is wrong with a sweep is no reason to take down the receivers.
                tracing::error!(
                    ?ended,
                    "sweeps have ended: what never arrives is not looked for until the next start"
                );
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended => {}
        }
        providers.shutdown().await;
        Ok(())
    }
}

/// One provider's sweeps, one after the other: it is not to be asked two things at once.
struct Turns {
    world: Arc<World>,
    every: Duration,
    provider: Provider,
    /// What is swept, and whether that was not done since the start.
    sources: Vec<(Box<dyn Source>, bool)>,
    reports: SweepReports,
}

impl Turns {
    async fn run(mut self) {
        loop {
            let pause = self.round().await;
            sleep(pause).await;
        }
    }

    /// Gives each source a turn; how long to wait for the next round.
    async fn round(&mut self) -> Duration {
        let mut pause = self.every;
        for (mut source, at_start) in std::mem::take(&mut self.sources) {
            let swept = self.turn(&mut *source, at_start).await;
            if let Err(Trouble::Away(_)) = swept {
                pause = pause.min(RETRY_AFTER);
            }
            self.sources.push((source, at_start && swept.is_err()));
        }
        pause
    }

    /// Sweeps one source, unless somebody just has, and tells how it went.
    async fn turn(&self, source: &mut dyn Source, at_start: bool) -> Result<(), Trouble> {
        let began = Instant::now();
        let swept = self.sweep(source, at_start).await;
        let (name, now) = (source.name(), self.world.clock.now());
        let told = swept.as_ref().map_err(ToString::to_string);
        let news = self.reports.put(name, told.as_ref().map(|at| **at).map_err(String::as_str), now);
        let result = match &swept {
            Ok(at) => {
                if news {
                    tracing::info!(source = name, "what never arrived is looked for again");
                }
                metrics::gauge!("breakdown_swept_at_timestamp_seconds", "source" => name.to_owned())
                    .set(at.timestamp() as f64);
                "done"
            }
            Err(trouble) => {
                if news {
                    tracing::warn!("what never arrived cannot be looked for: {trouble}");
                }
                if matches!(trouble, Trouble::Refused(_)) { "refused" } else { "away" }
            }
        };
        let provider = self.provider.as_str();
        metrics::counter!("breakdown_sweeps_total", "provider" => provider, "result" => result).increment(1);
        metrics::histogram!("breakdown_sweep_seconds", "provider" => provider)
            .record(began.elapsed().as_secs_f64());
        swept.map(drop)
    }

    /// When it was swept.
    async fn sweep(&self, source: &mut dyn Source, at_start: bool) -> Result<DateTime<Utc>, Trouble> {
        let World { log, clock, .. } = &*self.world;
        let name = source.cursor_name();
        let mut cursor = Cursor::load(&**log, &name, clock.now()).await?.unwrap_or_default();
        if !at_start && cursor.is_fresh(clock.now(), self.every) {
            return Ok(cursor.swept_at);
        }
        source.sweep(&self.world, &mut cursor).await?;
        cursor.swept_at = clock.now();
        cursor.save(&**log, &name, cursor.swept_at).await?;
        Ok(cursor.swept_at)
    }
}
