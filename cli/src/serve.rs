//! `breakdown serve`: the roles of one process, from start to drain.

use std::{future::Future, net::SocketAddr, process::ExitCode, sync::Arc};

use axum::Router;
use calendar_mock::CalendarMock;
use eventlog::{Clock, Log};
use gateway::Gateway;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use webhooks::{Projects, Provider, Secrets};

use crate::{
    admin::{self, Health, MovedAt},
    args::{Role, Serve},
    clock::SystemClock,
    commands, config,
    config::{Address, Settings},
    demo,
    error::Failure,
    logs::{self, Access},
    telemetry,
};

/// The secret of `--demo`; the receivers of a demo listen on loopback unless told otherwise.
const DEMO_SECRET: &str = "breakdown demo";

/// Runs the roles until SIGINT or SIGTERM (or, with `--demo --exit`, until the demo is complete), then drains.
pub(crate) async fn serve(mut settings: Settings, args: Serve) -> Result<ExitCode, Failure> {
    telemetry::log_to_stderr(if args.demo { "warn" } else { "info" });
    let stopped = stop_signal()?;
    let metrics = telemetry::record_metrics()?;
    let roles = roles(&settings, &args)?;
    let _demo_dir = if args.demo { prepare_demo(&mut settings)? } else { None };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    // Everything that can be wrong with the configuration is found before anything is opened or bound.
    let ruleset = roles
        .contains(&Role::Gateway)
        .then(|| commands::policy::load(settings.policy.as_deref()).map(Arc::new))
        .transpose()?;
    let receivers = roles.contains(&Role::Webhooks).then(|| receivers(&settings)).transpose()?;
    let chosen_base = settings.calendar_api_base.as_deref().map(parse_base).transpose()?;

    // calendar-mock alone needs no log.
    let log = match roles.iter().any(|role| *role != Role::CalendarMock) {
        true => Some(open_log(&settings).await?),
        false => None,
    };
    let on = if log.is_some() { logs::name(&settings) } else { "none".into() };
    println!("breakdown {}  log: {on}", env!("CARGO_PKG_VERSION"));

    // The calendar stops last: the executor may still be talking to it.
    let mut running = Vec::new();
    let failed = CancellationToken::new();
    let mut mock_address = None;
    if roles.contains(&Role::CalendarMock) {
        let (listener, at) = bind(settings.calendar_listen, "--calendar-listen", args.demo).await?;
        println!("  calendar   http://{at}/api  (calendar-mock: keeps meetings and nudges in memory)");
        mock_address = Some(at);
        let stop = CancellationToken::new();
        let served = calendar_mock::serve(listener, CalendarMock::new(), stop.clone().cancelled_owned());
        running.push(Running::start("calendar-mock", stop, &failed, served));
    }
    let mut moving: Vec<(&'static str, MovedAt)> = Vec::new();
    if let (Some(log), true) = (&log, roles.contains(&Role::Executor)) {
        let base = match (chosen_base, mock_address) {
            (Some(base), _) => base,
            (None, Some(at)) => parse_base(&format!("http://{at}/api"))?,
            (None, None) => {
                return Err(Failure::usage(
                    "the executor has nowhere to act: set CALENDAR_API_BASE, or add calendar-mock to --roles",
                ));
            }
        };
        let config = executor::Config {
            dry_run: args.dry_run,
            give_up_after: settings.give_up_after,
            ..executor::Config::new(base)
        };
        let progress = Arc::new(executor::Progress::default());
        let polled = progress.clone();
        moving.push(("executor", Box::new(move || polled.polled_at())));
        let stop = CancellationToken::new();
        let executor = executor::run(log.clone(), clock.clone(), config, progress, stop.clone());
        running.push(Running::start("executor", stop, &failed, executor));
    }
    let mut view = None;
    if let (Some(log), Some(ruleset)) = (&log, ruleset) {
        let gateway = Gateway::new(log.clone(), clock.clone(), ruleset);
        view = Some(gateway.view());
        let progress = gateway.progress();
        moving.push(("gateway", Box::new(move || progress.moved_at())));
        let stop = CancellationToken::new();
        running.push(Running::start("gateway", stop.clone(), &failed, gateway.run(stop)));
    }
    let health = Arc::new(Health::new(log.clone(), clock.clone(), moving));
    let public = admin::public(health.clone(), metrics);
    let (listener, at) = bind(settings.admin_listen, "--admin-listen", args.demo).await?;
    println!("  admin      http://{at}  (/health, /metrics, /api/projects)");
    let router = public.clone().merge(admin::api(view, settings.admin_token.clone()));
    let stop = CancellationToken::new();
    running.push(Running::start("admin", stop.clone(), &failed, serve_admin(listener, router, stop)));
    let mut origin = None;
    if let (Some(log), Some(config)) = (&log, receivers) {
        let (listener, at) = bind(settings.webhooks_listen, "--webhooks-listen", args.demo).await?;
        println!("  webhooks   http://{at}");
        print_receivers(&config, args.demo);
        origin = Some(format!("http://{}", reachable(at)));
        let stop = CancellationToken::new();
        let server = webhooks::Server::new(config, log.clone(), clock.clone(), public);
        running.push(Running::start("webhooks", stop.clone(), &failed, server.serve(listener, stop)));
    }
    info!(roles = ?roles, "serving");

    let demo = async {
        match (&log, &origin, args.demo) {
            (Some(log), Some(origin), true) => {
                let secrets =
                    Secrets::parse(DEMO_SECRET).map_err(|error| Failure::failed(error.to_string()))?;
                demo::run(&**log, origin, &secrets).await?;
                if args.exit {
                    return Ok(());
                }
                println!("Still serving; stop with Ctrl-C.");
                std::future::pending().await
            }
            _ => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        name = stopped => {
            info!(signal = name, "draining");
            Ok(())
        }
        () = failed.cancelled() => Err(Failure::failed("a role stopped; the log above says why")),
        demo = demo => demo,
    };
    // Nothing new comes in, then what came in is decided, then what was decided is done.
    while let Some(role) = running.pop() {
        role.stop().await;
    }
    result.map(|()| ExitCode::SUCCESS)
}

async fn open_log(settings: &Settings) -> Result<Arc<dyn Log>, Failure> {
    let log = logs::open(settings, Access::Hold).await?;
    log.create_topics(&logs::topics(settings)).await?;
    Ok(log)
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
fn prepare_demo(settings: &mut Settings) -> Result<Option<tempfile::TempDir>, Failure> {
    settings.github_secret = Some(SecretString::from(DEMO_SECRET));
    settings.jira_secret = Some(SecretString::from(DEMO_SECRET));
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
        projects: projects(settings)?,
        ..webhooks::Config::default()
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

fn parse_base(text: &str) -> Result<reqwest::Url, Failure> {
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        Failure::usage("CALENDAR_API_BASE is no http or https URL; write e.g. http://127.0.0.1:7300/api")
    })
}

fn print_receivers(config: &webhooks::Config, demo: bool) {
    for provider in Provider::ALL {
        let (name, path, variable) = (provider.display_name(), provider.path(), provider.secret_variable());
        match config.secrets(provider) {
            Some(_) if demo => println!("    {name:<8} POST {path:<15} signed with the demo's own secret"),
            Some(_) => println!("    {name:<8} POST {path:<15} with the secret in {variable}"),
            None => {
                println!("    {name:<8} not started: set {variable} to the secret that you enter at {name}")
            }
        }
    }
}

/// Binds; where the address is a default that is taken, a demo is content with any free port.
async fn bind(address: Address, flag: &str, demo: bool) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = match TcpListener::bind(address.at).await {
        Err(error) if demo && !address.chosen && error.kind() == std::io::ErrorKind::AddrInUse => {
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
fn reachable(at: SocketAddr) -> SocketAddr {
    match at {
        SocketAddr::V4(at) if at.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], at.port())),
        SocketAddr::V6(at) if at.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, at.port()))
        }
        at => at,
    }
}

async fn serve_admin(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Watches for SIGINT and SIGTERM from now on; the future ends with the first one's name.
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    let watch =
        |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be watched: {error}")));
    let (mut interrupt, mut terminate) = (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

/// A role at work.
struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a role. One that ends before it was told to takes the process with it: a gateway that no longer decides
    /// must not look alive.
    fn start<E: std::fmt::Display>(
        name: &'static str,
        stop: CancellationToken,
        failed: &CancellationToken,
        role: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        let (told, failed) = (stop.clone(), failed.clone().drop_guard());
        let task = tokio::spawn(async move {
            let ended = role.await;
            if let Err(why) = &ended {
                error!(role = name, "stopped: {why}");
            }
            // Otherwise, and when the role panics, dropping the guard says that it failed.
            if ended.is_ok() && told.is_cancelled() {
                failed.disarm();
            }
        });
        Self { name, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Err(panic) = self.task.await {
            error!(role = self.name, "panicked: {panic}");
        }
    }
}
