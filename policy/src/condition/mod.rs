//! Conditions: CEL, parsed and evaluated by the `cel` crate, behind one type.
//!
//! No text can bring the process down: a condition has at most [`MAX_BYTES`], its parser's recursion and the depth of its
//! tree are bounded, and it is parsed on a thread with a large stack (see [`crate::load`]), because both the parser
//! and the tree's destructor recurse. The cost of one evaluation is bounded when it is loaded ([`check`]).
//!
//! The language is a subset of CEL: logic, comparison, `in`, `? :`, `+` and `-`, `size`, `startsWith`, `endsWith`,
//! `contains`, `matches` with a literal, `timestamp` and `duration` with literals, `exists` and `all` over lists.
//! Everything else is refused when it is loaded.
//!
//! Evaluation is three-valued, as CEL has it: true, false, error. An error (say, an order between null and a time) is
//! absorbed by `||` with true and by `&&` with false.
//!
//! Labels and priorities compare without regard to case: their values are in lower case here, and whatever they are
//! compared with is brought to lower case too, literals when the condition is loaded.

mod check;
pub(crate) mod field;
mod problem;
mod view;

use cel::{IdedExpr, Value, parser::Parser};
pub(crate) use problem::Problem;
pub(crate) use view::View;

use crate::rule::At;

/// The longest condition.
pub(crate) const MAX_BYTES: usize = 8 * 1024;
/// How deep the parser may recurse.
const MAX_RECURSION: u16 = 32;

/// A condition over `issue`, `event` and `now`.
#[derive(Debug)]
pub(crate) struct Condition {
    tree: IdedExpr,
    reads_event: bool,
}

impl Condition {
    /// Parses and checks. Call it on a thread with a large stack.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let (mut tree, positions) = parse(text)?;
        let checked = check::check(&mut tree, &positions);
        if checked.problems.is_empty() {
            Ok(Self { tree, reads_event: checked.reads_event })
        } else {
            Err(checked.problems)
        }
    }

    /// Whether the condition reads `event`.
    pub(crate) fn reads_event(&self) -> bool {
        self.reads_event
    }

    /// Whether it holds; `None` when it cannot be said (an error, or a value that is not a truth value).
    pub(crate) fn holds(&self, view: &View) -> Option<bool> {
        match Value::resolve(&self.tree, view.context()) {
            Ok(Value::Bool(holds)) => Some(holds),
            _ => None,
        }
    }
}

/// `at`: a field of `issue` that is a time, with durations added or taken away.
pub(crate) fn parse_at(text: &str) -> Result<At, Vec<Problem>> {
    let (tree, positions) = parse(text)?;
    check::at(&tree, &positions).map_err(|problem| vec![problem])
}

fn parse(text: &str) -> Result<(IdedExpr, check::Positions), Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![Problem::new(None, format!("an expression may have at most {MAX_BYTES} bytes"))]);
    }
    if text.trim().is_empty() {
        return Err(vec![Problem::new(None, "the expression is empty")]);
    }
    match Parser::new().max_recursion_depth(MAX_RECURSION).parse_with_source_info(text) {
        Ok(parsed) => Ok(parsed),
        Err(errors) => Err(vec![Problem::syntax(text, errors)]),
    }
}
