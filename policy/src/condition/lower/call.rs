//! Operators and functions.

use std::sync::Arc;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, operators as op},
};
use chrono::{DateTime, Datelike, Utc};

use super::{Lowered, Lowering, Typed, text_of};
use crate::{
    condition::{
        Problem,
        expr::{Comparison, Formula, List, Logic, Method, Term, Test},
        field::Type,
        pattern::{MAX_PATTERN_BYTES, MAX_PATTERNS_BYTES, Pattern, PatternError},
    },
    diagnostic::{did_you_mean, quoted},
    load::duration,
};

pub(super) const FUNCTIONS: &[&str] =
    &["size", "startsWith", "endsWith", "contains", "matches", "timestamp", "duration", "exists", "all"];

/// Other languages' names for what there is.
const SYNONYMS: &[(&str, &str)] = &[
    ("len", "size"),
    ("length", "size"),
    ("count", "size"),
    ("includes", "contains"),
    ("has_label", "in"),
    ("any", "exists"),
    ("some", "exists"),
    ("every", "all"),
    ("regex", "matches"),
    ("match", "matches"),
    ("date", "timestamp"),
    ("time", "timestamp"),
];

pub(super) fn did_you_mean_method(name: &str) -> Option<String> {
    FUNCTIONS.contains(&name).then(|| format!("it is called with parentheses: `{name}(…)`"))
}

impl Lowering<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Option<Lowered> {
        let args = call.args.as_slice();
        let name = call.func_name.as_str();
        let test = |test: Option<Test>| test.map(Logic::Test);
        let logic = match (name, call.target.as_deref(), args) {
            (op::LOGICAL_AND, None, [_, ..]) => self.parts(node, op::LOGICAL_AND).map(Logic::And),
            (op::LOGICAL_OR, None, [_, ..]) => self.parts(node, op::LOGICAL_OR).map(Logic::Or),
            (op::LOGICAL_NOT, None, [inner]) => self.formula(inner).map(|inner| Logic::Not(Box::new(inner))),
            (op::EQUALS, None, [a, b]) => test(self.compare(Comparison::Equal, node, a, b)),
            (op::NOT_EQUALS, None, [a, b]) => test(self.compare(Comparison::NotEqual, node, a, b)),
            (op::LESS, None, [a, b]) => test(self.compare(Comparison::Less, node, a, b)),
            (op::LESS_EQUALS, None, [a, b]) => test(self.compare(Comparison::LessOrEqual, node, a, b)),
            (op::GREATER, None, [a, b]) => test(self.compare(Comparison::Greater, node, a, b)),
            (op::GREATER_EQUALS, None, [a, b]) => test(self.compare(Comparison::GreaterOrEqual, node, a, b)),
            (op::IN, None, [a, b]) => test(self.is_in(node, a, b)),
            ("startsWith", Some(text), [part]) => test(self.method(Method::StartsWith, node, text, part)),
            ("endsWith", Some(text), [part]) => test(self.method(Method::EndsWith, node, text, part)),
            ("contains", Some(text), [part]) => test(self.method(Method::Contains, node, text, part)),
            ("matches", Some(text), [pattern]) => test(self.matches(node, text, pattern)),
            (op::CONDITIONAL, None, [condition, then, otherwise]) => {
                return self.choice(node, condition, then, otherwise);
            }
            (op::ADD, None, [a, b]) => return self.sum(node, a, b, false).map(Lowered::Term),
            (op::SUBSTRACT, None, [a, b]) => return self.sum(node, a, b, true).map(Lowered::Term),
            (op::NEGATE, ..) => {
                let hint = "write `duration(\"-24h\")`, or exchange `+` and `-`".to_owned();
                return self.refuse(node, "`-` stands before numbers and between times", hint);
            }
            ("size", None, [of]) | ("size", Some(of), []) => return self.size(of).map(Lowered::Term),
            ("duration", None, [text]) => return self.duration(node, text).map(Lowered::Term),
            ("timestamp", None, [text]) => return self.timestamp(node, text).map(Lowered::Term),
            _ => return self.unknown(node, name),
        }?;
        let span = self.span(node).unwrap_or_default();
        Some(Lowered::Formula(Formula { logic, span }))
    }

    /// The operands of a chain of `&&` or `||`, which the parser gives as a balanced tree.
    fn parts(&mut self, node: &IdedExpr, operator: &str) -> Option<Vec<Formula>> {
        let mut operands = Vec::new();
        flatten(node, operator, &mut operands);
        // Each is looked at, so that all that is wrong is said.
        let parts: Vec<_> = operands.into_iter().map(|operand| self.formula(operand)).collect();
        parts.into_iter().collect()
    }

    fn choice(
        &mut self,
        node: &IdedExpr,
        condition: &IdedExpr,
        then: &IdedExpr,
        otherwise: &IdedExpr,
    ) -> Option<Lowered> {
        let (condition, a, b) = (self.formula(condition), self.expression(then), self.expression(otherwise));
        match (condition?, a?, b?) {
            (condition, Lowered::Formula(a), Lowered::Formula(b)) => {
                let span = self.span(node).unwrap_or_default();
                let logic = Logic::If(Box::new([condition, a, b]));
                Some(Lowered::Formula(Formula { logic, span }))
            }
            (condition, Lowered::Term(a), Lowered::Term(b))
                if a.value_type == b.value_type || a.value_type.is_none() || b.value_type.is_none() =>
            {
                let caseless = a.caseless || b.caseless;
                let in_case = |term: Typed<Term>| if caseless { term.lowered() } else { term };
                let (value_type, a, b) = (a.value_type.or(b.value_type), in_case(a), in_case(b));
                let it = Term::If(Box::new((condition, a.it, b.it)));
                Some(Lowered::Term(Typed { it, value_type, caseless }))
            }
            (_, Lowered::List(_), _) | (_, _, Lowered::List(_)) => {
                let hint = "choose between two conditions over lists instead".to_owned();
                self.refuse(node, "`? :` does not choose between lists", hint)
            }
            (_, a, b) => {
                let message = format!(
                    "`? :` chooses between values of one type, not between {} and {}",
                    a.name(),
                    b.name()
                );
                self.refuse(node, message, None)
            }
        }
    }

    fn sum(
        &mut self,
        node: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
        minus: bool,
    ) -> Option<Typed<Term>> {
        let (a, b) = (self.term(left), self.term(right));
        let (a, b) = (a?, b?);
        let value_type = match (a.value_type, b.value_type) {
            (Some(Type::Time), Some(Type::Duration)) => Type::Time,
            (Some(Type::Duration), Some(Type::Time)) if !minus => Type::Time,
            (Some(Type::Time), Some(Type::Time)) if minus => Type::Duration,
            (Some(Type::Duration), Some(Type::Duration)) => Type::Duration,
            (Some(Type::Text), Some(Type::Text)) => {
                return self.refuse(node, "texts are not joined", "compare the parts one by one".to_owned());
            }
            (Some(Type::Int), Some(Type::Int)) => {
                return self.refuse(
                    node,
                    "there is no arithmetic with numbers",
                    "write the result".to_owned(),
                );
            }
            (x, y) => {
                let name = |it: Option<Type>| it.map_or("null", Type::name);
                let (symbol, x, y) = (if minus { "-" } else { "+" }, name(x), name(y));
                let hint = "to a time a duration is added, such as `now + duration(\"24h\")`; two times are subtracted".to_owned();
                return self.refuse(node, format!("`{symbol}` is not for {x} and {y}"), hint);
            }
        };
        Some(Typed::new(Term::Sum { left: Box::new(a.it), right: Box::new(b.it), minus }, value_type))
    }

    fn size(&mut self, of: &IdedExpr) -> Option<Typed<Term>> {
        let it = match self.expression(of)? {
            Lowered::List(list) => Term::Size(list.it),
            Lowered::Term(Typed { it, value_type: Some(Type::Text), .. }) => Term::Length(Box::new(it)),
            other => {
                let hint = "such as `size(issue.labels)`".to_owned();
                return self.refuse(
                    of,
                    format!("only texts and lists have a size, not {}", other.name()),
                    hint,
                );
            }
        };
        Some(Typed::new(it, Type::Int))
    }

    fn method(&mut self, method: Method, node: &IdedExpr, text: &IdedExpr, part: &IdedExpr) -> Option<Test> {
        let (a, b) = (self.expression(text), self.term(part));
        let (a, b) = (self.text_operand(node, a?, text, part)?, b?);
        if b.value_type != Some(Type::Text) {
            let message = format!("here stands a text, not {}", b.value_type.map_or("null", Type::name));
            return self.refuse(part, message, "put it in quotes".to_owned());
        }
        let caseless = a.caseless || b.caseless;
        let in_case = |term: Typed<Term>| if caseless { term.lowered() } else { term };
        Some(Test::Text { method, text: in_case(a).it, part: in_case(b).it })
    }

    fn text_operand(
        &mut self,
        node: &IdedExpr,
        operand: Lowered,
        text: &IdedExpr,
        part: &IdedExpr,
    ) -> Option<Typed<Term>> {
        match operand {
            Lowered::Term(term) if term.value_type == Some(Type::Text) => Some(term),
            Lowered::List(list) => {
                let (written, part) = (self.brief(text, "issue.labels"), self.brief(part, "\"…\""));
                let Expr::Call(call) = &node.expr else { return None };
                let hint = match (&list.it, call.func_name.as_str()) {
                    (List::Field(_), "contains") => format!("ask `{part} in {written}`"),
                    (_, name) => format!("ask `{written}.exists(x, x.{name}({part}))`"),
                };
                self.refuse(node, format!("`{}` is for texts; this is a list", call.func_name), hint)
            }
            other => {
                let hint = "such as `issue.title.contains(\"crash\")`".to_owned();
                self.refuse(text, format!("here stands a text, not {}", other.name()), hint)
            }
        }
    }

    fn matches(&mut self, node: &IdedExpr, text: &IdedExpr, pattern: &IdedExpr) -> Option<Test> {
        let operand = self.expression(text)?;
        let operand = self.text_operand(node, operand, text, pattern)?;
        let Some(written) = text_of(pattern) else {
            return self.refuse(
                pattern,
                "`matches` takes a pattern in quotes",
                "such as \"^fix\"".to_owned(),
            );
        };
        // The pattern in lower case would be another pattern: `\S` is not `\s`.
        match Pattern::new(written, operand.caseless, &self.budget.kept) {
            Ok(compiled) => {
                let Some(left) = self.budget.pattern_bytes.checked_sub(compiled.size()) else {
                    let message = format!(
                        "the patterns up to here need more than the {} MiB that all of a policy may",
                        MAX_PATTERNS_BYTES / 1024 / 1024
                    );
                    let hint =
                        "take away repetitions such as {100}; `startsWith` and `contains` need no pattern"
                            .to_owned();
                    return self.refuse(pattern, message, hint);
                };
                self.budget.pattern_bytes = left;
                Some(Test::Matches { text: operand.it, pattern: Arc::new(compiled) })
            }
            Err(PatternError::TooLarge) => {
                let message = format!("the pattern needs more than {} KiB", MAX_PATTERN_BYTES / 1024);
                self.refuse(pattern, message, "take away repetitions such as {100}".to_owned())
            }
            Err(PatternError::Syntax(_)) => {
                let hint = "see https://docs.rs/regex/#syntax; \\ is written \\\\ in a text, or the text begins with r: r\"\\d\"".to_owned();
                self.refuse(pattern, "the pattern is not a regular expression", hint)
            }
        }
    }

    fn duration(&mut self, node: &IdedExpr, argument: &IdedExpr) -> Option<Typed<Term>> {
        let Some(text) = text_of(argument) else {
            return self.refuse(
                node,
                "`duration` takes a text in quotes",
                "such as duration(\"24h\")".to_owned(),
            );
        };
        match duration::of_cel(text) {
            Ok(duration) => Some(Typed::new(Term::Duration(duration), Type::Duration)),
            Err(problem) => {
                let span = self.span(argument);
                self.problems.push(Problem { span, ..problem });
                None
            }
        }
    }

    fn timestamp(&mut self, node: &IdedExpr, argument: &IdedExpr) -> Option<Typed<Term>> {
        let Some(text) = text_of(argument) else {
            let hint =
                "such as timestamp(\"2026-11-21T16:00:00Z\"); fields such as issue.due_at are times already"
                    .to_owned();
            return self.refuse(node, "`timestamp` takes a text in quotes", hint);
        };
        let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        match time.filter(|time| (1..=9999).contains(&time.year())) {
            Some(time) => Some(Typed::new(Term::Time(time), Type::Time)),
            None => {
                let hint = "such as \"2026-11-21T16:00:00Z\"".to_owned();
                self.refuse(argument, "this is not a time", hint)
            }
        }
    }

    fn unknown(&mut self, node: &IdedExpr, name: &str) -> Option<Lowered> {
        if FUNCTIONS.contains(&name) {
            let usage = match name {
                "size" => "`size(issue.labels)`",
                "timestamp" => "`timestamp(\"2026-11-21T16:00:00Z\")`",
                "duration" => "`duration(\"24h\")`",
                "exists" | "all" => "`issue.labels.exists(label, label.startsWith(\"area/\"))`",
                "matches" => "`issue.title.matches(\"^fix\")`",
                _ => "`issue.title.contains(\"crash\")`",
            };
            return self.refuse(node, format!("`{name}` is used otherwise"), format!("such as {usage}"));
        }
        match name {
            op::INDEX => {
                let hint = "ask for an element with `in`, or with `exists`".to_owned();
                self.refuse(node, "an element cannot be taken by its place", hint)
            }
            op::MULTIPLY | op::DIVIDE | op::MODULO => {
                let hint = "times and durations are added and taken away with + and -".to_owned();
                self.refuse(node, "*, / and % are not part of the language", hint)
            }
            "lowerAscii" | "toLowerCase" | "lower" | "upper" | "upperAscii" => {
                let hint =
                    "labels and priorities compare without regard to case; elsewhere `matches(\"(?i)…\")`"
                        .to_owned();
                self.refuse(node, format!("unknown function {}", quoted(name)), hint)
            }
            _ => {
                let synonym = SYNONYMS.iter().find(|(other, _)| *other == name);
                let hint = synonym
                    .map(|(_, known)| format!("did you mean `{known}`?"))
                    .or_else(|| did_you_mean(name, FUNCTIONS.iter().copied()))
                    .unwrap_or_else(|| format!("there are {}", FUNCTIONS.join(", ")));
                self.refuse(node, format!("unknown function {}", quoted(name)), hint)
            }
        }
    }
}

fn flatten<'n>(node: &'n IdedExpr, operator: &str, operands: &mut Vec<&'n IdedExpr>) {
    match &node.expr {
        Expr::Call(call) if call.func_name == operator => {
            call.args.iter().for_each(|arg| flatten(arg, operator, operands));
        }
        _ => operands.push(node),
    }
}
