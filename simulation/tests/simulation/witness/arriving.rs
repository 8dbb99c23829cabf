//! From the delivery to `issues`, and that a letter counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use eventlog::{Position, Record};
use events::{Action, topic};

use super::{Copy, Finding, at, finding, json};
use crate::letters::{Kind, Letter, project_id};

/// Most ids under which a letter is sent anew.
const ANEW: u32 = 4;
/// A comment that comes later than this may be taken for a replay.
const TOO_LATE: TimeDelta = TimeDelta::days(6);

/// What is known of a letter.
struct Known {
    project: usize,
    kind: Kind,
    updated_at: chrono::DateTime<chrono::Utc>,
}

pub(super) struct Arriving {
    letters: Vec<Known>,
    /// Which letter an event is of.
    letter_of: HashMap<String, usize>,
    accepted: BTreeSet<usize>,
    /// By project: where the last accepted event stands.
    last: BTreeMap<usize, Position>,
    /// Rule, place of the action in it, and letter, of every action that a letter caused.
    followed: BTreeMap<(usize, String, usize), String>,
}

/// What was known when a delivery was sent.
pub struct Sent {
    letter: usize,
    behind: Option<Position>,
}

impl Arriving {
    pub(super) fn new(letters: &[Letter]) -> Self {
        let of = |letter: &Letter| {
            let number = letter.number;
            let ids = (0..ANEW).map(|anew| letter.event_id(anew));
            // Whoever closes an issue answers, too.
            let with_answer = ids.flat_map(|id| [events::id::acknowledgement(&id), id]);
            with_answer.map(|id| (id, number)).collect::<Vec<_>>()
        };
        let known = |letter: &Letter| Known {
            project: letter.project,
            kind: letter.kind,
            updated_at: letter.updated_at,
        };
        Self {
            letters: letters.iter().map(known).collect(),
            letter_of: letters.iter().flat_map(of).collect(),
            accepted: BTreeSet::new(),
            last: BTreeMap::new(),
            followed: BTreeMap::new(),
        }
    }

    /// The letter of an event; an id may have been lengthened on purpose.
    fn letter(&self, event_id: &str) -> Option<usize> {
        let end = event_id.match_indices('-').nth(1).map_or(event_id.len(), |(end, _)| end);
        self.letter_of.get(&event_id[..end]).copied()
    }

    /// Records were committed.
    pub(super) fn arrived(&self, records: &[Record], found: &mut Vec<Finding>) {
        for record in records.iter().filter(|record| record.topic == topic::ISSUES) {
            let event: Option<events::IssueEvent> = json(record);
            let letter = event.as_ref().and_then(|event| self.letter(&event.event_id));
            match letter {
                None => found.push(finding("acted-on-refused", format!("{} is of no letter", at(record)))),
                Some(letter) if project_id(self.letters[letter].project).as_bytes() != record.key => {
                    found.push(finding("out-of-order", format!("{} has another project's key", at(record))));
                }
                Some(_) => {}
            }
        }
    }

    /// Actions were committed: of each letter a rule has each action once, under however many ids it arrived.
    pub(super) fn decided(&mut self, records: &[Record], found: &mut Vec<Finding>) {
        for action in
            records.iter().filter(|record| record.topic == topic::ACTIONS).filter_map(json::<Action>)
        {
            let Some(letter) = action.cause.as_deref().and_then(|cause| self.letter(cause)) else { continue };
            let cause = action.cause.as_deref().unwrap_or_default();
            let rule = action.rule.clone().unwrap_or_default();
            let issue = action.issue_ref.as_deref().unwrap_or_default();
            // What is taken back or acknowledged is so once: its id says what it is.
            if action.action.follows_up() {
                continue;
            }
            let place =
                (0..4).find(|place| events::id::action(cause, issue, &rule, *place) == action.event_id);
            let key = (letter, format!("{rule} for {issue}"), place.unwrap_or(usize::MAX));
            if let Some(other) = self.followed.insert(key, action.event_id.clone())
                && other != action.event_id
            {
                let why = format!("{rule} acted on letter {letter} twice: {other} and {}", action.event_id);
                found.push(finding("counted-twice", why));
            }
        }
    }

    /// Each comment that is on the log and came in time has had its two nudges: told from the letters alone.
    pub(super) fn settled(&self, copy: &Copy, found: &mut Vec<Finding>) {
        let mut judged = BTreeSet::new();
        let issues = (0..crate::PARTITIONS).flat_map(|partition| copy.of(topic::ISSUES, partition));
        for record in issues {
            let event: Option<events::IssueEvent> = json(record);
            let Some(letter) = event.and_then(|event| self.letter(&event.event_id)) else { continue };
            let known = &self.letters[letter];
            // Only the first arrival is news.
            let news = judged.insert(letter);
            let is_comment = matches!(known.kind, Kind::Commented | Kind::Answered);
            if !is_comment || !news || record.timestamp - known.updated_at > TOO_LATE {
                continue;
            }
            let acted = |place: usize| {
                let mut of_it =
                    self.followed.range((letter, String::new(), 0)..(letter + 1, String::new(), 0));
                of_it.any(|((_, rule, at), _)| rule.starts_with("commented ") && *at == place)
            };
            if !acted(0) || !acted(1) {
                found.push(finding("missing-action", format!("nothing followed from comment {letter}")));
            }
        }
    }
}

impl super::Witness {
    /// A delivery is sent.
    pub fn sent(&mut self, letter: usize) -> Sent {
        let project = self.arriving.letters[letter].project;
        Sent { letter, behind: self.arriving.last.get(&project).copied() }
    }

    /// It was answered 202: it stands where the answer says, and behind what had been answered before.
    pub fn answered(&mut self, sent: &Sent, event_id: &str, position: Position) {
        let Sent { letter, behind } = sent;
        let there = self.copy.of(topic::ISSUES, position.partition).get(position.offset as usize);
        let id = there.and_then(json::<events::IssueEvent>).map(|event| event.event_id);
        if id.as_deref().is_none_or(|id| !id.starts_with(event_id)) {
            self.find(
                "lost-write",
                format!("letter {letter} was accepted as {event_id} at {position:?}: there is {id:?}"),
            );
        }
        if self.arriving.letter(event_id) != Some(*letter) {
            self.find("lost-write", format!("letter {letter} was accepted as {event_id}, which it is not"));
        }
        if let Some(behind) = behind
            && (behind.partition != position.partition || behind.offset >= position.offset)
        {
            self.find(
                "out-of-order",
                format!("letter {letter} stands at {position:?}, sent after {behind:?} was accepted"),
            );
        }
        if !self.arriving.accepted.insert(*letter) {
            self.meet("accepted again");
        }
        let last = self.arriving.last.entry(self.arriving.letters[*letter].project).or_insert(position);
        if last.partition == position.partition && last.offset < position.offset {
            *last = position;
        }
    }

    /// It was answered otherwise.
    pub fn refused(&mut self, sent: &Sent, status: u16) {
        self.meet("answered 503");
        if status != 503 {
            self.find(
                "refused-signed",
                format!("letter {} was signed right and answered {status}", sent.letter),
            );
        }
    }

    /// A forgery was answered.
    pub fn forged(&mut self, letter: usize, status: u16) {
        if status != 401 {
            self.find("acted-on-refused", format!("a forgery of letter {letter} was answered {status}"));
        }
    }

    /// Letters that were never answered 202.
    pub fn unaccepted(&self) -> Vec<usize> {
        (0..self.arriving.letters.len()).filter(|letter| !self.arriving.accepted.contains(letter)).collect()
    }
}
