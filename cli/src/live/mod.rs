//! The policies of a running `serve`, and their files: watched, and read again on SIGHUP.
//!
//! A file is looked at once a second. When it may have changed it is read, and read again a moment later: it counts when
//! both gave the same, so that neither a file half written nor one that is missing for a moment does. A version that is good takes
//! effect (the gateway lets it take over, partition by partition); one that is not is refused, once, and the one before stays.
//! SIGHUP says that the file is as it should be: it is read and counts at once.
//!
//! Versions are loaded beside the looking: a newer one does not wait for one that takes long, and takes its place.

mod mistakes;
mod report;
mod watched;

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use eventlog::Clock;
use gateway::{InForce, Policies, short_hash};
use policy::Ruleset;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use self::report::Detail;
use self::{
    mistakes::Mistakes,
    report::{Part, Refused, Report, Standing},
    watched::{Seen, Watched},
};
use crate::{
    commands::policy::{load, warn_of_unfound},
    config::Settings,
    error::Failure,
};

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
    /// Makes a policy of a text. Blocks.
    loader: fn(Vec<u8>) -> Result<Ruleset, Mistakes>,
    /// What came of texts that were handed to the loader, also of those that others have superseded.
    results: (mpsc::UnboundedSender<Loaded>, mpsc::UnboundedReceiver<Loaded>),
}

/// What came of one version of a file.
struct Loaded {
    /// The file's place in [`Live::files`].
    place: usize,
    /// SHA-256 of the text.
    hash: String,
    result: Result<Ruleset, Mistakes>,
}

impl Live {
    /// Loads what the settings name.
    pub(crate) fn load(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        Self::of(settings.policy.as_deref(), settings.shadow.as_deref(), clock)
    }

    fn of(
        policy_file: Option<&Path>,
        shadow_file: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let policy = Arc::new(load(policy_file)?);
        let shadow = shadow_file.map(|path| load(Some(path)).map(Arc::new)).transpose()?;
        let mut files = Vec::new();
        let mut begin = |part: Part, path: Option<&Path>, ruleset: &Ruleset| {
            part.begin();
            files.extend(path.map(|path| Watched::new(part, path, ruleset)));
            let file = path.map(|path| path.display().to_string());
            Standing { loaded: ruleset.hash().to_owned(), file, refused: None }
        };
        let report = Report {
            policy: begin(Part::Policy, policy_file, &policy),
            shadow: shadow.as_deref().map(|shadow| begin(Part::Shadow, shadow_file, shadow)),
        };
        Ok(Self {
            clock,
            policies: watch::channel(Policies { policy, shadow }).0,
            report: watch::channel(report).0,
            files,
            reload: Arc::default(),
            loader: mistakes::load,
            results: mpsc::unbounded_channel(),
        })
    }

    /// What the gateway is to follow.
    pub(crate) fn policies(&self) -> watch::Receiver<Policies> {
        self.policies.subscribe()
    }

    /// What there is to say about them, to whoever knows which of them decides.
    pub(crate) fn detail(&self, in_force: Arc<InForce>) -> Detail {
        Detail { report: self.report.subscribe(), in_force }
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
            format!("{file}: {} rules, hash {}", ruleset.rules().count(), short_hash(ruleset.hash()))
        };
        say!("  policy     {}", line(policy, &report.policy));
        if let (Some(shadow), Some(standing)) = (shadow, &report.shadow) {
            say!("  shadow     {}  (decides onto actions-shadow; nothing is done)", line(shadow, standing));
        }
    }

    /// Warns of people and teams that the policy names and the configured targets would not find.
    pub(crate) fn warn_of_unfound(&self, settings: &Settings) {
        let name = self.report.borrow().policy.file.clone();
        let name = name.as_deref().unwrap_or("the built-in policy");
        warn_of_unfound(name, &self.policies.borrow().policy, settings);
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
                Some(loaded) = self.results.1.recv() => {
                    self.finish(loaded);
                    continue;
                }
                () = self.reload.notified() => true,
                () = sleep(if settled { LOOK_EVERY } else { SETTLES_AFTER }) => false,
            };
            settled = self.look(asked).await;
        }
    }

    /// Looks at the files; false where one may be about to change.
    async fn look(&mut self, asked: bool) -> bool {
        let mut settled = true;
        for (place, file) in self.files.iter_mut().enumerate() {
            match file.look(asked).await {
                Seen::Settled => {}
                Seen::Unsettled => settled = false,
                Seen::Loaded => file.keep(asked, &self.report),
                Seen::Unreadable(why) => {
                    let first = format!("the file cannot be read: {why}");
                    let refused = Refused { at: self.clock.now(), errors: 1, first };
                    file.refuse("unreadable", refused, &self.report);
                }
                Seen::Text(bytes, hash) if file.awaits(&hash) => {
                    let (loader, results) = (self.loader, self.results.0.clone());
                    tokio::spawn(async move {
                        let result = spawn_blocking(move || loader(bytes)).await.unwrap_or_else(|broken| {
                            Err(Mistakes::one(format!("the policy could not be read: {broken}")))
                        });
                        // Nobody hears it when the process ends meanwhile.
                        let _ = results.send(Loaded { place, hash, result });
                    });
                }
                Seen::Text(..) => {}
            }
        }
        settled
    }

    /// Takes what came of a version, unless the file has another by now.
    fn finish(&mut self, Loaded { place, hash, result }: Loaded) {
        let Some(file) = self.files.get_mut(place) else { return };
        if !file.takes(&hash) {
            return;
        }
        match result {
            Ok(ruleset) => file.put_in_force(ruleset, &self.policies, &self.report),
            Err(Mistakes { errors, lines, first }) => {
                lines.iter().for_each(|line| warn!(file = file.name(), "{line}"));
                let refused = Refused { at: self.clock.now(), errors, first };
                file.refuse("refused", refused, &self.report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Condvar, Mutex, MutexGuard},
    };

    use super::*;
    use crate::clock::SystemClock;

    const SAMPLE: &str = include_str!("../../../samples/policy.yaml");
    /// How often slow texts were let through; each needs one.
    static LET_THROUGH: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

    fn loader(bytes: Vec<u8>) -> Result<Ruleset, Mistakes> {
        if bytes.ends_with(b"# slow\n") {
            let allowed: MutexGuard<usize> = LET_THROUGH.0.lock().unwrap();
            *LET_THROUGH.1.wait_while(allowed, |allowed| *allowed == 0).unwrap() -= 1;
        }
        mistakes::load(bytes)
    }

    fn let_through() {
        *LET_THROUGH.0.lock().unwrap() += 1;
        LET_THROUGH.1.notify_one();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_newer_version_takes_the_place_of_one_that_takes_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, SAMPLE).unwrap();
        let mut live = Live::of(Some(&path), None, Arc::new(SystemClock)).unwrap();
        live.loader = loader;
        let policies = live.policies();
        let hash = || policies.borrow().policy.hash().to_owned();
        let of = |text: &str| policy::load(text).unwrap().hash().to_owned();
        let slow = format!("{SAMPLE}# slow\n");
        let corrected = format!("{SAMPLE}# corrected\n");

        // The newer one is there first; the other comes to nothing, whenever it comes.
        fs::write(&path, &slow).unwrap();
        live.look(true).await;
        fs::write(&path, &corrected).unwrap();
        live.look(true).await;
        let first = live.results.1.recv().await.unwrap();
        assert_eq!(first.hash, of(&corrected));
        live.finish(first);
        assert_eq!(hash(), of(&corrected));
        let_through();
        let late = live.results.1.recv().await.unwrap();
        assert_eq!((&late.hash, late.result.is_ok()), (&of(&slow), true));
        live.finish(late);
        assert_eq!(hash(), of(&corrected));
        assert_eq!(live.report.borrow().policy.loaded, of(&corrected));

        // Back to what is loaded: what is under way is of no interest any more.
        fs::write(&path, &slow).unwrap();
        live.look(true).await;
        fs::write(&path, &corrected).unwrap();
        live.look(true).await;
        let_through();
        let late = live.results.1.recv().await.unwrap();
        live.finish(late);
        assert_eq!(hash(), of(&corrected));

        // Asked for twice, it is read once; and once it is there it counts.
        fs::write(&path, &slow).unwrap();
        live.look(true).await;
        live.look(true).await;
        let_through();
        let loaded = live.results.1.recv().await.unwrap();
        live.finish(loaded);
        assert_eq!(hash(), of(&slow));
        assert!(live.results.1.try_recv().is_err());
    }
}
