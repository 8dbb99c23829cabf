//! Names: of people, and of what the file itself names.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    file::MAX_NAME_CHARS,
    mistake::{Mistake, Report},
    place::Span,
};
use crate::{
    diagnostic::quoted,
    people::{Group, People},
};

/// How many pairs of names are compared; each takes some 20 ns.
const MAX_COMPARED: usize = 5_000_000;
/// Shorter names are often one letter apart: `tim`, `tom`.
const MIN_CHARS: usize = 4;

/// Whoever is in no team, while a member's name is one slip of the finger away.
pub(super) fn warn_of_misspelt(
    owners: &[(String, Span)],
    teams: &BTreeMap<String, Group>,
    report: &mut Report<'_>,
) {
    let members: HashSet<&str> = teams.values().flat_map(|team| &team.members).map(String::as_str).collect();
    let mut near = Near::new(members.iter().copied());
    let mut known: HashMap<&str, Option<&str>> = HashMap::new();
    for (name, span) in owners {
        if members.contains(name.as_str()) {
            continue;
        }
        if let Some(meant) = *known.entry(name).or_insert_with(|| near.to(name)) {
            let message = format!("{} is in no team", quoted(name));
            report.add(Mistake::warning(*span, message).hint(format!("did you mean `{meant}`?")));
        }
    }
}

/// Whoever is named and stands not under `people`, where that is: the first time.
pub(super) fn warn_of_unknown<'n>(
    named: impl Iterator<Item = &'n (String, Span)>,
    people: &People,
    report: &mut Report<'_>,
) {
    let mut near = Near::new(people.people.keys().map(String::as_str));
    let mut met = HashSet::new();
    for (name, span) in named {
        if people.people.contains_key(name) || !met.insert(name) {
            continue;
        }
        let login = people.logins.get(&name.to_ascii_lowercase()).or_else(|| people.accounts.get(name));
        let hint = match near.to(name).or(login.map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "add them there, with what tools call them: without that no tool finds them".to_owned(),
        };
        report.add(Mistake::warning(*span, format!("{} is not under `people`", quoted(name))).hint(hint));
    }
}

/// Names that a misspelt one may be meant for.
struct Near<'n> {
    /// Each, and in lower case.
    sorted: Vec<(&'n str, String)>,
    left: usize,
}

impl<'n> Near<'n> {
    fn new(names: impl Iterator<Item = &'n str>) -> Self {
        let mut sorted: Vec<(&str, String)> = names.map(|name| (name, name.to_lowercase())).collect();
        sorted.sort_unstable();
        Self { sorted, left: MAX_COMPARED }
    }

    /// The one that is one slip of the finger away from a name, as long as there is time to search.
    fn to(&mut self, name: &str) -> Option<&'n str> {
        self.left = self.left.checked_sub(self.sorted.len())?;
        let lower = name.to_lowercase();
        self.sorted.iter().find(|(_, known)| is_near(&lower, known)).map(|(known, _)| *known)
    }
}

/// Whether one letter is missing, added, another, or two have changed places. Both in lower case.
fn is_near(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if one.len().abs_diff(other.len()) > 4 {
        return false;
    }
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&one.as_bytes()[same..], &other.as_bytes()[same..]);
    let same = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    let near = match (a, b) {
        ([], [_]) | ([_], []) | ([_], [_]) => true,
        ([a, b], [c, d]) => (a, b) == (d, c),
        _ => false,
    };
    near && one.chars().count().min(other.chars().count()) >= MIN_CHARS
}

impl Report<'_> {
    /// An id or a team's name: it stands in targets, timers and metrics.
    pub(super) fn name(&mut self, name: &str, at: Span, what: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && name.chars().all(plain) {
            return;
        }
        let message = format!("{what} is 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_`, `.` or `/`");
        let better: String = name.trim().chars().map(|c| if plain(c) { c } else { '-' }).take(40).collect();
        let hint =
            better.contains(|c: char| c.is_ascii_alphanumeric()).then(|| format!("such as `{better}`"));
        self.add(Mistake::error(at, message).maybe_hint(hint));
    }

    /// A person's name as a provider knows it: a login, an accountId such as `5b10:2a84`, a name.
    /// Whether it is one; else that is reported.
    pub(super) fn person(&mut self, name: &str, at: Span) -> bool {
        let prefix = ["owner:", "team:", "@"].into_iter().find(|prefix| name.starts_with(prefix));
        let long = name.chars().count() > MAX_NAME_CHARS;
        if name.is_empty() || long || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = format!("a person is named by 1 to {MAX_NAME_CHARS} characters without blanks");
            self.add(Mistake::error(at, message).hint("their login or accountId at GitHub or Jira"));
        } else if let Some(prefix) = prefix {
            let alone = &name[prefix.len()..];
            let hint = format!(
                "here stands the name alone: {}",
                quoted(if alone.is_empty() { "alice" } else { alone })
            );
            self.add(Mistake::error(at, format!("{} is not a person's name", quoted(name))).hint(hint));
        } else {
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn one_slip_is_near() {
        for (one, other) in [("alcie", "alice"), ("alic", "alice"), ("allice", "alice"), ("alyce", "alice")] {
            assert!(is_near(one, other), "{one}");
        }
        for (one, other) in
            [("tim", "tom"), ("alcei", "alice"), ("bob", "bobby"), ("", "a"), ("maria", "mario2")]
        {
            assert!(!is_near(one, other), "{one} {other}");
        }
    }
}
