//! `breakdown targets check`: the targets, opened as `serve` opens them, and each asked who we are there. All at once: one that hangs
//! takes its own time only.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use clap::Args;
use eventlog::Clock;
use executor::{Opened, Target};
use futures::future::join_all;

use super::shown::Shown;
use crate::{
    clock::SystemClock,
    commands::inert,
    config::{DEFAULT_FILE, Settings},
    error::Failure,
    serve,
};

/// What stands in for the API while no other address is set; nothing is sent there.
const NOWHERE: &str = "http://127.0.0.1:9/api";
/// The kind of its two targets.
const OF_API: &str = "calendar-api";

#[derive(Debug, Args)]
#[command(after_long_help = "\
Each [targets.NAME] of the configuration is opened as `serve` does it, with its credentials; its host is resolved, and it is asked who we are
there and what we may do, through the same client with the same limits. Nothing is changed, and nothing of a credential is shown. Where
an API has no such call (an incoming webhook, a routing key of PagerDuty, a webhook) only its address is looked at, and that is said.
Whatever is wrong is told in one run: of a target that cannot be opened each of its faults, and the others are asked all the same.

Exit code: 0 when all of them hold; 1 when one does not, or none is configured (calendar-mock, within `serve`, then stands in for them); 2 when
the configuration cannot be served: a credential that is missing or of an impossible form, a route whose action there is not, or to a target that
does not carry it.

--json prints one object a target:
  {\"target\", \"kind\", \"ok\", \"actions\": [KIND], \"at\": {\"host\", \"proxied\", \"addresses\": [{\"address\", \"refused\"}], \"unresolved\"},
   \"who\", \"may\": [TEXT], \"missing\": [TEXT], \"notes\": [TEXT], \"error\", \"faults\": [TEXT]}
  who and error may be null; at is null for what runs within `serve`, and for what cannot be opened; missing says what the actions need that we
  may not do; faults, what keeps `serve` from starting. target and kind are null for the faults of the routes, and where no target is
  configured.")]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Check, settings: &Settings) -> Result<ExitCode, Failure> {
    let elsewhere = settings.calendar_api_base.as_deref();
    if elsewhere.is_none() && settings.targets.is_empty() && settings.routes.is_empty() {
        none(args, settings);
        return Ok(ExitCode::from(1));
    }
    let (base, wrong) = match serve::parse_base(elsewhere.unwrap_or(NOWHERE)) {
        Ok(base) => (base, None),
        Err(wrong) => (serve::parse_base(NOWHERE)?, Some(wrong.to_string())),
    };
    let config = serve::executor_config(settings, false, base)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Opened { mut targets, faults } =
        executor::open_each(&settings.targets, &config, &serve::variable, &clock);
    let mut faulty: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    faults.into_iter().for_each(|fault| faulty.entry(fault.target).or_default().push(fault.what));
    let kind = |name: &str| settings.targets.get(name).map_or(OF_API, |said| said.kind());
    if let Some(wrong) = wrong {
        let of_api = targets.extract_if(.., |target| kind(target.name()) == OF_API);
        faulty.extend(of_api.map(|target| (Some(target.name().to_owned()), vec![wrong.clone()])));
    }

    let asked = targets.iter().filter_map(|target| {
        let (actions, kind) = (executor::reaching(&**target, &settings.routes), kind(target.name()));
        // What nothing reaches needs nothing: it is there all the same, for whoever sets no routes.
        (!actions.is_empty()).then(|| ask(&**target, kind, actions, kind == OF_API && elsewhere.is_none()))
    });
    let mut shown = join_all(asked).await;
    for one in &mut shown {
        one.take(faulty.remove(&one.target).unwrap_or_default());
    }
    // In the order of their names, those of the routes last.
    let routes = faulty.remove(&None);
    let unopened = faulty.into_iter().filter_map(|(name, faults)| {
        let name = name?;
        Some(Shown::of_faults(Some((name.as_str(), kind(&name))), faults))
    });
    shown.extend(unopened);
    let targets = shown.len();
    shown.extend(routes.map(|faults| Shown::of_faults(None, faults)));
    for one in &shown {
        if args.json { one.json() } else { one.human() }
    }
    let failed = shown[..targets].iter().filter(|one| !one.ok).count();
    if !args.json {
        match (failed, shown.len() > targets) {
            (0, false) => say!("\nall targets hold: {targets}"),
            (0, true) => say!("\nall targets hold: {targets}; the routes do not"),
            (failed, false) => say!("\ntargets that do not hold: {failed} of {targets}"),
            (failed, true) => say!("\ntargets that do not hold: {failed} of {targets}; nor do the routes"),
        }
    }
    let cannot_be_served = shown.iter().any(|one| !one.faults.is_empty());
    Ok(ExitCode::from(if cannot_be_served { 2 } else { u8::from(failed > 0) }))
}

/// What is to be known where nobody is to be asked.
fn none(args: &Check, settings: &Settings) {
    let place = match &settings.config {
        Some(config) => format!("{} has no [targets.NAME]", config.display()),
        None => format!("there is no {DEFAULT_FILE} here (--config FILE names another)"),
    };
    let what = format!("no target is configured: {place}");
    let then = "calendar-mock, within `serve`, stands in for all of them, and nobody is bothered";
    let hint = "name your tools under [targets.NAME] and what each carries in [[routes]]: samples/targets has a configuration to copy, \
                breakdown.example.toml every key; or set CALENDAR_API_BASE";
    match args.json {
        true => Shown::of_none(what, [then, hint]).json(),
        false => say!("{}\nuntil one is, {then}\n{hint}", inert(&what)),
    }
}

async fn ask(
    target: &dyn Target,
    kind: &'static str,
    actions: Vec<events::ActionKind>,
    within_serve: bool,
) -> Shown {
    let mut introduction = match within_serve {
        true => executor::Introduction {
            notes: vec!["calendar-mock, within `serve`: what is done there is done nowhere else; set CALENDAR_API_BASE, or a route".to_owned()],
            ..executor::Introduction::default()
        },
        false => target.introduce(&actions).await,
    };
    if introduction.trouble.as_deref().is_some_and(is_of_credentials) {
        let name = target.name();
        introduction
            .notes
            .push(format!("put a new credential where targets.{name} says that it is, and restart `serve`"));
    }
    Shown::new(target.name(), kind, &actions, introduction)
}

/// Whether a target refused us for who we say we are: in its words, since each says it in its own way.
fn is_of_credentials(trouble: &str) -> bool {
    const SAID: [&str; 6] = [
        "answered 401",
        "the token is not valid",
        "the token was revoked",
        "the token has expired",
        "the token's account is deactivated",
        "the routing key is not valid",
    ];
    SAID.iter().any(|said| trouble.contains(said))
}
