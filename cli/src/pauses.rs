//! What operators said on `control`, as it stands on the log. What an executor has heard of it, its own progress tells.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use eventlog::Log;
use events::{Control, Recorded, topic};

use crate::{commands::read_all, error::Failure};

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

    /// Since when the project is paused, by name or with all.
    pub(crate) fn paused_at(&self, project: &str) -> Option<DateTime<Utc>> {
        self.own_paused_at(project).into_iter().chain(self.all_paused_at()).min()
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

    fn seconds(at: Option<DateTime<Utc>>) -> Option<i64> {
        at.map(|at| at.timestamp())
    }

    #[test]
    fn the_last_word_holds_since_it_was_first_said() {
        let said = pauses(&[
            (0, Some("a"), true),
            (0, Some("a"), true),
            (1, Some("b"), true),
            (1, Some("b"), false),
        ]);
        assert_eq!(seconds(said.paused_at("a")), Some(0));
        assert_eq!(said.paused_at("b"), None);
        assert_eq!(said.projects().map(|(project, _)| project).collect::<Vec<_>>(), ["a"]);
        assert_eq!(said.all_paused_at(), None);
    }

    #[test]
    fn all_are_paused_beside_each() {
        let said = pauses(&[(0, None, true), (1, None, true), (0, Some("a"), true), (0, Some("a"), false)]);
        assert_eq!((seconds(said.paused_at("a")), said.own_paused_at("a")), (Some(0), None));
        assert!(said.all_agree(2) && !said.all_agree(3));
        let half = pauses(&[(0, None, true), (1, None, true), (0, None, false)]);
        assert_eq!(seconds(half.paused_at("a")), Some(1));
        assert!(!half.all_agree(2));
    }
}
