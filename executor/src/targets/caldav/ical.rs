//! iCalendar (RFC 5545), as much as a meeting needs: writing content lines, reading those of others, and writing them again.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::targets::meeting::Period;

/// The longest line, in octets without its end.
const LINE_MAX: usize = 75;
/// What a meeting says of its own state.
const STATE: [&str; 4] = ["DTSTAMP", "LAST-MODIFIED", "SEQUENCE", "STATUS"];

/// Content lines, as they are written.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// A line whose value has nothing of a stranger's.
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        self.fold(&format!("{name}:{value}"));
    }

    /// A line whose value is text, whatever is in it.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.fold(&format!("{name}:{}", escaped(value)));
    }

    /// Another's line, put together where it was folded, as it stands, and one line: what others may take for the end of one, or at its
    /// beginning for the fold of another, is not written again.
    fn again(&mut self, line: &str) {
        let inert = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        self.fold(&line.chars().map(inert).collect::<String>());
    }

    pub(super) fn done(self) -> String {
        self.0
    }

    /// A line that is longer goes on in the next, after a space; no character is cut.
    fn fold(&mut self, line: &str) {
        let mut length = 0;
        for c in line.chars() {
            if length + c.len_utf8() > LINE_MAX {
                self.0.push_str("\r\n ");
                length = 1;
            }
            self.0.push(c);
            length += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

/// A text value: what would end it or its line is escaped, other control characters are spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// A property, with the component in which it stands. `BEGIN` and `END` stand in that which they begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    component: String,
    /// All of it, as it is written.
    line: String,
    name: String,
    parameters: Vec<(String, String)>,
    value: String,
}

impl Property {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One calendar object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    properties: Vec<Property>,
}

impl Object {
    /// `None` where this is no `VCALENDAR` from its beginning to its end: an answer that broke off is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut object = Self { properties: Vec::new() };
        let mut open: Vec<String> = Vec::new();
        let mut ended = false;
        for line in unfolded(bytes) {
            let line = String::from_utf8_lossy(&line);
            if line.trim().is_empty() {
                continue;
            }
            let mut property = property(&line).filter(|_| !ended)?;
            if property.name == "BEGIN" {
                open.push(property.value.trim().to_ascii_uppercase());
            }
            property.component.clone_from(open.last()?);
            if property.name == "END" {
                open.pop().filter(|begun| begun.eq_ignore_ascii_case(property.value.trim()))?;
                ended = open.is_empty();
            }
            object.properties.push(property);
        }
        (ended && object.properties.first()?.component == "VCALENDAR").then_some(object)
    }

    fn of<'a>(&'a self, component: &'a str, name: &'a str) -> impl Iterator<Item = &'a Property> {
        self.properties.iter().filter(move |p| p.component == component && p.name == name)
    }

    /// The meeting's own name.
    pub(super) fn uid(&self) -> Option<&str> {
        self.of("VEVENT", "UID").next().map(|property| property.value.as_str())
    }

    /// Whether the meeting was called off: all of it, where it is several.
    pub(super) fn is_cancelled(&self) -> bool {
        let called_off = |status: &&Property| status.value.trim().eq_ignore_ascii_case("CANCELLED");
        let called_off = self.of("VEVENT", "STATUS").filter(called_off).count();
        called_off > 0 && called_off == self.of("VEVENT", "BEGIN").count()
    }

    /// The object with the meeting called off `at` then, its next state; all else of it stays as it is, whoever wrote it.
    pub(super) fn cancelled(&self, at: DateTime<Utc>) -> String {
        let mut lines = Lines::default();
        for (n, property) in self.properties.iter().enumerate() {
            let of_meeting = property.component == "VEVENT";
            if of_meeting && STATE.contains(&property.name.as_str()) {
                continue;
            }
            match property.name.as_str() {
                name @ ("BEGIN" | "END") => lines.again(&format!("{name}:{}", property.component)),
                _ => lines.again(&property.line),
            }
            if of_meeting && property.name == "BEGIN" {
                lines.plain("DTSTAMP", &utc(at));
                lines.plain("SEQUENCE", &self.sequence(n).saturating_add(1).to_string());
                lines.plain("STATUS", "CANCELLED");
            }
        }
        lines.done()
    }

    /// Which state of it the meeting says it is that begins with the property of this number.
    fn sequence(&self, begins: usize) -> i32 {
        let of_meeting = self.properties.iter().skip(begins).filter(|p| p.component == "VEVENT");
        let mut sequence = of_meeting.take_while(|p| p.name != "END").filter(|p| p.name == "SEQUENCE");
        let said = sequence.find_map(|p| p.value.trim().parse::<i32>().ok());
        said.unwrap_or_default().max(0)
    }

    /// When the meeting begins, wherever somebody has moved it. A time without a zone that we know is taken for UTC.
    pub(super) fn begins_at(&self) -> Option<DateTime<Utc>> {
        let start = self.of("VEVENT", "DTSTART").next()?;
        if let Some(at) = instant(&start.value) {
            return Some(at);
        }
        let local = match NaiveDate::parse_from_str(&start.value, "%Y%m%d") {
            Ok(date) => date.and_time(NaiveTime::MIN),
            Err(_) => NaiveDateTime::parse_from_str(&start.value, "%Y%m%dT%H%M%S").ok()?,
        };
        let zone = start.parameter("TZID").and_then(|zone| zone.trim_start_matches('/').parse::<Tz>().ok());
        let earliest = zone.and_then(|zone| local.and_local_timezone(zone).earliest());
        Some(earliest.map_or(local.and_utc(), |at| at.to_utc()))
    }

    /// The busy times of an answer to a free/busy query. `None` where it is none, or says a time that cannot be read: what is
    /// not understood is not free.
    pub(super) fn busy(&self) -> Option<Vec<Period>> {
        self.of("VFREEBUSY", "BEGIN").next()?;
        let mut busy = Vec::new();
        for property in self.of("VFREEBUSY", "FREEBUSY") {
            // Tentative, unavailable, or a word that is new: all of it is busy.
            let is_free = property.parameter("FBTYPE").is_some_and(|kind| kind.eq_ignore_ascii_case("FREE"));
            for period in property.value.split(',') {
                let period = period_of(period.trim())?;
                if !is_free {
                    busy.push(period);
                }
            }
        }
        Some(busy)
    }
}

/// The lines, put together again where they were folded; as bytes, since others fold within a character.
fn unfolded(bytes: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut lines: Vec<Cow<'_, [u8]>> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line, lines.last_mut()) {
            ([b' ' | b'\t', rest @ ..], Some(last)) => last.to_mut().extend_from_slice(rest),
            _ => lines.push(Cow::Borrowed(line)),
        }
    }
    lines
}

/// `NAME;PARAMETER=VALUE:VALUE`; the component is not known yet.
fn property(line: &str) -> Option<Property> {
    let mut quoted = false;
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, None);
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' | ':' if !quoted => {
                parts.push(&line[begin..at]);
                begin = at + 1;
                if c == ':' {
                    end = Some(begin);
                    break;
                }
            }
            _ => {}
        }
    }
    let value = line[end?..].to_owned();
    let mut parts = parts.into_iter();
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_uppercase();
    let parameters = parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_ascii_uppercase(), value.trim_matches('"').to_owned())
    });
    let (component, line) = (String::new(), line.to_owned());
    Some(Property { component, line, name, parameters: parameters.collect(), value })
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|at| at.and_utc())
}

/// `START/END`, or `START/DURATION`.
fn period_of(text: &str) -> Option<Period> {
    let (start, end) = text.split_once('/')?;
    let start = instant(start)?;
    let end = instant(end).or_else(|| start.checked_add_signed(duration(end)?))?;
    Some(Period { start, end })
}

/// `P1W`, `P1DT2H`, `PT30M`; never backwards.
fn duration(text: &str) -> Option<TimeDelta> {
    let text = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (days, times) = text.split_once('T').unwrap_or((text, ""));
    let mut seconds = 0i64;
    for (part, units) in
        [(days, &[('W', 604_800), ('D', 86_400)][..]), (times, &[('H', 3600), ('M', 60), ('S', 1)])]
    {
        let mut number = String::new();
        for c in part.chars() {
            if c.is_ascii_digit() && number.len() < 9 {
                number.push(c);
                continue;
            }
            let (_, unit) = units.iter().find(|(unit, _)| *unit == c)?;
            seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(*unit)?)?;
            number.clear();
        }
        if !number.is_empty() {
            return None;
        }
    }
    (text.len() > 1).then(|| TimeDelta::try_seconds(seconds))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(inside: &str) -> Option<Object> {
        Object::read(format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{inside}END:VCALENDAR\r\n").as_bytes())
    }

    fn busy(inside: &str) -> Option<Vec<String>> {
        let object = object(&format!("BEGIN:VFREEBUSY\r\n{inside}END:VFREEBUSY\r\n"))?;
        let told = |period: &Period| format!("{}/{}", utc(period.start), utc(period.end));
        object.busy().map(|busy| busy.iter().map(told).collect())
    }

    #[test]
    fn busy_times_are_read_in_both_forms() {
        // Of RFC 4791, 7.10.1, with a folded line and a few more kinds.
        let told = busy(
            "DTSTAMP:20050125T090000Z\r\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20060102T100000Z/20060102T120\r\n 000Z\r\n\
             FREEBUSY:20060103T100000Z/PT1H30M,20060104T000000Z/P1DT1S\nFREEBUSY;FBTYPE=FREE:20060105T000000Z/P1W\n\
             FREEBUSY;X-A=\"a:b;c\";FBTYPE=X-NEW:20060106T000000Z/P1W\n",
        );
        let expected = [
            "20060102T100000Z/20060102T120000Z",
            "20060103T100000Z/20060103T113000Z",
            "20060104T000000Z/20060105T000001Z",
            "20060106T000000Z/20060113T000000Z",
        ];
        assert_eq!(told.as_deref(), Some(&expected.map(ToOwned::to_owned)[..]));
        assert_eq!(busy("DTSTAMP:20050125T090000Z\r\n"), Some(Vec::new()));
    }

    #[test]
    fn what_is_not_understood_is_not_free() {
        for inside in [
            "FREEBUSY:20060103T100000/PT1H\r\n",
            "FREEBUSY:20060103T100000Z\r\n",
            "FREEBUSY:20060103T100000Z/PT\r\n",
            "FREEBUSY:20060103T100000Z/P1\r\n",
            "FREEBUSY:20060103T100000Z/-PT1H\r\n",
            "FREEBUSY:20060103T100000Z/P999999999W999999999W\r\n",
            "FREEBUSY:20060103T100000Z/PT1H,\r\n",
            "FREEBUSY\r\n",
        ] {
            assert_eq!(busy(inside), None, "{inside}");
        }
        assert_eq!(object("BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\n").and_then(|object| object.busy()), None);
        for broken in [
            "",
            "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nEND:VFREEBUSY\r\n",
            "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nEND:VCALENDAR\r\n",
            "BEGIN:VFREEBUSY\r\nEND:VFREEBUSY\r\n",
            "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nEND:VFREEBUSY\r\n",
            "<html>",
        ] {
            assert_eq!(Object::read(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn a_meeting_begins_where_it_was_moved_to() {
        for (start, at) in [
            ("DTSTART:20260302T101500Z", "2026-03-02T10:15:00Z"),
            ("DTSTART;TZID=Europe/Berlin:20260702T101500", "2026-07-02T08:15:00Z"),
            ("DTSTART;TZID=\"W. Europe Standard Time\":20260702T101500", "2026-07-02T10:15:00Z"),
            ("DTSTART;VALUE=DATE:20260702", "2026-07-02T00:00:00Z"),
        ] {
            let zones = "BEGIN:VTIMEZONE\r\nTZID:x\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\n";
            let object =
                object(&format!("{zones}BEGIN:VEVENT\r\nUID:u\r\n{start}\r\nEND:VEVENT\r\n")).expect("one");
            assert_eq!(
                object.begins_at().map(|at| at.to_rfc3339()),
                Some(at.replace('Z', "+00:00")),
                "{start}"
            );
            assert_eq!(object.uid(), Some("u"));
        }
    }

    #[test]
    fn all_of_a_meeting_is_called_off_or_it_is_not() {
        let meeting = |state: &str| format!("BEGIN:VEVENT\r\nUID:u\r\n{state}END:VEVENT\r\n");
        let object = |states: &[&str]| {
            object(&states.iter().map(|state| meeting(state)).collect::<String>()).expect("a calendar")
        };
        for (states, is) in [
            (&[""][..], false),
            (&["STATUS:CONFIRMED\r\n"], false),
            (&["status:Cancelled\r\n"], true),
            (&["STATUS:CANCELLED\r\n", ""], false),
            (&["BEGIN:X-A\r\nSTATUS:CANCELLED\r\nEND:X-A\r\n"], false),
            (&[], false),
        ] {
            assert_eq!(object(states).is_cancelled(), is, "{states:?}");
        }
        // One that comes again and again, and an exception from it: each has a state of its own.
        let several = object(&[
            "SEQUENCE:2\r\n",
            "BEGIN:VALARM\r\nSEQUENCE:9\r\nEND:VALARM\r\n",
            "SEQUENCE:2147483647\r\n",
        ]);
        let called_off =
            Object::read(several.cancelled(DateTime::UNIX_EPOCH).as_bytes()).expect("a calendar");
        assert!(called_off.is_cancelled());
        let sequences: Vec<&str> = called_off.of("VEVENT", "SEQUENCE").map(|p| p.value.as_str()).collect();
        assert_eq!(sequences, ["3", "1", "2147483647"]);
    }

    fn unescaped(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, c == '\\') {
                (_, true) => match chars.next() {
                    Some('n') => out.push('\n'),
                    other => out.extend(other),
                },
                _ => out.push(c),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn text_stays_one_value_of_one_property(
            text in prop_oneof![any::<String>(), "(\r\n|\n|\r|ATTENDEE:mailto:x@y|END:VEVENT|[;,:\\\\\"é€😀 \u{202e}]){0,80}"],
        ) {
            let mut lines = Lines::default();
            lines.plain("BEGIN", "VCALENDAR");
            lines.text("SUMMARY", &text);
            lines.plain("END", "VCALENDAR");
            let written = lines.done();
            for line in written.split("\r\n") {
                prop_assert!(line.len() <= LINE_MAX && !line.contains(['\r', '\n']), "{line:?}");
            }
            let object = Object::read(written.as_bytes()).expect("a calendar");
            prop_assert_eq!(object.properties.len(), 3);
            let expected: String =
                text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
            prop_assert_eq!(unescaped(&object.properties[1].value), expected);
        }

        #[test]
        fn a_meeting_that_is_called_off_is_the_same_in_all_else(
            text in prop_oneof![any::<String>(), "(\r|\t|STATUS:CONFIRMED|END:VEVENT|[;,:\\\\\"é€😀 \u{202e}]){0,80}"],
            state in prop::sample::subsequence(vec!["STATUS:CONFIRMED", "SEQUENCE:7", "DTSTAMP:20260101T000000Z", "LAST-MODIFIED:x"], 0..=4),
        ) {
            let mut lines = Lines::default();
            for line in ["BEGIN:VCALENDAR", "BEGIN:VTIMEZONE", "LAST-MODIFIED:20200101T000000Z", "END:VTIMEZONE", "BEGIN:VEVENT"] {
                lines.again(line);
            }
            state.iter().for_each(|line| lines.again(line));
            lines.again(&format!("X-A;Y=\"a;b:c\":{}", text.replace('\n', " ")));
            for line in ["BEGIN:VALARM", "STATUS:x", "END:VALARM", "END:VEVENT", "END:VCALENDAR"] {
                lines.again(line);
            }
            let object = Object::read(lines.done().as_bytes()).expect("a calendar");
            let written = object.cancelled(DateTime::UNIX_EPOCH);
            for line in written.split("\r\n") {
                prop_assert!(line.len() <= LINE_MAX && !line.contains(['\r', '\n']), "{line:?}");
            }
            let called_off = Object::read(written.as_bytes()).expect("a calendar");
            prop_assert!(called_off.is_cancelled() && !object.is_cancelled());
            let rest = |object: &Object| -> Vec<Property> {
                let rest = |p: &&Property| p.component != "VEVENT" || !STATE.contains(&p.name.as_str());
                object.properties.iter().filter(rest).cloned().collect()
            };
            prop_assert_eq!(rest(&called_off), rest(&object));
            let said = |name: &str| called_off.of("VEVENT", name).map(|p| p.value.clone()).collect::<Vec<_>>();
            let next = if state.contains(&"SEQUENCE:7") { "8" } else { "1" };
            prop_assert_eq!(said("SEQUENCE"), [next]);
            prop_assert_eq!(said("STATUS"), ["CANCELLED"]);
            prop_assert_eq!(said("DTSTAMP"), ["19700101T000000Z"]);
            prop_assert!(said("LAST-MODIFIED").is_empty());
        }

        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[BEGIND:VCALFRUSY;=\"/PT0-9Z\r\n ]{0,200}") {
            for bytes in [&bytes[..], text.as_bytes(), format!("BEGIN:VCALENDAR\nBEGIN:VFREEBUSY\nFREEBUSY:{text}\nEND:VFREEBUSY\nEND:VCALENDAR").as_bytes()] {
                if let Some(object) = Object::read(bytes) {
                    let _ = (object.busy(), object.begins_at(), object.uid(), object.is_cancelled());
                    let called_off = object.cancelled(DateTime::UNIX_EPOCH);
                    assert!(Object::read(called_off.as_bytes()).is_some(), "{called_off:?}");
                }
            }
        }
    }
}
