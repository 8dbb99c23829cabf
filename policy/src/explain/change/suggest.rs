//! Edits that can make a part of a condition hold, or not hold.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    edit::{self, Edit, New},
    example,
    time::{self, Sum},
};
use crate::{
    At,
    condition::{
        Condition, Formula,
        eval::{Scope, Value},
        expr::{Comparison, List, Logic, Method, Quantifier, Term, Test},
        field::{Field, Type},
    },
    decide::Sight,
    explain::{
        reads::Read,
        shown::{self, Shown},
    },
};

/// How many edits one obstacle suggests.
const MAX_EDITS: usize = 64;
/// How many members of a list are looked at.
const MAX_MEMBERS: usize = 16;

/// Gathers edits.
pub(super) struct Suggest<'s> {
    sight: &'s Sight,
    /// The condition that is looked at.
    condition: Option<&'s Condition>,
    pub(super) edits: Vec<Edit>,
}

impl<'s> Suggest<'s> {
    /// A suggestion asks about the parts of a condition again on its way down: about as many evaluations of the whole.
    pub(super) const EVALUATIONS: u64 = 4;

    pub(super) fn new(sight: &'s Sight) -> Self {
        Self { sight, condition: None, edits: Vec::new() }
    }

    /// Edits that can make a condition hold (`want`), or not hold.
    pub(super) fn condition(&mut self, condition: &'s Condition, want: bool) {
        self.condition = Some(condition);
        let view = self.sight.view();
        self.formula(condition.formula(), want, Scope::new(&view));
    }

    /// The issue is open.
    pub(super) fn open(&mut self) {
        self.set(Field::State, New::Text("open".into()));
    }

    /// The issue is closed, and nothing else.
    pub(super) fn closed(mut self) -> Vec<Edit> {
        self.set(Field::State, New::Text("closed".into()));
        self.edits
    }

    /// Somebody else did it.
    pub(super) fn not_by_us(&mut self) {
        self.set(Field::EventByUs, New::Flag(false));
    }

    /// A field has no value.
    pub(super) fn none(&mut self, field: Field) {
        self.set(field, New::Null);
    }

    /// It is another time.
    pub(super) fn now(&mut self, at: DateTime<Utc>) {
        self.add(Edit::new(Read::Now, New::Time(at)));
    }

    /// `at` has another value.
    pub(super) fn other_at(&mut self, at: At) {
        for by in [-1, 1] {
            let known = time::value(Read::Field(at.field), self.sight);
            if let Some(other) = known.and_then(|known| known.checked_add_signed(TimeDelta::hours(by))) {
                self.set(at.field, New::Time(other));
            }
        }
    }

    /// A field has any value.
    pub(super) fn any(&mut self, field: Field) {
        let mut edit = Edit::new(Read::Field(field), edit::any(field, self.sight.now));
        if matches!(edit.new, New::Text(_)) && field.spec().values.is_none() {
            edit.words = Some(edit::ANY.into());
        }
        self.add(edit);
    }

    fn add(&mut self, edit: Edit) {
        if self.edits.len() < MAX_EDITS && !self.edits.iter().any(|known| known.key() == edit.key()) {
            self.edits.push(edit);
        }
    }

    fn set(&mut self, field: Field, new: New) {
        self.add(Edit::new(Read::Field(field), new));
    }

    fn formula(&mut self, formula: &Formula, want: bool, scope: Scope<'_, '_>) {
        if scope.formula(formula) == Ok(want) || self.edits.len() >= MAX_EDITS {
            return;
        }
        match &formula.logic {
            Logic::Always(_) => {}
            Logic::Not(inner) => self.formula(inner, !want, scope),
            Logic::And(parts) | Logic::Or(parts) => {
                parts.iter().for_each(|part| self.formula(part, want, scope));
            }
            Logic::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                match scope.formula(condition) {
                    Ok(holds) => {
                        self.formula(if holds { then } else { otherwise }, want, scope);
                        self.formula(condition, !holds, scope);
                    }
                    Err(_) => [true, false].into_iter().for_each(|want| self.formula(condition, want, scope)),
                }
            }
            Logic::Each { quantifier, list, body } => {
                self.each(*quantifier, list, body, want, scope);
            }
            Logic::Test(test) => self.test(test, want, scope),
        }
    }

    fn each(
        &mut self,
        quantifier: Quantifier,
        list: &List,
        body: &Formula,
        want: bool,
        scope: Scope<'_, '_>,
    ) {
        // An `exists` holds, or an `all` does not, by one element; the other way round every element counts.
        let by_one = want == (quantifier == Quantifier::Exists);
        if let (List::Field(field), true) = (list, by_one) {
            let words = self.words(body, want);
            words.into_iter().for_each(|word| self.set(*field, New::With(word)));
        }
        let mut count = 0;
        let looked = scope.for_each(list, |scope, value| {
            if scope.formula(body) == Ok(want) {
                return Ok(false);
            }
            count += 1;
            if let (List::Field(field), Value::Text(word), false) = (list, value, by_one) {
                self.set(*field, New::Without(self.as_known(*field, word)));
            }
            self.formula(body, want, scope);
            Ok(count >= MAX_MEMBERS)
        });
        if let (List::Field(field), true) = (list, looked.is_err()) {
            self.set(*field, New::Count(0));
        }
    }

    /// A list shall have `count` members: where that is one more, one that the rest of the condition has a word for.
    fn one_more(&mut self, field: Field, count: usize) {
        let known = self.sight.view().list(field).map_or(0, <[_]>::len);
        let (Some(condition), true) = (self.condition, count == known + 1) else { return };
        let mut words = Vec::new();
        condition.formula().visit(&mut |formula| match &formula.logic {
            Logic::Each { list: List::Field(list), body, .. } if *list == field => {
                words.extend(self.words(body, true));
            }
            _ => {}
        });
        words.into_iter().take(MAX_MEMBERS).for_each(|word| self.set(field, New::With(word)));
    }

    /// Words for which a body of `exists` or `all` may hold, or not hold.
    fn words(&self, body: &Formula, want: bool) -> Vec<String> {
        let view = self.sight.view();
        let scope = Scope::new(&view);
        let mut words: Vec<String> = Vec::new();
        let is_element = |term: &Term| match term {
            Term::Element(0) => true,
            Term::Lower(inner) => **inner == Term::Element(0),
            _ => false,
        };
        let text = |term: &Term| match scope.term(term) {
            Ok(Value::Text(text)) => Some(text.to_owned()),
            _ => None,
        };
        let of_length = |op: Comparison, term: &Term| match scope.term(term) {
            Ok(Value::Int(number)) => {
                let length = near(op, number).and_then(|length| usize::try_from(length).ok());
                length.filter(|length| *length <= events::MAX_TEXT_CHARS).map(|length| "x".repeat(length))
            }
            _ => None,
        };
        body.visit(&mut |formula| {
            let Logic::Test(test) = &formula.logic else { return };
            match test {
                Test::Compare { left, right, .. } if is_element(left) => words.extend(text(right)),
                Test::Compare { left, right, .. } if is_element(right) => words.extend(text(left)),
                Test::Compare { op, left: Term::Length(left), right } if is_element(left) => {
                    let op = if want { *op } else { op.negated() };
                    words.extend(of_length(op, right));
                }
                Test::In { term, list: List::Of(terms) } if is_element(term) => {
                    words.extend(terms.iter().take(MAX_MEMBERS).filter_map(text));
                }
                Test::Text { text: it, part, .. } if is_element(it) => words.extend(text(part)),
                Test::Matches { text: it, pattern } if is_element(it) => {
                    words.extend(example::of_pattern(pattern.text()));
                }
                _ => {}
            }
        });
        words.iter_mut().for_each(|word| *word = self.as_written(word));
        if words.len() > 1 {
            // A beginning and an end, together.
            words.push(words.concat());
        }
        if !want || words.is_empty() {
            words.push("something".into());
        }
        words.retain(|word| !word.is_empty());
        words.truncate(MAX_MEMBERS);
        words
    }

    fn test(&mut self, test: &Test, want: bool, scope: Scope<'_, '_>) {
        match test {
            Test::Compare { op, left, right } => {
                let op = if want { *op } else { op.negated() };
                for (term, other) in [(left, right), (right, left)] {
                    self.choices(term, scope);
                    let op = if std::ptr::eq(term, left) { op } else { op.mirrored() };
                    self.compare(term, op, other, scope);
                }
            }
            Test::Flag(field) => self.set(*field, New::Flag(want)),
            Test::ListIsNull { list, null } => {
                self.set(*list, if *null == want { New::Null } else { New::Count(0) });
            }
            Test::In { term, list } => self.is_in(term, list, want, scope),
            Test::Text { method, text, part } => {
                if let (Some(field), Ok(Value::Text(part))) = (assignable(text), scope.term(part)) {
                    self.part(field, *method, part, want);
                }
            }
            Test::Matches { text, pattern } => {
                let Some(field) = assignable(text) else { return };
                let (new, verb) = match want {
                    true => (example::of_pattern(pattern.text()), "that matches"),
                    false => (Some(String::new()), "that does not match"),
                };
                if let Some(new) = new {
                    let words = format!("{verb} {}", shown::quoted(pattern.text()));
                    self.add(Edit { words: Some(words), ..Edit::new(Read::Field(field), New::Text(new)) });
                }
            }
        }
    }

    /// Where a term is one thing or another: both.
    fn choices(&mut self, term: &Term, scope: Scope<'_, '_>) {
        if let Term::If(parts) = term {
            let want = !matches!(scope.formula(&parts.0), Ok(true));
            self.formula(&parts.0, want, scope);
        }
    }

    /// `term OP other` shall hold.
    fn compare(&mut self, term: &Term, op: Comparison, other: &Term, scope: Scope<'_, '_>) {
        let sum = Sum::of(term, scope).and_then(|sum| Some(sum.plus(Sum::of(other, scope)?, -1)));
        if let Some(sum) = sum {
            for read in sum.reads() {
                let Some((at, grows)) = sum.solve(read, self.sight) else { continue };
                let op = if grows { op } else { op.mirrored() };
                if let Some(at) = time::nearest(op, at) {
                    self.add(Edit::new(read, New::Time(at)));
                }
            }
            return;
        }
        match term {
            Term::Field(field) if field.spec().value_type == Type::Int => {
                if let Ok(Value::Int(number)) = scope.term(other) {
                    if let Some(number) = near(op, number) {
                        self.set(*field, New::Number(number));
                    }
                    return;
                }
            }
            Term::Size(List::Field(field)) => {
                if let Ok(Value::Int(number)) = scope.term(other)
                    && let Some(count) = near(op, number).and_then(|count| usize::try_from(count).ok())
                {
                    self.set(*field, New::Count(count));
                    self.one_more(*field, count);
                }
                return;
            }
            Term::Length(text) => {
                if let (Some(field), Ok(Value::Int(number))) = (assignable(text), scope.term(other))
                    && let Some(length) = near(op, number).and_then(|length| usize::try_from(length).ok())
                    && length <= events::MAX_TEXT_CHARS
                {
                    let words = Some(format!("of {length} characters"));
                    self.add(Edit { words, ..Edit::new(Read::Field(field), New::Text("x".repeat(length))) });
                }
                return;
            }
            _ => {}
        }
        if let (Some(field), Ok(value)) = (assignable(term), scope.term(other)) {
            self.assign(field, op, &value);
        }
    }

    /// `field OP value` shall hold.
    fn assign(&mut self, field: Field, op: Comparison, value: &Value<'_>) {
        let is_null = matches!(value, Value::Null);
        match (op, value) {
            (Comparison::NotEqual, _) if is_null => self.any(field),
            (Comparison::NotEqual, value) => self.other_than(field, &[text_of(value)]),
            (Comparison::Equal, Value::Null) => self.set(field, New::Null),
            (Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual, Value::Text(text)) => {
                let text = self.as_written(text);
                self.set(field, New::Text(text));
            }
            (Comparison::Greater, Value::Text(text)) => self.set(field, New::Text(format!("{text}a"))),
            (Comparison::Less, Value::Text(_)) => self.set(field, New::Text(String::new())),
            (_, Value::Time(at)) => self.set(field, New::Time(*at)),
            (_, Value::Int(number)) => self.set(field, New::Number(*number)),
            _ => {}
        }
    }

    /// A field shall have none of these values.
    fn other_than(&mut self, field: Field, values: &[String]) {
        let spec = field.spec();
        let new = match spec.values {
            Some(known) => {
                // What says the least, where it will do.
                let plain = known.iter().find(|word| **word == "issue_updated");
                plain
                    .into_iter()
                    .chain(known)
                    .find(|word| !values.iter().any(|value| value == **word))
                    .map(|word| New::Text((*word).to_owned()))
            }
            None => match field {
                Field::Ref | Field::Project => Some(New::Text("another".into())),
                _ => Some(New::Null),
            },
        };
        new.into_iter().for_each(|new| self.set(field, new));
    }

    fn is_in(&mut self, term: &Term, list: &List, want: bool, scope: Scope<'_, '_>) {
        match list {
            List::Field(list) => {
                if let Ok(Value::Text(word)) = scope.term(term) {
                    let new = match want {
                        true => New::With(self.as_written(word)),
                        false => New::Without(self.as_known(*list, word)),
                    };
                    self.set(*list, new);
                }
                if let (Some(field), true) = (assignable(term), want) {
                    let view = self.sight.view();
                    for word in view.list(*list).unwrap_or_default().iter().take(MAX_MEMBERS) {
                        self.set(field, New::Text(word.clone().into_owned()));
                    }
                }
            }
            List::Of(terms) => {
                let Some(field) = assignable(term) else { return };
                let values: Vec<_> = terms.iter().filter_map(|term| scope.term(term).ok()).collect();
                if want {
                    for value in values.iter().take(MAX_MEMBERS) {
                        self.assign(field, Comparison::Equal, value);
                    }
                } else {
                    self.other_than(field, &values.iter().map(text_of).collect::<Vec<_>>());
                }
            }
        }
    }

    /// A text shall have a part, or shall not have it.
    fn part(&mut self, field: Field, method: Method, part: &str, want: bool) {
        let view = self.sight.view();
        let known = view.text(field).unwrap_or_default();
        let new = match (method, want) {
            (Method::StartsWith, true) => format!("{part}{known}"),
            (Method::EndsWith, true) => format!("{known}{part}"),
            (Method::Contains, true) if known.is_empty() => part.to_owned(),
            (Method::Contains, true) => format!("{known} {part}"),
            _ if part.is_empty() => return,
            (Method::StartsWith, false) => known.trim_start_matches(part).to_owned(),
            (Method::EndsWith, false) => known.trim_end_matches(part).to_owned(),
            (Method::Contains, false) => known.replace(part, ""),
        };
        let verb = match (method, want) {
            (Method::StartsWith, true) => "that starts with",
            (Method::EndsWith, true) => "that ends with",
            (Method::Contains, true) => "that contains",
            (Method::StartsWith, false) => "that does not start with",
            (Method::EndsWith, false) => "that does not end with",
            (Method::Contains, false) => "that does not contain",
        };
        let words = format!("{verb} {}", shown::quoted(&self.as_written(part)));
        self.add(Edit { words: Some(words), ..Edit::new(Read::Field(field), New::Text(new)) });
    }

    /// A literal in the case in which it was written; where case does not count, it is in lower case by now.
    fn as_written(&self, word: &str) -> String {
        let text = self.condition.map_or("", Condition::text);
        let mut literals = text.split(['"', '\'']);
        let known = literals.find(|literal| *literal != word && literal.to_lowercase() == word);
        known.unwrap_or(word).to_owned()
    }

    /// A member in the case in which the provider wrote it.
    fn as_known(&self, field: Field, word: &str) -> String {
        let shown = match Shown::of_field(self.sight, field) {
            Shown::List(members) => members,
            _ => Vec::new(),
        };
        shown.into_iter().find(|member| member.to_lowercase() == word).unwrap_or_else(|| word.to_owned())
    }
}

/// A field that a term is.
fn assignable(term: &Term) -> Option<Field> {
    match term {
        Term::Field(field) => Some(*field),
        Term::Lower(inner) => assignable(inner),
        _ => None,
    }
}

fn text_of(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => (*text).to_owned(),
        _ => String::new(),
    }
}

/// The number nearest to `number` for which `it OP number` holds.
fn near(op: Comparison, number: i64) -> Option<i64> {
    match op {
        Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual => Some(number),
        Comparison::Less => number.checked_sub(1),
        Comparison::Greater | Comparison::NotEqual => number.checked_add(1),
    }
}
