//! What operators said on `control`, as far as it concerns one partition: of which projects the actions wait.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{Control, DeadLetter, Origin, Recorded, topic};

use crate::state::Entry;

/// Under this and the project (nothing more: all projects) it stands in `executor-state`. An action's id has no space.
const PREFIX: &str = "control ";

/// The last word on a project, and when the log took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Paused(DateTime<Utc>),
    Resumed(DateTime<Utc>),
}

impl Word {
    pub(crate) fn entry(self) -> Entry {
        match self {
            Self::Paused(at) => Entry::Paused { at },
            Self::Resumed(at) => Entry::Resumed { at },
        }
    }
}

/// What was told of each project, in one process.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<String, Word>);

impl Told {
    /// Whether this is not what was told last. A project's word stands in one partition; that on all projects in each, with a
    /// time of its own.
    pub(crate) fn is_news(&mut self, project: &str, word: Word) -> bool {
        let same = |before: &Word| match (before, word) {
            (Word::Paused(_), Word::Paused(_)) | (Word::Resumed(_), Word::Resumed(_))
                if project.is_empty() =>
            {
                true
            }
            _ => *before == word,
        };
        let news = !self.0.get(project).is_some_and(same);
        self.0.insert(project.to_owned(), word);
        news
    }
}

/// The last words, by project; all projects under the empty name.
#[derive(Debug, Default)]
pub(crate) struct Pauses(BTreeMap<String, Word>);

impl Pauses {
    /// Whether actions of the project wait.
    pub(crate) fn hold(&self, project: &str) -> bool {
        let paused = |name: &str| matches!(self.0.get(name), Some(Word::Paused(_)));
        paused("") || paused(project)
    }

    /// When actions of the project were last let go.
    pub(crate) fn resumed_at(&self, project: &str) -> Option<DateTime<Utc>> {
        let resumed = |name: &str| match self.0.get(name) {
            Some(Word::Resumed(at)) => Some(*at),
            _ => None,
        };
        resumed("").max(resumed(project))
    }

    /// The projects that are paused, and since when.
    pub(crate) fn paused(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.0.iter().filter_map(|(project, word)| match word {
            Word::Paused(at) => Some((project.as_str(), *at)),
            Word::Resumed(_) => None,
        })
    }

    /// What a word changes: nothing where it was said before.
    pub(crate) fn news(&self, control: &Control, at: DateTime<Utc>) -> Option<Word> {
        let is_paused = matches!(self.0.get(control.project_id()), Some(Word::Paused(_)));
        (is_paused != control.paused).then_some(if control.paused {
            Word::Paused(at)
        } else {
            Word::Resumed(at)
        })
    }

    pub(crate) fn set(&mut self, project: &str, word: Word) {
        self.0.insert(project.to_owned(), word);
    }

    pub(crate) fn forget(&mut self, project: &str) {
        self.0.remove(project);
    }

    /// Projects that were let go before `limit`: that makes no difference any more.
    pub(crate) fn outdated(&self, limit: DateTime<Utc>) -> Vec<String> {
        let old = self.0.iter().filter(|(_, word)| matches!(word, Word::Resumed(at) if *at < limit));
        old.map(|(project, _)| project.clone()).collect()
    }
}

/// The key of `project`'s word in `executor-state`.
pub(crate) fn key(project: &str) -> String {
    format!("{PREFIX}{project}")
}

/// The project whose word stands under `key`.
pub(crate) fn project_of(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX)
}

/// Reads a record of `control`; one of no form, or under another key than its project, is a dead letter.
pub(crate) fn read(record: &Record, now: DateTime<Utc>) -> Result<Control, Box<DeadLetter>> {
    let value = record.value.as_deref().unwrap_or_default();
    Control::from_record(&record.key, value).map_err(|unsound| {
        let origin = Origin::Record {
            topic: topic::CONTROL.to_owned(),
            partition: record.partition,
            offset: record.offset,
        };
        Box::new(DeadLetter::new(origin, None, unsound.reason(), unsound.to_string(), now, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_told_once_however_many_partitions_have_it() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap_or_default();
        let mut told = Told::default();
        let news: Vec<bool> = (0..8).map(|second| told.is_news("", Word::Paused(at(second)))).collect();
        assert_eq!(news.iter().filter(|news| **news).count(), 1);
        assert!(told.is_news("", Word::Resumed(at(9))) && !told.is_news("", Word::Resumed(at(10))));
        assert!(told.is_news("alpha", Word::Paused(at(1))) && !told.is_news("alpha", Word::Paused(at(1))));
        // Let go while another process had its partition.
        assert!(told.is_news("alpha", Word::Paused(at(2))));
        assert!(told.is_news("beta", Word::Paused(at(2))));
    }
}
