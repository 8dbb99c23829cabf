//! `people`: who is who at GitHub, in Jira, Slack, PagerDuty and calendars; and what of that is a team's own.

use std::collections::HashMap;

use chrono::NaiveTime;
use chrono_tz::Tz;
use events::{Person, Team};

use super::{
    mistake::{Mistake, Report},
    place::Span,
    shape::{self, Fields},
    yaml::{Node, Value},
};
use crate::{
    diagnostic::{did_you_mean, quoted},
    people::People,
};

const MAX_PEOPLE: usize = 10_000;
/// The longest mail address (RFC 5321), service and calendar, in characters.
const MAX_EMAIL: usize = 254;
const MAX_SERVICE: usize = 100;
const MAX_CALENDAR: usize = 500;

/// What is wrong with an identity, and what to write.
type Wrong = (String, Option<String>);

/// `people`: a map of names.
pub(super) fn read_people(node: &Node, people: &mut People, report: &mut Report<'_>) {
    let Value::Map(entries) = &node.value else {
        let example = "such as `alice: { github: alice, slack: U024BE7LH }`";
        report.wrong_kind(node, "`people`", "a map of names to what tools call them", example);
        return;
    };
    if entries.len() > MAX_PEOPLE {
        let message = format!("there may be at most {MAX_PEOPLE} people; here are {}", entries.len());
        report.add(Mistake::error(report.head(node), message));
        return;
    }
    let mut first: HashMap<(&str, String), Span> = HashMap::new();
    for (name, key, said) in report.entries(entries) {
        if report.is_full() {
            break;
        }
        report.person(&name, key.at);
        let Some(fields) = report.map(said, &shape::PERSON) else { continue };
        let person = read_person(&name, &fields, report);
        // The tracker's word for an assignee must lead to one person.
        let login = person.github.as_ref().map(|login| login.to_ascii_lowercase());
        for (key, identity) in [("github", login), ("jira", person.jira.clone())] {
            let (Some(identity), Some(node)) = (identity, fields.get(key)) else { continue };
            if let Some(first) = first.insert((key, identity.clone()), node.at) {
                let line = report.lines.number(first.start());
                let message = format!("somebody else has this `{key}`, on line {line}");
                report.add(Mistake::error(node.at, message).hint("an identity is one person's"));
            }
            let names = if key == "github" { &mut people.logins } else { &mut people.accounts };
            names.insert(identity, name.to_string());
        }
        people.people.insert(name.into_owned(), person);
    }
}

fn read_person(name: &str, fields: &Fields<'_>, report: &mut Report<'_>) -> Person {
    Person {
        name: name.to_owned(),
        github: report.identity(fields, "github", login),
        jira: report.identity(fields, "jira", account),
        slack: report.identity(fields, "slack", |id| slack(id, ['U', 'W'], "a member's id")),
        pagerduty: report.identity(fields, "pagerduty", service),
        email: report.identity(fields, "email", email),
        calendar: report.identity(fields, "calendar", calendar),
        time_zone: report.identity(fields, "time_zone", time_zone),
        hours: report.identity(fields, "hours", hours),
    }
}

/// What is a team's own.
pub(super) fn read_team(name: &str, fields: &Fields<'_>, report: &mut Report<'_>) -> Team {
    Team {
        name: name.to_owned(),
        slack: report.identity(fields, "slack", |id| slack(id, ['C', 'G'], "a channel's id")),
        pagerduty: report.identity(fields, "pagerduty", service),
        calendar: report.identity(fields, "calendar", calendar),
    }
}

impl Report<'_> {
    fn identity(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        check: impl FnOnce(&str) -> Result<(), Wrong>,
    ) -> Option<String> {
        let node = fields.get(key)?;
        let text = self.text(node, &format!("`{key}`"))?;
        match check(text) {
            Ok(()) => Some(text.to_owned()),
            Err((message, hint)) => {
                self.add(Mistake::error(node.at, message).maybe_hint(hint));
                None
            }
        }
    }
}

fn wrong(message: String, hint: &str) -> Result<(), Wrong> {
    Err((message, Some(hint.to_owned())))
}

fn login(text: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    let hint = "the login alone, as in github.com/LOGIN, without @";
    wrong("`github` is a login: 1 to 64 letters, digits, `-` or `_`".to_owned(), hint)
}

fn account(text: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'@');
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    let hint = "it stands at the end of their profile's address; on Data Center it is the user name";
    wrong("`jira` is an accountId: 1 to 128 letters, digits, `-`, `_`, `.`, `:` or `@`".to_owned(), hint)
}

fn slack(text: &str, begins: [char; 2], what: &str) -> Result<(), Wrong> {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    if text.starts_with(begins) && (2..=32).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    let [one, other] = begins;
    let hint =
        "Slack shows it in the menu of the profile or channel, as `Copy member ID` or at the end of `About`";
    wrong(format!("`slack` is {what}, {one}… or {other}…, and no name"), hint)
}

fn service(text: &str) -> Result<(), Wrong> {
    if (1..=MAX_SERVICE).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let hint =
        "the name under `services` of the target in breakdown.toml; the routing key stands there, not here";
    wrong(format!("`pagerduty` is a service's name, 1 to {MAX_SERVICE} characters"), hint)
}

fn email(text: &str) -> Result<(), Wrong> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';');
    let parts = text.rsplit_once('@');
    let whole = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if whole && text.chars().count() <= MAX_EMAIL && text.chars().all(plain) {
        return Ok(());
    }
    wrong("this is no mail address".to_owned(), "such as alice@example.com, and nothing else")
}

fn calendar(text: &str) -> Result<(), Wrong> {
    if (1..=MAX_CALENDAR).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let hint = "the id of a Google calendar, or the path on the CalDAV server, blanks as %20";
    wrong(format!("`calendar` is 1 to {MAX_CALENDAR} visible ASCII characters"), hint)
}

fn time_zone(text: &str) -> Result<(), Wrong> {
    if text.parse::<Tz>().is_ok() {
        return Ok(());
    }
    let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let hint = did_you_mean(text, names).unwrap_or_else(|| "an IANA name, such as Europe/Berlin".to_owned());
    Err((format!("unknown time zone {}", quoted(text)), Some(hint)))
}

fn hours(text: &str) -> Result<(), Wrong> {
    let time =
        |text: &str| (text.len() == 5).then(|| NaiveTime::parse_from_str(text, "%H:%M").ok()).flatten();
    let hint = "such as \"09:00-17:30\"";
    match text.split_once('-').map(|(from, to)| (time(from), time(to))) {
        Some((Some(from), Some(to))) if from < to => Ok(()),
        Some((Some(_), Some(_))) => wrong("these hours end before they begin".to_owned(), hint),
        _ => wrong("`hours` is a range of times of day".to_owned(), hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_identity_is() {
        type Check = fn(&str) -> Result<(), Wrong>;
        let cases: [(Check, &[&str], &[&str]); 7] = [
            (login, &["alice", "a-b", "acme_bo"], &["", "@alice", "a b", "ü"]),
            (account, &["5b10a2844c20165700ede21g", "712020:a-b", "bo@acme"], &["", "a b", "a/b"]),
            (service, &["platform", "On call"], &["", "a\nb"]),
            (email, &["a@b", "a.b+c@example.com"], &["", "a", "@b", "a@", "A <a@b>", "a@b,c@d", "a @b"]),
            (calendar, &["a@group.calendar.google.com", "/dav/alice/work/"], &["", "a b", "/ü/"]),
            (time_zone, &["UTC", "Europe/Berlin"], &["", "Berlin", "Europe/Berlim", "+02:00"]),
            (
                hours,
                &["09:00-17:30", "00:00-23:59"],
                &["", "9-17", "09:00", "17:00-09:00", "09:00-09:00", "24:00-25:00", "09:00-17:30-18:00"],
            ),
        ];
        for (check, good, bad) in cases {
            good.iter().for_each(|text| assert_eq!(check(text), Ok(()), "{text}"));
            bad.iter().for_each(|text| assert!(check(text).is_err(), "{text}"));
        }
        let channel = |id| slack(id, ['C', 'G'], "a channel's id");
        assert!(channel("C024BE7LH").is_ok() && channel("U024BE7LH").is_err() && channel("#ops").is_err());
        let (_, hint) = time_zone("Europe/Berlim").unwrap_err();
        assert_eq!(hint.as_deref(), Some("did you mean `Europe/Berlin`?"));
    }
}
