//! One walk over a parsed condition: refuses what lies outside the language, bounds the cost of an evaluation, and brings
//! to lower case what is compared with labels and priorities.

use std::{collections::HashSet, mem};

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SourceInfo, operators as op},
};
use chrono::{DateTime, TimeDelta};

use super::{
    Problem,
    field::{self, FieldType},
    view::TO_LOWER,
};
use crate::{
    diagnostic::{did_you_mean, quoted},
    load::duration,
    rule::At,
    state::MAX_LIST,
};

/// Where each node of the tree stands.
pub(super) type Positions = SourceInfo;

/// How deep a condition's tree may be; evaluation recurses on whatever thread decides.
const MAX_DEPTH: usize = 48;
/// The most steps that one evaluation may take when every list is as long as it can be.
const MAX_COST: u64 = 1 << 20;
/// The steps that compiling and running a regular expression is counted as.
const MATCH_COST: u64 = 2048;
/// The size of a compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 256 * 1024;

const FUNCTIONS: &[&str] =
    &["size", "startsWith", "endsWith", "contains", "matches", "timestamp", "duration", "exists", "all"];

/// What the walk found.
pub(super) struct Checked {
    pub(super) reads_event: bool,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn check(tree: &mut IdedExpr, positions: &Positions) -> Checked {
    let mut walk =
        Walk { positions, scope: Vec::new(), reads_event: false, too_deep: false, problems: Vec::new() };
    let shape = walk.expression(tree, 0);
    if walk.problems.is_empty() && shape.cost > MAX_COST {
        walk.problems.push(
            Problem::new(
                None,
                format!("the condition can take {} steps; {MAX_COST} is the limit", shape.cost),
            )
            .hint("nest `exists` and `all` less deeply, or split the rule"),
        );
    }
    Checked { reads_event: walk.reads_event, problems: walk.problems }
}

/// What the walk knows of a sub-expression.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// Its strings are in lower case and compare without regard to case.
    caseless: bool,
    /// Steps that evaluating it can take.
    cost: u64,
    /// The most elements it can have, when it is known to be a list.
    list: Option<u64>,
}

struct Walk<'a> {
    positions: &'a Positions,
    /// Variables of `exists` and `all`, innermost last, and whether they are caseless.
    scope: Vec<(String, bool)>,
    reads_event: bool,
    too_deep: bool,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn place(&self, node: &IdedExpr) -> Option<usize> {
        start_of(self.positions, node)
    }

    fn refuse(
        &mut self,
        node: &IdedExpr,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Shape {
        let problem = Problem::new(self.place(node).map(|at| at..at), message).maybe_hint(hint.into());
        self.problems.push(problem);
        Shape::default()
    }

    fn expression(&mut self, node: &mut IdedExpr, depth: usize) -> Shape {
        if depth > MAX_DEPTH {
            if !mem::replace(&mut self.too_deep, true) {
                let problem = Problem::new(None, "the expression nests too deeply")
                    .hint(format!("at most {MAX_DEPTH} levels; split the rule"));
                self.problems.push(problem);
            }
            return Shape::default();
        }
        // Taken out, so that a problem can be placed at the node while its parts are being changed.
        let mut expr = mem::take(&mut node.expr);
        let mut shape = match &mut expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                self.refuse(node, "bytes cannot be compared with anything", "write a string".to_owned())
            }
            Expr::Literal(_) => Shape::default(),
            Expr::Ident(name) => self.name(node, name),
            Expr::Select(select) => {
                let root = match &select.operand.expr {
                    Expr::Ident(root) if !self.is_variable(root) => Some(root.clone()),
                    _ => None,
                };
                match root {
                    Some(root) if select.test => {
                        let hint =
                            format!("every field is always there: write `{root}.{} != null`", select.field);
                        self.refuse(node, "`has` is not part of the language", hint)
                    }
                    Some(root) => self.field(node, &root, &select.field),
                    None => {
                        let message = format!("a value has no field {}", quoted(&select.field));
                        self.refuse(node, message, did_you_mean_method(&select.field))
                    }
                }
            }
            Expr::Call(call) => self.call(node, call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension, depth),
            Expr::List(list) => {
                let shapes: Vec<_> =
                    list.elements.iter_mut().map(|element| self.expression(element, depth + 1)).collect();
                let caseless = shapes.iter().any(|shape| shape.caseless);
                if caseless {
                    list.elements.iter_mut().zip(&shapes).for_each(|(element, shape)| lower(element, *shape));
                }
                Shape { caseless, cost: total(&shapes), list: Some(list.elements.len() as u64) }
            }
            Expr::Map(_) | Expr::Struct(_) => {
                self.refuse(node, "maps are not part of the language", "compare fields one by one".to_owned())
            }
            Expr::Unspecified => self.refuse(node, "this is not an expression", None),
        };
        node.expr = expr;
        shape.cost = shape.cost.saturating_add(1);
        shape
    }

    fn is_variable(&self, name: &str) -> bool {
        self.scope.iter().any(|(variable, _)| variable == name)
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Shape {
        if let Some((_, caseless)) = self.scope.iter().rev().find(|(variable, _)| variable == name) {
            return Shape { caseless: *caseless, ..Shape::default() };
        }
        match name {
            "now" => Shape::default(),
            "issue" | "event" => {
                let hint = format!("name one of its fields, such as `{name}.{}`", first_field(name));
                self.refuse(node, format!("`{name}` is not a value by itself"), hint)
            }
            _ => {
                let known = ["issue", "event", "now", "true", "false", "null"];
                let hint =
                    did_you_mean(name, known.into_iter().chain(self.scope.iter().map(|(name, _)| &**name)))
                        .unwrap_or_else(|| {
                            "a condition reads `issue`, `event` and `now`; text stands in quotes".into()
                        });
                self.refuse(node, format!("unknown name {}", quoted(name)), hint)
            }
        }
    }

    fn field(&mut self, node: &IdedExpr, root: &str, name: &str) -> Shape {
        let Some(fields) = field::fields_of(root) else {
            if root == "now" {
                return self.refuse(node, "`now` is a time and has no fields", None);
            }
            let hint = did_you_mean(root, ["issue", "event", "now"]);
            return self.refuse(node, format!("unknown name {}", quoted(root)), hint);
        };
        self.reads_event |= root == "event";
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let hint = did_you_mean(name, fields.iter().map(|field| field.name))
                .map(|hint| hint.replacen('`', &format!("`{root}."), 1))
                .or_else(|| other_root(root, name))
                .unwrap_or_else(|| {
                    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
                    format!("`{root}` has {}", names.join(", "))
                });
            return self.refuse(node, format!("unknown field {}", quoted(&format!("{root}.{name}"))), hint);
        };
        Shape {
            caseless: field.caseless,
            cost: 0,
            list: (field.field_type == FieldType::List).then_some(MAX_LIST as u64),
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &mut CallExpr, depth: usize) -> Shape {
        let arity = call.args.len() + usize::from(call.target.is_some());
        match (call.func_name.as_str(), call.target.is_some(), arity) {
            (op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT | op::SUBSTRACT | op::NEGATE, false, _) => {
                Shape { cost: total(&self.operands(call, depth)), ..Shape::default() }
            }
            (op::ADD, false, 2) => {
                let shapes = self.operands(call, depth);
                let caseless = shapes.iter().any(|shape| shape.caseless);
                if caseless {
                    call.args.iter_mut().zip(&shapes).for_each(|(operand, shape)| lower(operand, *shape));
                }
                Shape { caseless, cost: total(&shapes), list: None }
            }
            (op::CONDITIONAL, false, 3) => {
                let shapes = self.operands(call, depth);
                // Both branches speak the same way, so that what they are compared with needs to know only one.
                let caseless = shapes.iter().skip(1).any(|shape| shape.caseless);
                if caseless {
                    call.args
                        .iter_mut()
                        .zip(&shapes)
                        .skip(1)
                        .for_each(|(branch, shape)| lower(branch, *shape));
                }
                Shape { caseless, cost: total(&shapes), list: None }
            }
            (
                op::EQUALS
                | op::NOT_EQUALS
                | op::LESS
                | op::LESS_EQUALS
                | op::GREATER
                | op::GREATER_EQUALS
                | op::IN,
                false,
                2,
            )
            | ("startsWith" | "endsWith" | "contains", true, 2) => {
                let shapes = self.operands(call, depth);
                if shapes.iter().any(|shape| shape.caseless) {
                    let operands = call.target.as_deref_mut().into_iter().chain(&mut call.args);
                    operands.zip(&shapes).for_each(|(operand, shape)| lower(operand, *shape));
                }
                let longest = shapes.iter().filter_map(|shape| shape.list).max().unwrap_or(1);
                Shape { cost: total(&shapes).saturating_add(longest), ..Shape::default() }
            }
            ("size", _, 1) => Shape { cost: total(&self.operands(call, depth)), ..Shape::default() },
            ("matches", true, 2) => {
                let shapes = self.operands(call, depth);
                if let Some(pattern) = call.args.first_mut() {
                    self.pattern(pattern, shapes.first().is_some_and(|shape| shape.caseless));
                }
                Shape { cost: total(&shapes).saturating_add(MATCH_COST), ..Shape::default() }
            }
            ("duration" | "timestamp", false, 1) => {
                let Some(argument) = call.args.first() else { return Shape::default() };
                let refused = match literal(argument) {
                    None => Some(Problem::new(None, format!("`{}` takes text in quotes", call.func_name))),
                    Some(text) if call.func_name == "duration" => duration::of_cel(text).err(),
                    Some(text) => (!is_timestamp(text)).then(|| {
                        Problem::new(None, "this is not a time").hint("such as \"2026-11-21T16:00:00Z\"")
                    }),
                };
                if let Some(problem) = refused {
                    let offset = self.place(argument);
                    self.problems.push(Problem { span: offset.map(|at| at..at), ..problem });
                }
                Shape::default()
            }
            (name, _, _) if FUNCTIONS.contains(&name) => {
                let usage = match name {
                    "size" => "`size(issue.labels)`",
                    "timestamp" => "`timestamp(\"2026-11-21T16:00:00Z\")`",
                    "duration" => "`duration(\"24h\")`",
                    "exists" | "all" => "`issue.labels.exists(label, label.startsWith(\"area/\"))`",
                    "matches" => "`issue.title.matches(\"^fix\")`",
                    _ => "`issue.title.contains(\"crash\")`",
                };
                self.refuse(node, format!("`{name}` is used otherwise"), format!("such as {usage}"))
            }
            (op::INDEX, ..) => {
                let hint = "ask for an element with `in`, or with `exists`".to_owned();
                self.refuse(node, "an element cannot be taken by its place", hint)
            }
            (op::MULTIPLY | op::DIVIDE | op::MODULO, ..) => {
                let hint = "times and durations are added and taken away with + and -".to_owned();
                self.refuse(node, "*, / and % are not part of the language", hint)
            }
            (name, ..) => {
                let hint = did_you_mean(name, FUNCTIONS.iter().copied())
                    .unwrap_or_else(|| format!("there are {}", FUNCTIONS.join(", ")));
                self.refuse(node, format!("unknown function {}", quoted(name)), hint)
            }
        }
    }

    /// The shapes of a call's target, where it has one, and arguments.
    fn operands(&mut self, call: &mut CallExpr, depth: usize) -> Vec<Shape> {
        let operands = call.target.as_deref_mut().into_iter().chain(&mut call.args);
        operands.map(|operand| self.expression(operand, depth + 1)).collect()
    }

    fn pattern(&mut self, node: &mut IdedExpr, caseless: bool) {
        let Some(pattern) = literal(node) else {
            self.refuse(node, "`matches` takes a pattern in quotes", None);
            return;
        };
        // Lower case would turn `\S` into `\s`.
        let pattern = if caseless { format!("(?i){pattern}") } else { pattern.to_owned() };
        match regex::RegexBuilder::new(&pattern).size_limit(MAX_REGEX_BYTES).build() {
            Ok(_) => node.expr = Expr::Literal(LiteralValue::String(pattern.into())),
            Err(regex::Error::CompiledTooBig(_)) => {
                let hint = "take away repetitions such as {100}".to_owned();
                self.refuse(node, format!("the pattern needs more than {MAX_REGEX_BYTES} bytes"), hint);
            }
            Err(_) => {
                let hint = "see https://docs.rs/regex/#syntax; \\ is written \\\\ in a CEL string".to_owned();
                self.refuse(node, "the pattern is not a regular expression", hint);
            }
        }
    }

    fn comprehension(&mut self, node: &IdedExpr, it: &mut ComprehensionExpr, depth: usize) -> Shape {
        let kind = match (&it.accu_init.expr, &mut it.loop_step.expr) {
            (Expr::Literal(LiteralValue::Boolean(_)), Expr::Call(step)) => step.args.get_mut(1),
            _ => None,
        };
        let (Some(body), None) = (kind, &it.iter_var2) else {
            let hint = "write `exists` or `all`".to_owned();
            return self.refuse(node, "of the functions over lists there are only `exists` and `all`", hint);
        };
        let range = self.expression(&mut it.iter_range, depth + 1);
        let Some(length) = range.list else {
            let hint = "such as `issue.labels`, or [\"a\", \"b\"]".to_owned();
            let problem = Problem::new(
                self.place(&it.iter_range).map(|at| at..at),
                "`exists` and `all` go over a list field or a list",
            );
            self.problems.push(problem.hint(hint));
            return Shape::default();
        };
        if field::fields_of(&it.iter_var).is_some() || it.iter_var == "now" || self.is_variable(&it.iter_var)
        {
            let message = format!("{} is already the name of something else", quoted(&it.iter_var));
            return self.refuse(node, message, "choose another name for the element".to_owned());
        }
        self.scope.push((it.iter_var.clone(), range.caseless));
        let body = self.expression(body, depth + 1);
        self.scope.pop();
        let cost = range.cost.saturating_add(length.saturating_mul(body.cost.saturating_add(3)));
        Shape { cost, ..Shape::default() }
    }
}

/// `at`: a time of the issue, plus or minus durations.
pub(super) fn at(tree: &IdedExpr, positions: &Positions) -> Result<At, Problem> {
    let refuse = |node: &IdedExpr| {
        Problem::new(
            start_of(positions, node).map(|at| at..at),
            "`at` is a time of the issue, plus or minus a duration",
        )
        .hint("such as `issue.due_at` or `issue.due_at - duration(\"24h\")`")
    };
    // From the outside in: the parser nests sums to the left.
    let (mut node, mut shift) = (tree, TimeDelta::zero());
    loop {
        match &node.expr {
            Expr::Select(select)
                if !select.test && matches!(&select.operand.expr, Expr::Ident(root) if root == "issue") =>
            {
                return match field::find("issue", &select.field).map(|field| field.field_type) {
                    Some(FieldType::Time(field)) => Ok(At { field, shift }),
                    Some(_) => Err(Problem::new(
                        start_of(positions, node).map(|at| at..at),
                        format!("{} is not a time", quoted(&format!("issue.{}", select.field))),
                    )
                    .hint("times are issue.created_at, issue.updated_at and issue.due_at")),
                    None => {
                        let known = field::ISSUE.iter().map(|field| field.name);
                        let hint =
                            did_you_mean(&select.field, known).map(|hint| hint.replacen('`', "`issue.", 1));
                        let field = quoted(&format!("issue.{}", select.field));
                        Err(Problem::new(
                            start_of(positions, node).map(|at| at..at),
                            format!("unknown field {field}"),
                        )
                        .maybe_hint(hint))
                    }
                };
            }
            Expr::Call(sum) if matches!(sum.func_name.as_str(), op::ADD | op::SUBSTRACT) => {
                let [left, right] = sum.args.as_slice() else { return Err(refuse(node)) };
                let Expr::Call(call) = &right.expr else { return Err(refuse(right)) };
                let ("duration", [argument]) = (call.func_name.as_str(), call.args.as_slice()) else {
                    return Err(refuse(right));
                };
                let text = literal(argument).ok_or_else(|| refuse(right))?;
                let by = duration::of_cel(text).map_err(|problem| Problem {
                    span: start_of(positions, argument).map(|at| at..at),
                    ..problem
                })?;
                let sum =
                    if sum.func_name == op::ADD { shift.checked_add(&by) } else { shift.checked_sub(&by) };
                (node, shift) = (left, sum.ok_or_else(|| refuse(right))?);
            }
            _ => return Err(refuse(node)),
        }
    }
}

/// Brings the strings of an operand to lower case: literals now, everything else when it is evaluated.
fn lower(node: &mut IdedExpr, shape: Shape) {
    match &mut node.expr {
        Expr::Literal(LiteralValue::String(text)) => *text = text.inner().to_lowercase().into(),
        Expr::Literal(_) => {}
        Expr::List(list) => list.elements.iter_mut().for_each(|element| lower(element, shape)),
        Expr::Call(call) if call.func_name == TO_LOWER => {}
        _ if shape.caseless => {}
        _ => {
            let inner = mem::take(node);
            node.id = inner.id;
            node.expr =
                Expr::Call(CallExpr { func_name: TO_LOWER.to_owned(), target: None, args: vec![inner] });
        }
    }
}

fn total(shapes: &[Shape]) -> u64 {
    shapes.iter().fold(0, |sum, shape| sum.saturating_add(shape.cost))
}

fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn is_timestamp(text: &str) -> bool {
    use chrono::Datelike;
    DateTime::parse_from_rfc3339(text).is_ok_and(|time| (1..=9999).contains(&time.year()))
}

fn first_field(root: &str) -> &'static str {
    if root == "event" { "type" } else { "labels" }
}

/// A field of that name in the other of `issue` and `event`.
fn other_root(root: &str, name: &str) -> Option<String> {
    let other = if root == "issue" { "event" } else { "issue" };
    field::find(other, name).map(|_| format!("did you mean `{other}.{name}`?"))
}

fn did_you_mean_method(name: &str) -> Option<String> {
    FUNCTIONS.contains(&name).then(|| format!("it is called with parentheses: `{name}(…)`"))
}

/// Where an expression begins: the parser gives each node one token, an operator's own, so the first of its parts counts.
fn start_of(positions: &Positions, node: &IdedExpr) -> Option<usize> {
    let mut starts = HashSet::new();
    gather(positions, node, &mut starts, 0);
    starts.into_iter().min()
}

fn gather(positions: &Positions, node: &IdedExpr, starts: &mut HashSet<usize>, depth: usize) {
    if let Some((start, _)) = positions.offset_for(node.id) {
        starts.insert(start as usize);
    }
    if depth > MAX_DEPTH {
        return;
    }
    match &node.expr {
        Expr::Select(select) => gather(positions, &select.operand, starts, depth + 1),
        Expr::Call(call) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.for_each(|part| gather(positions, part, starts, depth + 1));
        }
        _ => {}
    }
}
