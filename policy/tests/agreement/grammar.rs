//! Random conditions of the whole language, as text, within its types and limits.

use super::{
    choices::Choices,
    world::{LOWER, UPPER},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Time,
    Duration,
}

const KINDS: &[Kind] = &[Kind::Text, Kind::Int, Kind::Time, Kind::Duration];

/// A term or a list.
struct Made {
    text: String,
    /// It compares without regard to case.
    caseless: bool,
    /// It is a field of few values: other texts are refused beside it.
    values: &'static [&'static str],
    /// A text that is written out.
    literal: bool,
}

impl Made {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), caseless: false, values: &[], literal: false }
    }
}

struct Variable {
    name: String,
    kind: Kind,
    caseless: bool,
}

const TYPES: &[&str] = &[
    "issue_updated",
    "issue_opened",
    "issue_created",
    "issue_closed",
    "issue_reopened",
    "issue_commented",
    "issue_deleted",
    "issue_acknowledged",
    "milestone_updated",
];
const FIELDS: &[(&str, &[&str])] = &[
    ("issue.title", &[]),
    ("issue.ref", &[]),
    ("issue.project", &[]),
    ("issue.source", &["github", "jira"]),
    ("issue.repo", &[]),
    ("issue.key", &[]),
    ("issue.url", &[]),
    ("issue.assignee", &[]),
    ("issue.acknowledged_by", &[]),
    ("issue.status", &[]),
    ("issue.state", &["open", "closed"]),
    ("event.type", TYPES),
    ("event.source", &["github", "jira"]),
    ("event.actor", &[]),
];
const LISTS: &[&str] = &["issue.assignees", "event.changed"];
const CASELESS_LISTS: &[&str] = &["issue.labels", "event.labels_added", "event.labels_removed"];

const PATTERNS: &[&str] = &[
    "bug",
    "^a",
    "bug|p0",
    "",
    ".",
    "^$",
    "\\\\d+",
    "^area/\\\\S+$",
    "[a-z]+",
    "(?s)w.l",
    "\\\\bcrash\\\\b",
    "ü",
    "\\\\pL+",
    "(a+)+$",
    "^.{2}$",
    "\\\\w{2,3}",
    "[^a-z]",
    "x\\\"y",
    "(?:b)(u)(?P<g>g)",
    "^\\\\s",
    "\\\\x{1F980}",
];
const UPPER_PATTERNS: &[&str] = &["Bug", "(?i)bug", "[A-Z]", "^\\\\p{Lu}", "(?i)über", "\\\\W"];

const TIMESTAMPS: &[&str] = &[
    "2026-11-20T10:00:00Z",
    "2026-11-20T12:00:00+02:00",
    "2026-11-20t10:00:00z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-00:00",
    "1970-01-01T00:00:00.001Z",
    "2016-12-31T23:59:60Z",
    "2024-02-29T12:34:56.789+14:00",
];
const DURATIONS: &[&str] =
    &["24h", "0s", "1h30m", "-90s", "15m", "250ms", "1h1m1s1ms", "87600h", "-87600h", "315360000s", "-0h"];
const NUMBERS: &[&str] =
    &["0", "1", "12", "-1", "3", "9223372036854775807", "-9223372036854775808", "0x10", "-0x2", "007"];
const NAMES: &[&str] = &["l", "x", "label", "it", "_", "title", "string", "size", "a1", "Ab"];

/// What is refused, or should be true to CEL where it is not.
const ODD: &[&str] = &[
    "has(issue.title)",
    "issue.labels[0] == \"bug\"",
    "issue.labels.map(m, m).size() > 0",
    "issue.labels.filter(m, m == \"bug\").size() > 0",
    "issue.labels.exists_one(m, m == \"bug\")",
    "issue.assignees.all(i, m, m == \"a\")",
    "1.5 < 2.0",
    "1u == 1u",
    "issue.number == 12u",
    "issue.number == 12.0",
    "true == false",
    "event.by_us == true",
    "event.by_us != null",
    "\"true\" in [event.by_us]",
    "(issue.state == \"open\") == true",
    "issue.title",
    "issue.number",
    "issue.assignees",
    "null",
    "\"a\" + \"b\" == \"ab\"",
    "issue.number + 1 == 2",
    "issue.number * 2 == 4",
    "-issue.number == -12",
    "[1] == [1]",
    "issue.assignees == [\"a\"]",
    "issue.assignees == issue.assignees",
    "issue.lables == null",
    "labels == null",
    "int(\"1\") == 1",
    "string(issue.number) == \"12\"",
    "type(1) == int",
    "dyn(issue.title) == 1",
    "issue.created_at.getFullYear() == 2026",
    "\"a\" in {\"a\": 1}",
    "{\"a\": 1}.a == 1",
    "b\"a\" == b\"a\"",
    "!issue.title",
    "issue.title ? true : false",
    "(issue.state == \"open\" ? issue.title : issue.number) == 12",
    "issue.assignees in [issue.assignees]",
    "issue.title && true",
    "\"bug\" in issue.title",
    "\"a\" in null",
    "null in issue.assignees",
    "null < 1",
    "null == null",
    "null in [null]",
    "[] == []",
    "issue.title < 1",
    "issue.title == 1",
    "issue.due_at == \"2026-11-21\"",
    "issue.due_at < \"2026-11-21\"",
    "now + 1 > now",
    "now + now > now",
    "duration(\"1h\") - now > now",
    "now > timestamp(0)",
    "now > timestamp(issue.title)",
    "now - issue.created_at > duration(issue.title)",
    "issue.title.matches(issue.title)",
    "matches(issue.title, \"a\")",
    "issue.title.contains(null)",
    "issue.assignees.contains(\"a\")",
    "issue.number.startsWith(\"1\")",
    "size(issue.number) == 1",
    "size(null) == 0",
    "size(issue.title, issue.title) == 0",
    "issue.title.size",
    "[\"a\", 1].exists(m, m == 1)",
    "[[1]].exists(m, m == [1])",
    "[true].exists(m, m)",
    "issue.assignees.exists(issue, true)",
    "issue.assignees.exists(m, m)",
    "issue == issue",
    "event == null",
    "now.hour == 1",
    "issue.title.lowerAscii() == \"a\"",
    "issue.?title == null",
    "Issue{title: \"a\"}.title == \"a\"",
    "duration(\"24h banana\") > duration(\"1h\")",
    "duration(\"1d\") > duration(\"1h\")",
    "duration(\"30m1h\") > duration(\"1h\")",
    "duration(\"1.5h\") > duration(\"1h\")",
    "duration(\"300000000h\") > duration(\"1h\")",
    "timestamp(\"0000-12-31T23:59:59Z\") < now",
    "timestamp(\"9999-12-31T23:59:60Z\") > now",
    "timestamp(\"9999-12-31T23:59:59-01:00\") > now",
    "timestamp(\"2026-11-21\") < now",
    "issue.state == \"opened\"",
    "issue.title.matches(\"a(\")",
    "issue.title.matches(\"(?=a)\")",
];

pub(crate) struct Grammar<'a> {
    choices: Choices<'a>,
    /// Every text is in lower case, so that what compares without regard to case agrees with CEL, which regards it. Else
    /// there is none of it.
    lower: bool,
    /// Now and then, what is outside the language.
    odd: bool,
    scope: Vec<Variable>,
}

/// The limits: levels, and steps of an evaluation as the checker counts them.
#[derive(Clone, Copy)]
struct Room {
    levels: usize,
    steps: u64,
}

impl Room {
    /// For each of `n` parts.
    fn split(self, n: usize) -> Self {
        Self { levels: self.levels.saturating_sub(1), steps: self.steps.saturating_sub(4) / n as u64 }
    }

    fn has(self, steps: u64) -> bool {
        self.steps >= steps
    }
}

/// What it takes to go through a field that is a list, or to search a text.
const LIST: u64 = 260;
const SEARCH: u64 = 2060;

impl<'a> Grammar<'a> {
    pub(crate) fn new(choices: Choices<'a>, lower: bool, odd: bool) -> Self {
        Self { choices, lower, odd, scope: Vec::new() }
    }

    pub(crate) fn condition(mut self) -> String {
        self.formula(Room { levels: 6, steps: 1 << 19 })
    }

    fn formula(&mut self, room: Room) -> String {
        if self.odd && self.choices.once_in(25) {
            return format!("({})", self.choices.of(ODD));
        }
        if room.levels == 0 || !room.has(60) || self.choices.is_over() {
            return self.test(room);
        }
        match self.choices.below(14) {
            0..=4 => self.test(room),
            5 | 6 => self.chain(room, " && "),
            7 | 8 => self.chain(room, " || "),
            9 => format!("!({})", self.formula(room.split(1))),
            10 => {
                let part = room.split(3);
                let (a, b, c) = (self.formula(part), self.formula(part), self.formula(part));
                format!("({a} ? {b} : {c})")
            }
            11 => match self.choices.below(3) {
                0 => format!("({}\n)", self.formula(room.split(1))),
                1 => format!("( {}// why \"\n )", self.formula(room.split(1))),
                _ => format!("!!({})", self.formula(room.split(1))),
            },
            _ => self.each(room),
        }
    }

    fn chain(&mut self, room: Room, operator: &str) -> String {
        let n = 2 + self.choices.below(4);
        let parts: Vec<_> = (0..n).map(|_| self.formula(room.split(n))).collect();
        format!("({})", parts.join(operator))
    }

    fn each(&mut self, room: Room) -> String {
        let from_field = self.choices.once_in(2) && room.has(8 * LIST);
        let (list, kind, length) = match from_field {
            true => (self.field_list(), Kind::Text, LIST),
            false => {
                let kind = self.choices.of(KINDS);
                let (list, length) = self.written(kind, true, room.split(4));
                (list, kind, length)
            }
        };
        let mut name = self.choices.of(NAMES).to_owned();
        while self.scope.iter().any(|variable| variable.name == name) {
            name.push('_');
        }
        let steps = (room.steps / 2 / length.max(1)).saturating_sub(2);
        self.scope.push(Variable { name: name.clone(), kind, caseless: list.caseless });
        let body = self.formula(Room { levels: room.levels - 1, steps });
        self.scope.pop();
        let function = self.choices.of(&["exists", "all"]);
        format!("{}.{function}({name}, {body})", list.text)
    }

    fn test(&mut self, room: Room) -> String {
        if !room.has(16) {
            return self.small_test();
        }
        match self.choices.below(12) {
            0..=3 => self.compare(room),
            4 | 5 if room.has(LIST + 40) => self.is_in(room),
            6 if room.has(SEARCH + 40) => {
                let text = self.term(Kind::Text, room.split(3));
                let mut patterns = PATTERNS.to_vec();
                if !self.lower {
                    patterns.extend(UPPER_PATTERNS);
                }
                format!("{}.matches(\"{}\")", text.text, self.choices.of(&patterns))
            }
            7 | 8 => {
                let (text, part) =
                    (self.term(Kind::Text, room.split(2)), self.term(Kind::Text, room.split(2)));
                let method = self.choices.of(&["contains", "startsWith", "endsWith"]);
                format!("{}.{method}({})", text.text, part.text)
            }
            9 => {
                let mut lists = LISTS.to_vec();
                // Null or not has no case.
                lists.extend(CASELESS_LISTS);
                format!("{} {} null", self.choices.of(&lists), self.choices.of(&["!=", "=="]))
            }
            10 => self.choices.of(&["true", "false", "event.by_us", "!event.by_us"]).to_owned(),
            _ => self.compare(room),
        }
    }

    /// The few steps that are left within loops.
    fn small_test(&mut self) -> String {
        let kind = self.choices.of(&[Kind::Text, Kind::Time, Kind::Int]);
        let variables: Vec<_> = self.scope.iter().map(|it| (it.name.clone(), it.kind)).collect();
        match variables.is_empty() {
            false => {
                let (name, kind) = variables[self.choices.below(variables.len())].clone();
                let other = self.atom(kind);
                format!("{name} {} {}", self.choices.of(&["==", "!=", "<", ">="]), other.text)
            }
            true => {
                let (a, b) = (self.atom(kind), self.atom(kind));
                let b = fitting(&a, b);
                let a = fitting(&b, a);
                format!("{} == {}", a.text, b.text)
            }
        }
    }

    fn compare(&mut self, room: Room) -> String {
        let kind = self.choices.of(KINDS);
        let operator = self.choices.of(&["==", "!=", "<", "<=", ">", ">="]);
        let (a, b) = (self.term(kind, room.split(2)), self.term(kind, room.split(2)));
        let b = fitting(&a, b);
        let mut a = fitting(&b, a);
        if matches!(operator, "==" | "!=") && self.choices.once_in(4) {
            a = Made::new("null");
        }
        let (a, b) = if self.choices.once_in(2) { (b, a) } else { (a, b) };
        format!("{} {operator} {}", a.text, b.text)
    }

    fn is_in(&mut self, room: Room) -> String {
        let kind =
            self.choices.of(&[Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Time, Kind::Duration]);
        let part = room.split(2);
        let term = self.term(kind, part);
        if kind == Kind::Text && self.choices.once_in(2) {
            let list = self.field_list();
            // What has no case is not looked for in what has one.
            if list.caseless || !term.caseless {
                return format!("{} in {}", term.text, list.text);
            }
        }
        let mut elements = Vec::new();
        for _ in 0..self.choices.of(&[2, 1, 0, 3, 5]) {
            let element = self.element(kind, part.split(5));
            elements.push(fitting(&term, element).text);
        }
        let term = if self.choices.once_in(10) { "null" } else { &term.text };
        format!("{term} in [{}]", elements.join(", "))
    }

    fn field_list(&mut self) -> Made {
        if self.lower && !self.choices.once_in(3) {
            return Made { caseless: true, ..Made::new(self.choices.of(CASELESS_LISTS)) };
        }
        Made::new(self.choices.of(LISTS))
    }

    /// A list that is written out, and its length. `typed`: there is more in it than null, so that its elements have a type.
    fn written(&mut self, kind: Kind, typed: bool, room: Room) -> (Made, u64) {
        let length = self.choices.of(&[2, 1, 3, usize::from(typed), 4]);
        let mut elements: Vec<_> = (0..length).map(|_| self.element(kind, room.split(4))).collect();
        if typed {
            elements[0] = self.term(kind, room.split(4));
        }
        let caseless = elements.iter().any(|element| element.caseless);
        let texts: Vec<_> = elements.into_iter().map(|element| element.text).collect();
        (Made { caseless, ..Made::new(format!("[{}]", texts.join(", "))) }, length as u64)
    }

    fn element(&mut self, kind: Kind, room: Room) -> Made {
        if self.choices.once_in(6) {
            return Made::new("null");
        }
        self.term(kind, room)
    }

    fn term(&mut self, kind: Kind, room: Room) -> Made {
        let kind = if self.odd && self.choices.once_in(40) { self.choices.of(KINDS) } else { kind };
        if room.levels == 0 || !room.has(24) || !self.choices.once_in(3) {
            return self.atom(kind);
        }
        match (kind, self.choices.below(6)) {
            (_, 0) => self.choice(kind, room),
            (Kind::Int, _) if room.has(LIST + 10) => {
                let of = match self.choices.below(3) {
                    0 => self.term(Kind::Text, room.split(1)),
                    1 => {
                        let kind = self.choices.of(KINDS);
                        self.written(kind, false, room.split(1)).0
                    }
                    _ => self.field_list(),
                };
                let of = of.text;
                Made::new(if self.choices.once_in(3) {
                    format!("{of}.size()")
                } else {
                    format!("size({of})")
                })
            }
            (Kind::Time, _) => {
                let part = room.split(2);
                let (time, duration) =
                    (self.term(Kind::Time, part).text, self.term(Kind::Duration, part).text);
                Made::new(match self.choices.below(3) {
                    0 => format!("({time} + {duration})"),
                    1 => format!("({duration} + {time})"),
                    _ => format!("({time} - {duration})"),
                })
            }
            (Kind::Duration, 1..=3) => {
                let (a, b) =
                    (self.term(Kind::Time, room.split(2)).text, self.term(Kind::Time, room.split(2)).text);
                Made::new(format!("({a} - {b})"))
            }
            (Kind::Duration, _) => {
                let part = room.split(2);
                let (a, b) = (self.term(Kind::Duration, part).text, self.term(Kind::Duration, part).text);
                Made::new(format!("({a} {} {b})", self.choices.of(&["+", "-"])))
            }
            _ => self.atom(kind),
        }
    }

    fn choice(&mut self, kind: Kind, room: Room) -> Made {
        let part = room.split(3);
        let condition = self.formula(part);
        let (a, b) = (self.term(kind, part), self.element(kind, part));
        let caseless = a.caseless || b.caseless;
        let (a, b) = if self.choices.once_in(2) { (b, a) } else { (a, b) };
        Made { caseless, ..Made::new(format!("({condition} ? {} : {})", a.text, b.text)) }
    }

    /// A field, a variable or a literal.
    fn atom(&mut self, kind: Kind) -> Made {
        let variables: Vec<_> =
            self.scope.iter().enumerate().filter(|(_, it)| it.kind == kind).map(|(n, _)| n).collect();
        if !variables.is_empty() && self.choices.once_in(2) {
            let variable = &self.scope[variables[self.choices.below(variables.len())]];
            return Made { caseless: variable.caseless, ..Made::new(variable.name.clone()) };
        }
        let literal = self.choices.once_in(2);
        match (kind, literal) {
            (Kind::Text, true) => self.literal(),
            (Kind::Text, false) => {
                if self.lower && self.choices.once_in(6) {
                    return Made { caseless: true, ..Made::new("issue.priority") };
                }
                let (name, values) = self.choices.of(FIELDS);
                Made { values, ..Made::new(name) }
            }
            (Kind::Int, true) => Made::new(self.choices.of(NUMBERS)),
            (Kind::Int, false) => Made::new("issue.number"),
            (Kind::Time, true) => Made::new(format!("timestamp(\"{}\")", self.choices.of(TIMESTAMPS))),
            (Kind::Time, false) => Made::new(self.choices.of(&[
                "now",
                "issue.due_at",
                "issue.created_at",
                "issue.updated_at",
                "issue.acknowledged_at",
            ])),
            (Kind::Duration, _) => Made::new(format!("duration(\"{}\")", self.choices.of(DURATIONS))),
        }
    }

    fn literal(&mut self) -> Made {
        let word = match !self.lower && self.choices.once_in(2) {
            true => self.choices.of(UPPER),
            false => self.choices.of(LOWER),
        };
        let plain = !word.contains(['\\', '"', '\'', '\n', '\t']);
        let style = self.choices.below(8);
        let text = match style {
            1 if plain => format!("r\"{word}\""),
            2 if plain => format!("r'{word}'"),
            3 if plain => format!("'{word}'"),
            4 if plain => format!("\"\"\"{word}\"\"\""),
            5 if plain => format!("'''{word}'''"),
            6 => quoted(word, true),
            _ => quoted(word, false),
        };
        Made { literal: true, ..Made::new(text) }
    }
}

/// In quotes; `all`: every character that can be escaped is.
fn quoted(word: &str, all: bool) -> String {
    let mut text = String::from("\"");
    for (place, c) in word.chars().enumerate() {
        match c {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '"' | '\\' => text.extend(['\\', c]),
            '\'' if all => text.push_str("\\'"),
            _ if !all => text.push(c),
            _ if c.is_ascii() && place % 3 == 0 => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if c.is_ascii() && place % 3 == 1 => text.push_str(&format!("\\{:03o}", u32::from(c))),
            _ if u32::from(c) < 0x10000 => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => text.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    text.push('"');
    text
}

/// `other`, or what is allowed beside a field of few values.
fn fitting(field: &Made, other: Made) -> Made {
    match field.values.is_empty() || !other.literal {
        true => other,
        false => Made {
            literal: true,
            ..Made::new(format!("\"{}\"", field.values[other.text.len() % field.values.len()]))
        },
    }
}
