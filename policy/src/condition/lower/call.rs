//! Operators and functions.

use std::ops::Range;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, operators as op},
};
use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{Lowered, Lowering, Typed, hint, text_of};
use crate::{
    condition::{
        MAX_DEPTH, Problem,
        expr::{Comparison, Formula, Logic, Method, Term, Test},
        field::{Field, Type, fields_of},
        function::{self, Function},
        pattern::{MAX_PATTERN_BYTES, MAX_PATTERN_WORK, MAX_PATTERNS_BYTES, MAX_PATTERNS_WORK, PatternError},
        slip,
    },
    diagnostic::{did_you_mean, quoted},
    load::duration,
};

/// Extensions of CEL whose functions are called by their name.
const EXTENSIONS: &[&str] =
    &["math", "sets", "strings", "lists", "optional", "base64", "cel", "proto", "regex", "ip", "cidr"];

impl Lowering<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Option<Lowered> {
        let args = call.args.as_slice();
        let name = call.func_name.as_str();
        let test = |test: Option<Test>| test.map(Logic::Test);
        let logic = match (name, call.target.as_deref(), args) {
            (op::LOGICAL_AND, None, [_, ..]) => self.parts(node, op::LOGICAL_AND).map(Logic::And),
            (op::LOGICAL_OR, None, [_, ..]) => self.parts(node, op::LOGICAL_OR).map(Logic::Or),
            (op::LOGICAL_NOT, None, [inner]) => {
                self.formula_or(inner, true).map(|inner| Logic::Not(Box::new(inner)))
            }
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
                let hint = "a duration is written `duration(\"-24h\")`".to_owned();
                return self.refuse(
                    node,
                    "`-` stands before a number that is written out, or between times",
                    hint,
                );
            }
            ("size", None, [of]) | ("size", Some(of), []) => return self.size(of).map(Lowered::Term),
            ("duration", None, [text]) => return self.duration(text).map(Lowered::Term),
            ("timestamp", None, [text]) => return self.timestamp(text).map(Lowered::Term),
            _ => return self.unknown(node, call),
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
        if self.is_bare_text(node) {
            return self.bare_text(node);
        }
        if let Some(length) = slip::date_at(self.written(node))
            && length == self.written(node).len()
        {
            let hint = format!("write `timestamp(\"{}\")`", slip::whole_time(self.written(node)));
            return self.refuse(node, "a time stands in quotes", hint);
        }
        let (a, b) = (self.term(left), self.term(right));
        let (a, b) = (a?, b?);
        let value_type = match (a.value_type, b.value_type) {
            (Some(Type::Time), Some(Type::Duration)) => Type::Time,
            (Some(Type::Duration), Some(Type::Time)) if !minus => Type::Time,
            (Some(Type::Time), Some(Type::Time)) if minus => Type::Duration,
            (Some(Type::Duration), Some(Type::Duration)) => Type::Duration,
            (Some(Type::Text), Some(Type::Text)) => {
                let hint =
                    "write it as one text, or ask with `startsWith`, `endsWith` and `contains`".to_owned();
                return self.refuse(node, "texts are not joined", hint);
            }
            (Some(Type::Int), Some(Type::Int)) => {
                let hint = "write the result; `+` and `-` are for times and durations".to_owned();
                return self.refuse(node, "numbers are not calculated with", hint);
            }
            (x, y) => {
                let name = |it: Option<Type>| it.map_or("null", Type::name);
                let (symbol, x, y) = (if minus { "-" } else { "+" }, name(x), name(y));
                let (left, right) = (self.brief(left, "…"), self.brief(right, "…"));
                let hint = hint::for_sum((&a, &left), (&b, &right), if minus { "-" } else { "+" });
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
                let message = format!("a text or a list has a size, not {}", other.name());
                return self.refuse(of, message, hint);
            }
        };
        Some(Typed::new(it, Type::Int))
    }

    fn method(&mut self, method: Method, node: &IdedExpr, text: &IdedExpr, part: &IdedExpr) -> Option<Test> {
        let (a, b) = (self.expression(text), self.term(part));
        let (a, b) = (self.text_operand(node, a?, text, part)?, b?);
        if b.value_type != Some(Type::Text) {
            let message = format!("a text belongs here, not {}", b.value_type.map_or("null", Type::name));
            return self.refuse(part, message, "text stands in quotes".to_owned());
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
            Lowered::List(_) => {
                let (written, part) = (self.brief(text, "issue.labels"), self.brief(part, "\"…\""));
                let Expr::Call(call) = &node.expr else { return None };
                let hint = match call.func_name.as_str() {
                    "contains" => format!("write `{part} in {written}`"),
                    name => format!("write `{written}.exists(x, x.{name}({part}))`"),
                };
                self.refuse(node, format!("`{}` looks into a text, not into a list", call.func_name), hint)
            }
            other => {
                let hint = "such as `issue.title.contains(\"crash\")`".to_owned();
                self.refuse(text, format!("a text belongs here, not {}", other.name()), hint)
            }
        }
    }

    fn matches(&mut self, node: &IdedExpr, text: &IdedExpr, pattern: &IdedExpr) -> Option<Test> {
        let operand = self.expression(text)?;
        let operand = self.text_operand(node, operand, text, pattern)?;
        let Some(written) = text_of(pattern) else {
            return self.refuse(
                pattern,
                "`matches` takes a pattern that is written out",
                "such as \"^fix\"".to_owned(),
            );
        };
        // The pattern in lower case would be another pattern: `\S` is not `\s`.
        match self.budget.patterns.get(written, operand.caseless) {
            Ok(compiled) => Some(Test::Matches { text: operand.it, pattern: compiled }),
            Err(PatternError::TooMany) => {
                let message = format!(
                    "the patterns up to here need more than the {} MiB that all of a policy may",
                    MAX_PATTERNS_BYTES / 1024 / 1024
                );
                let hint = "take away repetitions such as {100}; `startsWith` and `contains` need no pattern"
                    .to_owned();
                self.refuse(pattern, message, hint)
            }
            Err(PatternError::TooLarge) => {
                let message = format!("the pattern needs more than {} KiB", MAX_PATTERN_BYTES / 1024);
                self.refuse(pattern, message, "take away repetitions such as {100}".to_owned())
            }
            Err(error @ (PatternError::TooMuchWork | PatternError::TooMuchWorkTogether)) => {
                let (what, limit) = match error {
                    PatternError::TooMuchWork => ("the pattern takes", MAX_PATTERN_WORK),
                    _ => ("the patterns up to here take", MAX_PATTERNS_WORK),
                };
                let message = format!("{what} more than {limit} steps to be compiled");
                let hint =
                    "take away `(?i)` before wide classes, `\\p{…}`, and operations on classes".to_owned();
                self.refuse(pattern, message, hint)
            }
            Err(PatternError::Syntax { at, why }) => {
                let span = self.span(pattern).map(|span| self.within(span, written, at));
                let hint = "see https://docs.rs/regex/#syntax; `\\` is written `\\\\` in a text, or the text begins with r: r\"\\d\"";
                let (message, hint) = why.unwrap_or(("the pattern is not a regular expression", hint));
                self.problems.push(Problem::new(span, message).hint(hint));
                None
            }
        }
    }

    /// The place in a text that is written out, where it is written as it is; else the text's.
    fn within(&self, span: Range<usize>, text: &str, at: Option<usize>) -> Range<usize> {
        let literal = self.places.text().get(span.clone()).unwrap_or_default();
        match (literal.find(text).filter(|_| !text.is_empty()), at) {
            (Some(begin), Some(at)) => {
                let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
                let start = span.start + begin + at;
                start..start + length
            }
            _ => span,
        }
    }

    fn duration(&mut self, argument: &IdedExpr) -> Option<Typed<Term>> {
        let Some(text) = text_of(argument) else {
            let hint = "such as `duration(\"24h\")`".to_owned();
            return self.refuse(argument, "`duration` takes a text that is written out", hint);
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

    fn timestamp(&mut self, argument: &IdedExpr) -> Option<Typed<Term>> {
        let Some(text) = text_of(argument) else {
            let hint = "such as `timestamp(\"2026-11-21T16:00:00Z\")`; fields such as `issue.due_at` are times already";
            return self.refuse(argument, "`timestamp` takes a text that is written out", hint.to_owned());
        };
        let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        let Some(time) = time else {
            let hint = match slip::date_at(text.get(..10).unwrap_or_default()) {
                Some(_) => format!("with the time of day and the zone: \"{}\"", slip::whole_time(text)),
                None => "such as \"2026-11-21T16:00:00Z\"".to_owned(),
            };
            return self.refuse(argument, "this is not a time", hint);
        };
        // A leap second at the end of the last year is beyond it.
        let last = time.year() == 9999 && time.nanosecond() >= 1_000_000_000;
        if last || !(1..=9999).contains(&time.year()) {
            return self.refuse(argument, "a time is within the years 1 to 9999, UTC", None);
        }
        Some(Typed::new(Term::Time(time), Type::Time))
    }

    fn unknown(&mut self, node: &IdedExpr, call: &CallExpr) -> Option<Lowered> {
        let name = call.func_name.as_str();
        match name {
            op::INDEX => {
                let root = call.args.first().map(|of| &of.expr);
                let key = call.args.get(1).and_then(text_of);
                let hint = match (root, key) {
                    (Some(Expr::Ident(root)), Some(key)) if fields_of(root).next().is_some() => {
                        let written = format!("{root}.{key}");
                        format!("write {}", quoted(&written))
                    }
                    _ => "ask for an element with `in`, or with `exists`".to_owned(),
                };
                return self.refuse(node, "`[…]` takes no element out of something", hint);
            }
            op::MULTIPLY | op::DIVIDE | op::MODULO if self.is_bare_text(node) => return self.bare_text(node),
            op::MULTIPLY | op::DIVIDE | op::MODULO => {
                let hint =
                    "write the result: a day is `duration(\"24h\")`, two are `duration(\"48h\")`".to_owned();
                return self.refuse(
                    node,
                    format!("`{}` is not part of the language", name.trim_matches('_')),
                    hint,
                );
            }
            _ => {}
        }
        if let Some(Expr::Ident(root)) = call.target.as_deref().map(|target| &target.expr)
            && EXTENSIONS.contains(&root.as_str())
            && !self.is_variable(root)
        {
            return self.refuse(
                node,
                format!("the extension `{root}` is not part of the language"),
                there_are(),
            );
        }
        if let Some(function) = function::find(name) {
            let hint = self.usage(call, function);
            return self.refuse(node, format!("`{name}` is not used like this"), hint);
        }
        if name == "now" {
            return self.refuse(node, "`now` is a time, not a function", "write `now`".to_owned());
        }
        if let Some(hint) = function::elsewhere(name) {
            return self.refuse(
                node,
                format!("{} is not part of the language", quoted(name)),
                hint.to_owned(),
            );
        }
        let hint = function::synonym(name)
            .map(|function| format!("write `{}`, such as `{}`", function.form, function.example))
            .or_else(|| did_you_mean(name, function::names()))
            .unwrap_or_else(there_are);
        self.refuse(node, format!("unknown function {}", quoted(name)), hint)
    }

    /// How a function is used, shown on what was written.
    fn usage(&self, call: &CallExpr, function: &Function) -> String {
        let is_list = |node: &IdedExpr| match &node.expr {
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) => {
                    Field::find(root, &select.field).is_some_and(|field| field.spec().is_list)
                }
                _ => false,
            },
            _ => false,
        };
        let written = |node| self.brief(node, "…");
        match (function.name, call.target.as_deref(), call.args.as_slice()) {
            ("contains", None, [of, part]) if is_list(of) => {
                format!("write `{} in {}`", written(part), written(of))
            }
            ("startsWith" | "endsWith" | "contains" | "matches", None, [of, part]) => {
                format!("it stands after a dot: `{}.{}({})`", written(of), function.name, written(part))
            }
            ("exists", Some(of), [part]) => format!("write `{} in {}`", written(part), written(of)),
            (_, Some(of), []) if matches!(function.name, "timestamp" | "duration") => {
                format!("write `{}({})`", function.name, written(of))
            }
            _ => format!("write `{}`, such as `{}`", function.form, function.example),
        }
    }

    /// Whether it is a text whose quotes are missing: unknown words, with numbers and signs of arithmetic between them.
    fn is_bare_text(&self, node: &IdedExpr) -> bool {
        fn words(node: &IdedExpr, known: &impl Fn(&str) -> bool, depth: usize) -> Option<usize> {
            match &node.expr {
                // `issue` is no value by itself: it can only be part of a word.
                Expr::Ident(name) if fields_of(name).next().is_some() => Some(0),
                Expr::Ident(name) if !known(name) => Some(1),
                Expr::Literal(LiteralValue::Int(_)) => Some(0),
                Expr::Call(call) if depth < MAX_DEPTH && call.target.is_none() => {
                    let signs = [op::ADD, op::SUBSTRACT, op::MULTIPLY, op::DIVIDE, op::MODULO];
                    let is_sign = signs.contains(&call.func_name.as_str());
                    let parts = call.args.iter().filter(|_| is_sign).map(|arg| words(arg, known, depth + 1));
                    if is_sign { parts.sum() } else { None }
                }
                _ => None,
            }
        }
        let known = |name: &str| name == "now" || self.is_variable(name) || is_a_field(name);
        words(node, &known, 0).is_some_and(|words| words > 0)
    }

    fn bare_text<T>(&mut self, node: &IdedExpr) -> Option<T> {
        let hint = format!("write \"{}\"", self.brief(node, "…"));
        self.refuse(node, "text stands in quotes", hint)
    }
}

/// `due_at` for `issue.due_at`: no text.
fn is_a_field(name: &str) -> bool {
    ["issue", "event"].into_iter().any(|root| Field::find(root, name).is_some())
}

fn there_are() -> String {
    let names: Vec<_> = function::names().collect();
    format!("there are {}", names.join(", "))
}

fn flatten<'n>(node: &'n IdedExpr, operator: &str, operands: &mut Vec<&'n IdedExpr>) {
    match &node.expr {
        Expr::Call(call) if call.func_name == operator => {
            call.args.iter().for_each(|arg| flatten(arg, operator, operands));
        }
        _ => operands.push(node),
    }
}
