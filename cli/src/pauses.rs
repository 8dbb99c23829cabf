//! What operators said on `control`, as it stands on the log. What an executor has heard of it, its own progress tells.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use eventlog::Log;
use events::{Control, Recorded, topic};

use serde::Serialize;

use crate::{
    commands::{inert, read_all},
    error::Failure,
};

/// The last words.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// On all projects, by partition.
    all: BTreeMap<u32, Word>,
    /// On one.
    projects: BTreeMap<String, Word>,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    paused: bool,
    at: DateTime<Utc>,
}

impl Word {
    fn paused_at(self) -> Option<DateTime<Utc>> {
        self.paused.then_some(self.at)
    }
}

impl Pauses {
    /// Reads them; a log that has no such topic yet has none.
    pub(crate) async fn read(log: &dyn Log) -> Result<Self, Failure> {
        let mut pauses = Self::default();
        if !log.topics().await?.iter().any(|info| info.name == topic::CONTROL) {
            return Ok(pauses);
        }
        read_all(log, topic::CONTROL, |record| {
            // An executor makes a dead letter of any other.
            let value = record.value.as_deref().unwrap_or_default();
            if let Ok(control) = Control::from_record(&record.key, value) {
                pauses.take(record.partition, control, record.timestamp);
            }
        })
        .await?;
        Ok(pauses)
    }

    fn take(&mut self, partition: u32, control: Control, at: DateTime<Utc>) {
        let before = match &control.project_id {
            Some(project) => self.projects.get(project),
            None => self.all.get(&partition),
        };
        // Said again, it holds since it was first said.
        if before.is_some_and(|before| before.paused == control.paused) {
            return;
        }
        let word = Word { paused: control.paused, at };
        match control.project_id {
            Some(project) => _ = self.projects.insert(project, word),
            None => _ = self.all.insert(partition, word),
        }
    }

    /// Since when all projects are paused, in any partition.
    pub(crate) fn all_paused_at(&self) -> Option<DateTime<Utc>> {
        self.all.values().filter_map(|word| word.paused_at()).min()
    }

    /// Whether that is so in each of so many partitions, or in none: a word to all that broke off is neither.
    pub(crate) fn all_agree(&self, partitions: usize) -> bool {
        let paused = self.all.values().filter(|word| word.paused).count();
        paused == 0 || paused == partitions
    }

    /// The projects that are paused by name, and since when.
    pub(crate) fn projects(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.projects.iter().filter_map(|(project, word)| Some((project.as_str(), word.paused_at()?)))
    }

    /// Since when the project is paused by name.
    pub(crate) fn own_paused_at(&self, project: &str) -> Option<DateTime<Utc>> {
        self.projects.get(project).and_then(|word| word.paused_at())
    }

    /// Whether the project is paused, by name or with all.
    pub(crate) fn of(&self, project: &str) -> Option<Pause> {
        let (own, all) = (self.own_paused_at(project), self.all_paused_at());
        let at = own.into_iter().chain(all).min()?;
        let words = [(PausedOf::Project, own), (PausedOf::All, all)];
        let by = words.into_iter().filter_map(|(by, at)| at.map(|_| by)).collect();
        Some(Pause { at, by })
    }
}

/// That a project is paused. Who said so, the log does not know; only of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Since when.
    pub(crate) at: DateTime<Utc>,
    /// By which words, all of which have to be taken back.
    pub(crate) by: Vec<PausedOf>,
}

/// Of what it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PausedOf {
    /// Of the project (`breakdown pause --project …`).
    Project,
    /// Of all projects (`breakdown pause`).
    All,
}

impl Pause {
    /// What was said, and what takes it back.
    pub(crate) fn in_words(&self, project: &str) -> String {
        let since = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let project = inert(project);
        let of_project = format!("`breakdown resume --project {project}`");
        let (of, resume) = match self.by.as_slice() {
            [PausedOf::Project] => (format!("of project {project}"), format!("{of_project} lets it go")),
            [PausedOf::All] => ("of all projects".to_owned(), "`breakdown resume` lets it go".to_owned()),
            _ => (
                format!("of project {project}, and of all,"),
                format!("{of_project} and `breakdown resume` let it go"),
            ),
        };
        format!("effects {of} are paused since {since}; {resume}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(said: &[(u32, Option<&str>, bool)]) -> Pauses {
        let mut pauses = Pauses::default();
        for (second, (partition, project, paused)) in (0..).zip(said) {
            let at = DateTime::from_timestamp(second, 0).unwrap();
            pauses.take(*partition, Control::new(*project, *paused, at), at);
        }
        pauses
    }

    #[test]
    fn the_last_word_holds_since_it_was_first_said() {
        let said = pauses(&[
            (0, Some("a"), true),
            (0, Some("a"), true),
            (1, Some("b"), true),
            (1, Some("b"), false),
        ]);
        let paused = said.of("a").unwrap();
        assert_eq!((paused.at.timestamp(), paused.by.as_slice()), (0, &[PausedOf::Project][..]));
        assert_eq!(
            paused.in_words("a"),
            "effects of project a are paused since 1970-01-01T00:00:00Z; `breakdown resume --project a` lets it go"
        );
        assert_eq!(said.of("b"), None);
        assert_eq!(said.projects().map(|(project, _)| project).collect::<Vec<_>>(), ["a"]);
        assert_eq!(said.all_paused_at(), None);
    }

    #[test]
    fn all_are_paused_beside_each() {
        let said = pauses(&[(0, None, true), (1, None, true), (0, Some("a"), true), (0, Some("a"), false)]);
        let all = Pause { at: DateTime::UNIX_EPOCH, by: vec![PausedOf::All] };
        assert_eq!((said.of("a"), said.own_paused_at("a")), (Some(all), None));
        assert!(said.all_agree(2) && !said.all_agree(3));
        let half = pauses(&[(0, None, true), (1, None, true), (0, None, false)]);
        assert_eq!(half.of("a").unwrap().at.timestamp(), 1);
        let both = pauses(&[(0, Some("a"), true), (0, None, true)]).of("a").unwrap();
        assert_eq!((both.at.timestamp(), both.by.len()), (0, 2));
        assert!(
            both.in_words("a").ends_with("`breakdown resume --project a` and `breakdown resume` let it go")
        );
        assert!(!half.all_agree(2));
    }
}
