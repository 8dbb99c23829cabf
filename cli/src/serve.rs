//! `breakdown serve`: the roles of one process, from start to drain.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use calendar_mock::CalendarMock;
use eventlog::{Clock, Log};
use events::topic;
use executor::{Mode, Route};
use gateway::Gateway;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tracing::{info, warn};
use webhooks::{Journal, Projects, Provider, Secrets, Spool, SpoolLimits, Sweeper};

use crate::{
    admin,
    args::{Role, Serve},
    clock::SystemClock,
    commands::{inert, targets::announced},
    config,
    config::{Address, Settings},
    demo,
    error::Failure,
    health::{self, Health},
    live::Live,
    logs,
    preparation::{Preparation, once_made},
    retention,
    running::{Running, Signals},
    telemetry,
};

/// Runs the roles until SIGINT or SIGTERM (or, with `--demo --exit`, until the demo is complete), then drains.
pub(crate) async fn serve(mut settings: Settings, args: Serve) -> Result<ExitCode, Failure> {
    telemetry::log_to_stderr(if args.demo { "warn" } else { "info" });
    let mut signals = Signals::watch()?;
    let metrics = telemetry::record_metrics()?;
    let roles = roles(&settings, &args)?;
    let has = |role| roles.contains(&role);
    let demo_secret = args.demo.then(|| uuid::Uuid::new_v4().to_string());
    let _demo_dir = match &demo_secret {
        Some(secret) => prepare_demo(&mut settings, secret)?,
        None => None,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    // All that can be wrong is found before anything runs: configuration, log, addresses.
    let live = has(Role::Gateway).then(|| Live::load(&settings, clock.clone())).transpose()?;
    let receivers = has(Role::Webhooks).then(|| receivers(&settings)).transpose()?;
    let chosen_base = settings.calendar_api_base.as_deref().map(parse_base).transpose()?;
    // calendar-mock alone needs no log.
    let log = match roles.iter().any(|role| *role != Role::CalendarMock) {
        true => Some(logs::hold(&settings).await?),
        false => None,
    };
    let (log, embedded) = log.map_or((None, None), |(log, embedded)| (Some(log), embedded));
    let spool = match (&log, has(Role::Webhooks)) {
        (Some(log), true) => open_spool(&settings, log, &clock).await?,
        _ => None,
    };
    let preparation = match &log {
        Some(log) => Some(Preparation::begin(log.clone(), logs::topics(&settings), spool.is_some()).await?),
        None => None,
    };
    let bind = |address, flag| bind(address, flag, args.demo);
    let calendar = match has(Role::CalendarMock) {
        true => Some(bind(settings.calendar_listen, "--calendar-listen").await?),
        false => None,
    };
    let admin = bind(settings.admin_listen, "--admin-listen").await?;
    let receivers = match receivers {
        Some(config) => Some((config, bind(settings.webhooks_listen, "--webhooks-listen").await?)),
        None => None,
    };
    let base = match (chosen_base, &calendar) {
        (Some(base), _) => Some(base),
        (None, Some((_, at))) => Some(parse_base(&format!("http://{}/api", reachable(*at)))?),
        (None, None) => None,
    };

    let on = if log.is_some() { logs::name(&settings) } else { "none".into() };
    say!("breakdown {}  log: {on}", env!("CARGO_PKG_VERSION"));
    if args.dry_run {
        say!("  dry run    actions are decided and recorded, and nothing outside is touched");
    }
    live.iter().for_each(Live::print);
    live.iter().for_each(|live| live.warn_of_unfound(&settings));
    let gateway = match (&log, &live) {
        (Some(log), Some(live)) => Some(Gateway::following(log.clone(), clock.clone(), live.policies())),
        _ => None,
    };
    let executor = match (&log, has(Role::Executor), base) {
        (Some(log), true, Some(base)) => {
            let config = executor_config(&settings, args.dry_run, base)?;
            let targets = executor::open(&settings.targets, &config, &variable, &clock);
            let targets = targets.map_err(|error| Failure::usage(error.to_string()))?;
            announced(&targets, &settings).iter().for_each(|line| say!("  target     {line}"));
            Some((log.clone(), config, targets))
        }
        (_, true, None) => {
            return Err(Failure::usage(
                "the executor has nowhere to act: set CALENDAR_API_BASE, or add calendar-mock to --roles",
            ));
        }
        _ => None,
    };

    // Started last to first, and stopped first to last: nothing new comes in; what is not decided yet stays on the
    // log; attempts under way end; the calendar hears them out; health answers to the end.
    let mut running = Running::default();
    let moved = Arc::new(executor::Progress::default());
    let mut consuming = Vec::new();
    if executor.is_some() {
        consuming.push(health::Role::new(
            "executor",
            executor::GROUP,
            &[topic::ACTIONS, topic::CONTROL],
            moved.clone(),
        ));
    }
    if let Some(progress) = gateway.as_ref().map(Gateway::progress) {
        let inputs = &[topic::ISSUES, topic::OUTCOMES];
        consuming.push(health::Role::new("gateway", gateway::GROUP, inputs, progress));
    }
    let consuming = Arc::new(consuming);
    let health = Arc::new(Health::new(log.clone(), clock.clone(), consuming.clone(), spool.clone()));
    let policies = live.as_ref().zip(gateway.as_ref()).map(|(live, gateway)| live.detail(gateway.in_force()));
    let reload = live.as_ref().and_then(Live::reload);
    // Whoever sends deliveries here wants to know whether they are taken, however the other roles are.
    let receiving = Arc::new(Health::new(log.clone(), clock.clone(), Arc::default(), spool.clone()));
    let journal = log.clone().map(|log| spool.clone().map_or_else(|| Journal::from(log), Journal::from));
    let sweeper = match (&log, &journal, &receivers, &settings.sweeps) {
        (Some(log), Some(journal), Some((config, _)), Some(sweeps)) => {
            let sweeper =
                Sweeper::new(&sweeps.config()?, config.clone(), journal.clone(), log.clone(), clock.clone());
            Some(sweeper.map_err(|error| Failure::usage(error.to_string()))?)
        }
        _ => None,
    };
    let swept = sweeper.as_ref().map(Sweeper::reports);
    let public = admin::public(receiving, metrics.clone(), None, None);
    let (listener, at) = admin;
    say!("  admin      http://{at}  (/health, /metrics, /api/projects)");
    let view = gateway.as_ref().map(Gateway::view);
    let router = admin::listener(
        admin::public(health, metrics, policies, swept),
        view,
        log.clone(),
        settings.admin_token.clone(),
    );
    let server = webhooks::Server::plain("admin", router, admin::limits());
    running.start("admin", |stop| server.serve(listener, stop));
    let made = preparation.as_ref().map(Preparation::made);
    if let Some(preparation) = preparation {
        running.start("topics", |stop| preparation.run(stop));
    }
    if let Some(log) = log.as_ref().filter(|_| !consuming.is_empty()) {
        running.start("lag", |stop| health::lag::watch(log.clone(), clock.clone(), consuming, stop));
    }
    if let Some(embedded) = embedded {
        running.start("retention", |stop| retention::tidy(embedded, stop));
    }
    if let Some(base) = settings.calendar_api_base.as_ref().filter(|_| has(Role::Executor)) {
        say!("  calendar   {base}  (CALENDAR_API_BASE: meetings and messages go there)");
    }
    if let Some((listener, at)) = calendar {
        say!("  calendar   http://{at}/api  (calendar-mock: keeps meetings and nudges in memory)");
        let mock = CalendarMock::new();
        running.start("calendar-mock", |stop| calendar_mock::serve(listener, mock, stop.cancelled_owned()));
    }
    if let (Some((log, config, targets)), Some(made)) = (executor, made.clone()) {
        let clock = clock.clone();
        running.start("executor", |stop| {
            once_made(made, stop.clone(), executor::run_with(log, clock, config, targets, moved, stop))
        });
    }
    if let (Some(live), Some(_)) = (live, &reload) {
        running.start("policy watcher", |stop| live.run(stop));
    }
    if let (Some(gateway), Some(made)) = (gateway, made.clone()) {
        running.start("gateway", |stop| once_made(made, stop.clone(), gateway.run(stop)));
    }
    if let Some(spool) = spool.clone() {
        running.start("spool", |stop| spool.forward(stop));
    }
    let mut origin = None;
    if let (Some(journal), Some((config, (listener, at)))) = (journal, receivers) {
        say!("  webhooks   http://{at}");
        print_receivers(&config, args.demo);
        origin = Some(format!("http://{}", reachable(at)));
        let server = webhooks::Server::new(config, journal, clock.clone(), public);
        running.start("webhooks", |stop| server.serve(listener, stop));
    }
    if roles.contains(&Role::Webhooks) {
        settings.unswept.iter().for_each(|unswept| warn!("{unswept}"));
        warn_of_unknown_accounts(&settings);
    }
    if let (Some(sweeper), Some(made), Some(sweeps)) = (sweeper, made, &settings.sweeps) {
        say!("  sweeps     {}", sweeps.told());
        running.start("sweeps", |stop| once_made(made, stop.clone(), sweeper.run(stop)));
    }
    info!(roles = ?roles, "serving");

    let demo = async {
        let (Some(log), Some(origin), Some(secret)) = (&log, &origin, &demo_secret) else {
            return std::future::pending().await;
        };
        let secrets = Secrets::parse(secret).map_err(|error| Failure::failed(error.to_string()))?;
        demo::run(&**log, origin, &secrets).await?;
        if !args.exit {
            if settings.redpanda.is_none() {
                let dir = inert(&settings.data_dir.display().to_string());
                say!("Look closer: breakdown --data-dir {dir} issue github:acme/checkout#101");
            }
            say!("Still serving; stop with Ctrl-C.");
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let result = tokio::select! {
        name = signals.next(reload.as_deref()) => {
            info!(signal = name, "draining");
            Ok(())
        }
        () = running.failed() => Err(Failure::failed("a role stopped; the log above says why")),
        demo = demo => demo,
    };
    tokio::select! {
        () = running.stop() => result.map(|()| ExitCode::SUCCESS),
        name = signals.next(reload.as_deref()) => Err(Failure::failed(format!("{name} a second time: stopped without draining"))),
    }
}

/// The executor's configuration, with the calendar and notification API at `base`.
pub(crate) fn executor_config(
    settings: &Settings,
    dry_run: bool,
    base: reqwest::Url,
) -> Result<executor::Config, Failure> {
    // Not the text itself: a proxy's address may have a password in it.
    let proxy = settings.proxy.as_ref().map(|text| {
        reqwest::Url::parse(text.expose_secret())
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host())
            .ok_or_else(|| {
                Failure::usage(
                    "executor.proxy is no address of a proxy; write e.g. http://proxy.example.com:3128",
                )
            })
    });
    Ok(executor::Config {
        dry_run,
        give_up_after: settings.give_up_after,
        calendar_allow_private: settings.calendar_allow_private || settings.calendar_api_base.is_none(),
        proxy: proxy.transpose()?,
        routes: settings.routes.clone(),
        own_limits: settings
            .targets
            .iter()
            .map(|(name, target)| (name.clone(), target.limits().clone()))
            .collect(),
        ..executor::Config::new(base)
    })
}

/// A variable of the environment that names something; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The receivers' spool, where there is a broker that can be away.
async fn open_spool(
    settings: &Settings,
    log: &Arc<dyn Log>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Spool>, Failure> {
    let max_bytes = settings.spool_max_bytes;
    if settings.redpanda.is_none() || max_bytes == 0 {
        return Ok(None);
    }
    let limits = SpoolLimits { max_bytes, ..SpoolLimits::default() };
    Ok(Some(Spool::open(log.clone(), &settings.data_dir, limits, clock.clone()).await?))
}

fn roles(settings: &Settings, args: &Serve) -> Result<Vec<Role>, Failure> {
    let mut roles = args.roles.clone();
    if roles.is_empty() {
        roles = vec![Role::Webhooks, Role::Gateway, Role::Executor];
        if settings.calendar_api_base.is_none() {
            roles.push(Role::CalendarMock);
        }
    }
    if args.demo && ![Role::Webhooks, Role::Gateway, Role::Executor].iter().all(|role| roles.contains(role)) {
        return Err(Failure::usage("--demo needs the roles webhooks, gateway and executor in this process"));
    }
    Ok(roles)
}

/// A demo has secrets of its own and, unless one is named, a data directory that goes away with it.
fn prepare_demo(settings: &mut Settings, secret: &str) -> Result<Option<tempfile::TempDir>, Failure> {
    settings.github_secret = Some(SecretString::from(secret));
    settings.jira_secret = Some(SecretString::from(secret));
    settings.pagerduty_secret = Some(SecretString::from(secret));
    settings.sweeps = None;
    settings.unswept.clear();
    if settings.data_dir_chosen || settings.redpanda.is_some() {
        return Ok(None);
    }
    let dir = tempfile::Builder::new()
        .prefix("breakdown-demo-")
        .tempdir()
        .map_err(|error| Failure::failed(format!("no temporary directory for the demo: {error}")))?;
    settings.data_dir = dir.path().to_owned();
    Ok(Some(dir))
}

fn receivers(settings: &Settings) -> Result<webhooks::Config, Failure> {
    let secrets = |provider: Provider, list: &Option<SecretString>| {
        let parse = |list: &SecretString| {
            Secrets::parse(list.expose_secret())
                .map_err(|error| Failure::usage(format!("{}: {error}", provider.secret_variable())))
        };
        list.as_ref().map(parse).transpose()
    };
    let config = webhooks::Config {
        github: secrets(Provider::Github, &settings.github_secret)?,
        jira: secrets(Provider::Jira, &settings.jira_secret)?,
        pagerduty: secrets(Provider::Pagerduty, &settings.pagerduty_secret)?,
        senders: settings.senders.clone(),
        ..reading(settings)?
    };
    if Provider::ALL.iter().all(|provider| config.secrets(*provider).is_none()) {
        let names = Provider::ALL.map(Provider::secret_variable).join(" or ");
        return Err(Failure::usage(format!(
            "no webhook could be verified: set {names} to the secret that you enter at the provider (try: serve --demo), \
             or leave webhooks out of --roles"
        )));
    }
    Ok(config)
}

/// What a delivery is read with: without secrets, so that nothing is received.
pub(crate) fn reading(settings: &Settings) -> Result<webhooks::Config, Failure> {
    Ok(webhooks::Config {
        projects: projects(settings)?,
        accounts: settings.accounts.clone(),
        answers: settings.answers.clone(),
        ..webhooks::Config::default()
    })
}

/// Says for whose webhooks it is not known that we did what they tell of, though we do things there.
fn warn_of_unknown_accounts(settings: &Settings) {
    for provider in [Provider::Github, Provider::Jira] {
        let acts = |name: &String| {
            settings.targets.get(name).is_some_and(|target| target.kind() == provider.as_str())
        };
        let live = |route: &&Route| route.mode == Mode::Live && route.targets.iter().any(acts);
        if settings.routes.iter().any(|route| live(&route)) && !settings.accounts.are_known(provider) {
            warn!(
                "what we do at {0} comes back as if somebody else had done it, and rules may answer it: set accounts.{provider} to \
                 the account that the {0} target acts as",
                provider.display_name()
            );
        }
    }
}

/// Which project what belongs to, by the configuration.
fn projects(settings: &Settings) -> Result<Projects, Failure> {
    let mut projects = Projects::new(settings.project_id.as_str());
    for (id, config::Project { repositories, jira, time_zone }) in &settings.projects {
        for repository in repositories {
            if repository.split('/').filter(|part| !part.is_empty()).count() != 2 {
                return Err(Failure::usage(format!(
                    "projects.{id}: {repository:?} is no repository; write owner/repo"
                )));
            }
            if let Some(other) = projects.map_repository(repository, id.as_str()) {
                return Err(Failure::usage(format!(
                    "repository {repository:?} belongs to {other} and to {id}: choose one"
                )));
            }
        }
        for key in jira {
            if let Some(other) = projects.map_jira(key, id.as_str()) {
                return Err(Failure::usage(format!(
                    "Jira key {key:?} belongs to {other} and to {id}: choose one"
                )));
            }
        }
        if let Some(zone) = time_zone {
            let zone = zone.parse().map_err(|_| {
                Failure::usage(format!(
                    "projects.{id}: {zone:?} is no time zone; write an IANA name such as Europe/Berlin"
                ))
            })?;
            projects.set_time_zone(id.as_str(), zone);
        }
    }
    Ok(projects)
}

pub(crate) fn parse_base(text: &str) -> Result<reqwest::Url, Failure> {
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        Failure::usage("CALENDAR_API_BASE is no http or https URL; write e.g. http://127.0.0.1:7300/api")
    })?;
    // A URL is no place for a secret: it is shown wherever a call fails.
    match (url.username(), url.password()) {
        ("", None) => Ok(url),
        _ => Err(Failure::usage(
            "CALENDAR_API_BASE names a user or a password: leave them out, they are not sent",
        )),
    }
}

fn print_receivers(config: &webhooks::Config, demo: bool) {
    for provider in Provider::ALL {
        let (name, path, variable) = (provider.display_name(), provider.path(), provider.secret_variable());
        match config.secrets(provider) {
            Some(_) if demo => say!("    {name:<9} POST {path:<20} with a secret of this demo only"),
            Some(_) => say!("    {name:<9} POST {path:<20} with the secret in {variable}"),
            None => {
                say!("    {name:<9} not started: set {variable} to the secret that you enter at {name}")
            }
        }
    }
}

/// Binds; where the address is a default that is taken, a demo is content with any free port.
async fn bind(address: Address, flag: &str, demo: bool) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = match TcpListener::bind(address.at).await {
        Err(error) if demo && !address.chosen && error.kind() == std::io::ErrorKind::AddrInUse => {
            say!("{} is taken: {flag} gets a free port instead", address.at);
            TcpListener::bind((address.at.ip(), 0)).await
        }
        other => other,
    };
    let listener = bound.map_err(|error| {
        Failure::usage(format!(
            "cannot listen on {}: {error}; choose another address with {flag}",
            address.at
        ))
    })?;
    let at = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("the address bound by {flag} is not known: {error}")))?;
    Ok((listener, at))
}

/// The address by which this process reaches its own listener.
pub(crate) fn reachable(at: SocketAddr) -> SocketAddr {
    match at {
        SocketAddr::V4(at) if at.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], at.port())),
        SocketAddr::V6(at) if at.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, at.port()))
        }
        at => at,
    }
}
