//! The policies of a running `serve`, and their files: watched, and read again on SIGHUP.
//!
//! A file is looked at once a second. When it may have changed it is read, and read again a moment later: it counts when
//! both gave the same, so that neither a file half written nor one that is missing for a moment does. A version that is good takes
//! effect (the gateway lets it take over, partition by partition); one that is not is refused, once, and the one before stays.
//! SIGHUP says that the file is as it should be: it is read and counts at once.

mod look;
mod mistakes;
mod report;
mod watched;

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use eventlog::Clock;
use gateway::Policies;
use policy::Ruleset;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use self::report::Report;
use self::{
    mistakes::Mistakes,
    report::{Part, Refused, Standing, short},
    watched::{Seen, Watched},
};
use crate::{commands::policy::load, config::Settings, error::Failure};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a file must stay as it is to count.
const SETTLES_AFTER: Duration = Duration::from_millis(250);

/// The policies of a process with the role gateway.
pub(crate) struct Live {
    clock: Arc<dyn Clock>,
    policies: watch::Sender<Policies>,
    report: watch::Sender<Report>,
    files: Vec<Watched>,
    reload: Arc<Notify>,
}

impl Live {
    /// Loads what the settings name.
    pub(crate) fn load(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let policy = Arc::new(load(settings.policy.as_deref())?);
        let shadow = settings.shadow.as_deref().map(|path| load(Some(path)).map(Arc::new)).transpose()?;
        let mut files = Vec::new();
        let mut begin = |part: Part, path: Option<&Path>, ruleset: &Ruleset| {
            part.begin(ruleset.hash());
            files.extend(path.map(|path| Watched::new(part, path, ruleset)));
            let file = path.map(|path| path.display().to_string());
            Standing { hash: ruleset.hash().to_owned(), file, refused: None }
        };
        let report = Report {
            policy: begin(Part::Policy, settings.policy.as_deref(), &policy),
            shadow: shadow.as_deref().map(|shadow| begin(Part::Shadow, settings.shadow.as_deref(), shadow)),
        };
        Ok(Self {
            clock,
            policies: watch::channel(Policies { policy, shadow }).0,
            report: watch::channel(report).0,
            files,
            reload: Arc::default(),
        })
    }

    /// What the gateway is to follow.
    pub(crate) fn policies(&self) -> watch::Receiver<Policies> {
        self.policies.subscribe()
    }

    /// What there is to say about them.
    pub(crate) fn report(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// What SIGHUP sets off; none where no file is named.
    pub(crate) fn reload(&self) -> Option<Arc<Notify>> {
        (!self.files.is_empty()).then(|| self.reload.clone())
    }

    /// Says what decides.
    pub(crate) fn print(&self) {
        let Policies { policy, shadow } = &*self.policies.borrow();
        let report = self.report.borrow();
        let line = |ruleset: &Ruleset, standing: &Standing| {
            let file = standing.file.as_deref().unwrap_or("built in");
            format!("{file}: {} rules, hash {}", ruleset.rules().count(), short(ruleset.hash()))
        };
        say!("  policy     {}", line(policy, &report.policy));
        if let (Some(shadow), Some(standing)) = (shadow, &report.shadow) {
            say!("  shadow     {}  (decides onto actions-shadow; nothing is done)", line(shadow, standing));
        }
    }

    /// Watches the files until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = self.watch() => match never {},
        }
    }

    async fn watch(mut self) -> Infallible {
        let mut settled = true;
        loop {
            let asked = tokio::select! {
                () = self.reload.notified() => true,
                () = sleep(if settled { LOOK_EVERY } else { SETTLES_AFTER }) => false,
            };
            settled = true;
            for file in &mut self.files {
                match file.look(asked).await {
                    Seen::Settled => {}
                    Seen::Unsettled => settled = false,
                    Seen::InForce => file.keep(asked, &self.report),
                    Seen::Unreadable(why) => {
                        let first = format!("the file cannot be read: {why}");
                        let refused = Refused { at: self.clock.now(), errors: 1, first };
                        file.refuse("unreadable", refused, &self.report);
                    }
                    Seen::Text(bytes) => match mistakes::load(bytes).await {
                        Ok(ruleset) => file.put_in_force(ruleset, &self.policies, &self.report),
                        Err(Mistakes { errors, lines, first }) => {
                            lines.iter().for_each(|line| warn!(file = file.name(), "{line}"));
                            let refused = Refused { at: self.clock.now(), errors, first };
                            file.refuse("refused", refused, &self.report);
                        }
                    },
                }
            }
        }
    }
}
