//! Conditions: a typed subset of CEL, parsed by the `cel` crate's parser, evaluated here.
//!
//! ```text
//!   text ──cel's parser──► syntax tree ──lower──► Formula ──eval──► true, false, error
//!                                        types, limits
//! ```
//!
//! No text can bring the process down: a condition has at most [`MAX_BYTES`], its parser's recursion and the depth of its
//! tree are bounded, and it is parsed on a thread with a large stack (see [`crate::load`]), because both the parser
//! and the tree's destructor recurse. What an evaluation can cost is bounded when it is loaded ([`Budget`]).
//!
//! The language: logic, comparison, `in`, `? :`, `+` and `-` on times and durations, `size`, `startsWith`, `endsWith`,
//! `contains`, `matches` with a literal, `timestamp` and `duration` with literals, `exists` and `all` over lists. Everything else
//! is refused when it is loaded. Operands have one type, null besides.
//!
//! Labels and priorities compare without regard to case ([`expr`]), which is wider than CEL. In everything else a
//! condition agrees with CEL, errors included (`tests/agreement.rs`). What is said of one that is refused stands in
//! [`slip`] (the parser's) and in [`lower`]; docs/policy.md is made from [`field`] and [`function`] (`doc.rs`).

mod at;
mod cost;
#[cfg(test)]
mod doc;
pub(crate) mod eval;
pub(crate) mod expr;
pub(crate) mod field;
mod function;
mod lower;
mod parts;
pub(crate) mod pattern;
mod problem;
mod slip;
mod span;
mod view;

use std::collections::HashMap;

pub(crate) use at::parse_at;
use cel::{IdedExpr, common::ast::SourceInfo, parser::Parser};
pub(crate) use eval::EvalError;
pub(crate) use expr::Formula;
pub(crate) use problem::Problem;
pub(crate) use view::View;

use crate::rule::At;

/// The longest condition.
pub(crate) const MAX_BYTES: usize = 8 * 1024;
/// How deep the parser may recurse.
const MAX_RECURSION: u16 = 32;
/// How deep a condition's tree may be.
const MAX_DEPTH: usize = 48;

/// The most words, signs and literals that the conditions of one policy have together; what was parsed before is not counted.
/// The parser takes 3 µs for each: reading them takes half a second at most.
const MAX_TOKENS: usize = 150_000;
/// What a character beyond ASCII counts as: the parser looks each of them up anew, which takes 8 µs.
const TOKENS_OF_WIDE_CHAR: usize = 3;

/// What the conditions of one policy may take together, and what they have in common.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Words, signs and literals.
    tokens: usize,
    patterns: pattern::Patterns,
    /// Steps of evaluation.
    steps: u64,
    parts: parts::Parts,
    /// Every `at`.
    times: HashMap<Box<str>, At>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: MAX_TOKENS,
            patterns: pattern::Patterns::default(),
            steps: cost::MAX_POLICY_STEPS,
            parts: parts::Parts::default(),
            times: HashMap::new(),
        }
    }
}

impl Budget {
    /// Parses a text of so many tokens. Call it on a thread with a large stack.
    fn parse(&mut self, text: &str, tokens: usize) -> Result<(IdedExpr, SourceInfo), Vec<Problem>> {
        if text.len() > MAX_BYTES {
            return Err(vec![
                Problem::new(None, format!("an expression may have at most {MAX_BYTES} bytes"))
                    .hint("split the rule"),
            ]);
        }
        if text.trim().is_empty() {
            return Err(vec![Problem::new(None, "the expression is empty")]);
        }
        let wide_chars = text.chars().filter(|c| !c.is_ascii()).count();
        // To the parser comments are words.
        let tokens = tokens + TOKENS_OF_WIDE_CHAR * wide_chars + text.matches("//").count();
        let Some(left) = self.tokens.checked_sub(tokens) else {
            self.tokens = 0;
            let message = format!("the conditions up to here have more than {MAX_TOKENS} words and signs");
            return Err(vec![Problem::new(None, message).hint("split the policy by project")]);
        };
        self.tokens = left;
        match Parser::new().max_recursion_depth(MAX_RECURSION).parse_with_source_info(text) {
            Ok(parsed) => Ok(parsed),
            Err(errors) => Err(vec![Problem::syntax(text, errors)]),
        }
    }

    /// Takes what the evaluation of a condition can take.
    fn spend_steps(&mut self, formula: &Formula) -> Result<(), Problem> {
        let steps = cost::of(formula, None);
        if steps > cost::MAX_STEPS {
            let message = format!("the condition can take {steps} steps; {} is the limit", cost::MAX_STEPS);
            let hint = "nest `exists` and `all` less deeply, or split the rule";
            return Err(Problem::dear(message).hint(hint));
        }
        let Some(left) = self.steps.checked_sub(steps) else {
            let message =
                format!("the conditions up to here can take {} steps together", cost::MAX_POLICY_STEPS);
            let hint = "nest `exists` and `all` less deeply, or split the policy by project";
            return Err(Problem::dear(message).hint(hint));
        };
        self.steps = left;
        Ok(())
    }
}

/// A condition over `issue`, `event` and `now`.
#[derive(Debug)]
pub(crate) struct Condition {
    text: Box<str>,
    formula: Formula,
    reads_event: bool,
    reads_by_us: bool,
}

impl Condition {
    /// Parses and checks. Call it on a thread with a large stack.
    pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Self, Vec<Problem>> {
        let tokens = slip::tokens(text);
        let (mut formula, reads_event) = match parts::put_together(text, &tokens, budget) {
            Some(together) => together,
            None => {
                let (tree, positions) = budget.parse(text, tokens.len())?;
                lower::lower(text, &tree, &positions, budget)?
            }
        };
        formula.span = 0..text.len();
        budget.spend_steps(&formula).map_err(|problem| vec![problem])?;
        let mut reads_by_us = false;
        formula.visit(&mut |it| {
            reads_by_us |= matches!(it.logic, expr::Logic::Test(expr::Test::Flag(field::Field::EventByUs)));
        });
        Ok(Self { text: text.into(), formula, reads_event, reads_by_us })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub(crate) fn formula(&self) -> &Formula {
        &self.formula
    }

    /// How many steps an evaluation of what `view` has can take; one takes some ten nanoseconds.
    pub(crate) fn steps(&self, view: &View<'_>) -> u64 {
        cost::of(&self.formula, Some(view))
    }

    /// How many steps an evaluation can take at most, whatever the issue has.
    pub(crate) fn most_steps(&self) -> u64 {
        cost::of(&self.formula, None)
    }

    /// Whether the condition reads `event`.
    pub(crate) fn reads_event(&self) -> bool {
        self.reads_event
    }

    /// Whether the condition reads `event.by_us`: then it is for what our own accounts did, too.
    pub(crate) fn reads_by_us(&self) -> bool {
        self.reads_by_us
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When it cannot be said.
    pub(crate) fn holds(&self, view: &View<'_>) -> Result<bool, EvalError> {
        eval::Scope::new(view).formula(&self.formula)
    }
}
