//! One watched file: when what it holds counts, and what then becomes of it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use gateway::{Policies, short_hash};
use policy::Ruleset;
use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use super::{
    mistakes::on_one_line,
    report::{Part, Refused, Report, Standing},
};
use crate::policy_file::{Stamp, look};

/// A file that is watched.
pub(super) struct Watched {
    part: Part,
    path: PathBuf,
    /// The path, for people.
    name: String,
    /// SHA-256 of the text that was loaded last.
    loaded: String,
    /// SHA-256 of the text that is being loaded: the newest. What comes of an older one is of no interest.
    awaited: Option<String>,
    /// What was last found, and how the file looked then; nothing before the first look.
    found: Option<(Option<Stamp>, Version)>,
    /// What was last dealt with.
    met: Version,
}

/// What a file can be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    /// SHA-256 of its bytes.
    Text(String),
    /// Why it cannot be read.
    Unreadable(String),
}

/// What a look at a file came to.
pub(super) enum Seen {
    /// Nothing new.
    Settled,
    /// Something that is to be looked at again before it counts.
    Unsettled,
    /// It cannot be read.
    Unreadable(String),
    /// The text that was loaded last.
    Loaded,
    /// Another text, and its hash.
    Text(Vec<u8>, String),
}

impl Watched {
    pub(super) fn new(part: Part, path: &Path, ruleset: &Ruleset) -> Self {
        let loaded = ruleset.hash().to_owned();
        let (path, name) = (path.to_owned(), path.display().to_string());
        Self { part, path, name, met: Version::Text(loaded.clone()), loaded, awaited: None, found: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A text is being loaded; false where it was already. Another that was is superseded.
    pub(super) fn awaits(&mut self, hash: &str) -> bool {
        let new = self.awaited.as_deref() != Some(hash);
        if let Some(former) = self.awaited.replace(hash.to_owned()).filter(|_| new) {
            info!(
                file = self.name,
                hash = short_hash(&former),
                "a newer version takes the place of one that was being read"
            );
        }
        new
    }

    /// Whether what came of this text is still of interest.
    pub(super) fn takes(&mut self, hash: &str) -> bool {
        let takes = self.awaited.as_deref() == Some(hash);
        if takes {
            self.awaited = None;
        }
        takes
    }

    /// Looks at the file. `asked`: what it is counts at once, also when it is what it was.
    pub(super) async fn look(&mut self, asked: bool) -> Seen {
        let known = match &self.found {
            Some((stamp, version)) if *version == self.met && !asked => *stamp,
            _ => None,
        };
        let path = self.path.clone();
        let looked = match spawn_blocking(move || look(&path, known)).await {
            Ok(looked) => looked,
            Err(broken) => Err(format!("the reader broke off: {broken}")),
        };
        let (stamp, bytes) = match looked {
            Ok(None) => return Seen::Settled,
            Ok(Some((stamp, bytes))) => (Some(stamp), Ok(bytes)),
            Err(why) => (None, Err(why)),
        };
        let version = match &bytes {
            Ok(bytes) => Version::Text(events::id::sha256(bytes)),
            Err(why) => Version::Unreadable(why.clone()),
        };
        let found = Some((stamp, version.clone()));
        let settled = self.found == found;
        self.found = found;
        if !asked {
            if !settled {
                return Seen::Unsettled;
            }
            if version == self.met {
                return Seen::Settled;
            }
        }
        self.met = version.clone();
        let seen = match (version, bytes) {
            (Version::Text(hash), _) if hash == self.loaded => Seen::Loaded,
            (Version::Text(hash), Ok(bytes)) => return Seen::Text(bytes, hash),
            (Version::Unreadable(why), _) | (_, Err(why)) => Seen::Unreadable(why),
        };
        self.awaited = None;
        seen
    }

    pub(super) fn put_in_force(
        &mut self,
        ruleset: Ruleset,
        policies: &watch::Sender<Policies>,
        report: &watch::Sender<Report>,
    ) {
        let (part, hash, rules) = (self.part, ruleset.hash().to_owned(), ruleset.rules().count());
        for warning in ruleset.warnings() {
            warn!(file = self.name, "{}", on_one_line(warning));
        }
        let ruleset = Arc::new(ruleset);
        policies.send_modify(|policies| match part {
            Part::Policy => policies.policy = ruleset,
            Part::Shadow => policies.shadow = Some(ruleset),
        });
        // Not before: whoever reads it there may count on it.
        self.report(report, |standing| {
            standing.loaded.clone_from(&hash);
            standing.refused = None;
        });
        part.count("loaded");
        part.set_refused(false);
        info!(file = self.name, rules, hash = short_hash(&hash), "{} loaded", part.name());
        self.loaded = hash;
    }

    pub(super) fn refuse(&self, result: &'static str, refused: Refused, report: &watch::Sender<Report>) {
        self.part.count(result);
        self.part.set_refused(true);
        warn!(
            file = self.name,
            errors = refused.errors,
            first = refused.first,
            loaded = short_hash(&self.loaded),
            "{} refused; the one before stays",
            self.part.name()
        );
        self.report(report, |standing| standing.refused = Some(refused));
    }

    /// The file holds what is loaded already.
    pub(super) fn keep(&self, asked: bool, report: &watch::Sender<Report>) {
        let mut was_refused = false;
        self.report(report, |standing| was_refused = standing.refused.take().is_some());
        self.part.set_refused(false);
        if was_refused || asked {
            info!(
                file = self.name,
                hash = short_hash(&self.loaded),
                "the file holds the {} that is loaded: nothing changes",
                self.part.name()
            );
        }
    }

    fn report(&self, report: &watch::Sender<Report>, change: impl FnOnce(&mut Standing)) {
        report.send_modify(|report| match (self.part, &mut report.shadow) {
            (Part::Shadow, Some(shadow)) => change(shadow),
            // Whoever has no shadow watches no file of one.
            _ => change(&mut report.policy),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const A: &str = include_str!("../../../samples/policy.yaml");

    struct Desk {
        _dir: tempfile::TempDir,
        path: PathBuf,
        file: Watched,
    }

    impl Desk {
        /// A file that holds what decides, and was looked at.
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("policy.yaml");
            fs::write(&path, A).unwrap();
            let file = Watched::new(Part::Policy, &path, &policy::load(A).unwrap());
            let mut desk = Self { _dir: dir, path, file };
            assert_eq!(desk.look().await, "unsettled");
            assert_eq!(desk.look().await, "settled");
            desk
        }

        async fn look(&mut self) -> String {
            told(self.file.look(false).await)
        }

        async fn ask(&mut self) -> String {
            told(self.file.look(true).await)
        }

        fn write(&self, text: impl AsRef<[u8]>) {
            fs::write(&self.path, text).unwrap();
        }
    }

    fn told(seen: Seen) -> String {
        match seen {
            Seen::Settled => "settled".into(),
            Seen::Unsettled => "unsettled".into(),
            Seen::Unreadable(_) => "unreadable".into(),
            Seen::Loaded => "loaded".into(),
            Seen::Text(bytes, _) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_does_not_count() {
        let mut desk = Desk::new().await;
        // Each is a policy by itself.
        desk.write("version: 1\n");
        assert_eq!(desk.look().await, "unsettled");
        desk.write("version: 1\nrules: []\n");
        assert_eq!(desk.look().await, "unsettled");
        desk.write("version: 1\nrules: []\nteams: {}\n");
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "version: 1\nrules: []\nteams: {}\n");
        assert_eq!(desk.look().await, "settled", "once");
    }

    #[tokio::test]
    async fn a_file_that_is_missing_for_a_moment_is_not_missed() {
        let mut desk = Desk::new().await;
        fs::remove_file(&desk.path).unwrap();
        assert_eq!(desk.look().await, "unsettled");
        desk.write(A);
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "settled");
        fs::remove_file(&desk.path).unwrap();
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "unreadable");
        for _ in 0..3 {
            assert_eq!(desk.look().await, "settled", "once");
        }
        desk.write(A);
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "loaded");
    }

    #[tokio::test]
    async fn a_version_counts_once_unless_asked_for() {
        let mut desk = Desk::new().await;
        assert_eq!(desk.ask().await, "loaded");
        desk.write("broken");
        assert_eq!(desk.ask().await, "broken", "at once");
        assert_eq!(desk.look().await, "settled");
        desk.write("broken");
        assert_eq!(desk.look().await, "unsettled", "touched");
        assert_eq!(desk.look().await, "settled");
        assert_eq!(desk.ask().await, "broken");
        desk.write(A);
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "loaded");
        desk.write("broken");
        assert_eq!(desk.look().await, "unsettled");
        assert_eq!(desk.look().await, "broken", "again, after another");
    }
}
