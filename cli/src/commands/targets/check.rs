//! `breakdown targets check`: the targets, opened as `serve` opens them, and each asked who we are there. All at once: one that hangs
//! takes its own time only.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use eventlog::Clock;
use executor::Target;
use futures::future::join_all;

use super::shown::Shown;
use crate::{clock::SystemClock, config::Settings, error::Failure, serve};

/// What stands in for the API while no other address is set; nothing is sent there.
const NOWHERE: &str = "http://127.0.0.1:9/api";

#[derive(Debug, Args)]
#[command(after_long_help = "\
Each [targets.NAME] of the configuration is opened as `serve` does it, with its credentials; its host is resolved, and it is asked who we are
there and what we may do, through the same client with the same limits. Nothing is changed, and nothing of a credential is shown. Where
an API has no such call (an incoming webhook, a routing key of PagerDuty, a webhook) only its address is looked at, and that is said.

Exit code: 0 when all of them hold; 1 when one does not; 2 when the configuration cannot be served: a route to a target that does not
carry its action, a credential that is missing.

--json prints one object a target:
  {\"target\", \"kind\", \"ok\", \"actions\": [KIND], \"at\": {\"host\", \"proxied\", \"addresses\": [{\"address\", \"refused\"}], \"unresolved\"},
   \"who\", \"may\": [TEXT], \"missing\": [TEXT], \"notes\": [TEXT], \"error\"}
  who and error may be null; at is null for what runs within `serve`; missing says what the actions need that we may not do.")]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Check, settings: &Settings) -> Result<ExitCode, Failure> {
    let elsewhere = settings.calendar_api_base.as_deref();
    let base = serve::parse_base(elsewhere.unwrap_or(NOWHERE))?;
    let config = serve::executor_config(settings, false, base)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let targets = executor::open(&settings.targets, &config, &serve::variable, &clock)
        .map_err(|error| Failure::usage(error.to_string()))?;

    let asked = targets.iter().filter_map(|target| {
        let kind = settings.targets.get(target.name()).map_or("calendar-api", |said| said.kind());
        let actions = executor::reaching(&**target, &settings.routes);
        // What nothing reaches needs nothing: it is there all the same, for whoever sets no routes.
        (!actions.is_empty())
            .then(|| ask(&**target, kind, actions, kind == "calendar-api" && elsewhere.is_none()))
    });
    let shown = join_all(asked).await;
    for one in &shown {
        if args.json { one.json() } else { one.human() }
    }
    let failed = shown.iter().filter(|one| !one.ok).count();
    if !args.json {
        match failed {
            0 => say!("\nall targets hold: {}", shown.len()),
            failed => say!("\ntargets that do not hold: {failed} of {}", shown.len()),
        }
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
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
