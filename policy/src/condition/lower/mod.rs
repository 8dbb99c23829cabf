//! From the parser's tree to a typed formula. Everything that is wrong is reported, each with its place.

mod call;
mod compare;
mod each;
mod hint;
mod names;
#[cfg(test)]
mod tests;

use std::ops::Range;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, SourceInfo},
};

use super::{
    Budget, MAX_DEPTH, Problem,
    expr::{Formula, List, Logic, Term},
    field::{Field, Type},
    function,
    span::Places,
};
use crate::diagnostic::{quoted, unseen};

/// The formula, and whether it reads `event`.
pub(super) fn lower(
    text: &str,
    tree: &IdedExpr,
    positions: &SourceInfo,
    budget: &mut Budget,
) -> Result<(Formula, bool), Vec<Problem>> {
    let mut lowering = Lowering {
        places: Places::new(text, positions),
        budget,
        variables: Vec::new(),
        depth: 0,
        reads_event: false,
        problems: Vec::new(),
    };
    let formula = lowering.formula(tree);
    let Lowering { reads_event, mut problems, .. } = lowering;
    match formula {
        Some(formula) if problems.is_empty() => Ok((formula, reads_event)),
        _ => {
            if problems.is_empty() {
                problems.push(Problem::new(None, "this is not a condition"));
            }
            Err(problems)
        }
    }
}

/// More than anyone mends in one condition at one go.
const MAX_PROBLEMS: usize = 20;

struct Lowering<'a> {
    places: Places<'a>,
    budget: &'a mut Budget,
    /// Variables of `exists` and `all`, innermost last.
    variables: Vec<Variable>,
    depth: usize,
    reads_event: bool,
    problems: Vec<Problem>,
}

struct Variable {
    name: String,
    value_type: Option<Type>,
    caseless: bool,
}

/// What a sub-expression is.
enum Lowered {
    Formula(Formula),
    Term(Typed<Term>),
    List(Typed<List>),
}

/// A term or a list with its type.
struct Typed<T> {
    it: T,
    /// None: null, or a list in which there is nothing else.
    value_type: Option<Type>,
    /// Its text is in lower case and compares without regard to case.
    caseless: bool,
}

impl<T> Typed<T> {
    fn new(it: T, value_type: Type) -> Self {
        Self { it, value_type: Some(value_type), caseless: false }
    }
}

impl Typed<Term> {
    fn null() -> Self {
        Self { it: Term::Null, value_type: None, caseless: false }
    }

    /// In lower case: literals now, everything else when it is evaluated.
    fn lowered(self) -> Self {
        if self.caseless || self.value_type != Some(Type::Text) {
            return self;
        }
        Self { it: in_lower_case(self.it), value_type: self.value_type, caseless: true }
    }
}

impl Lowered {
    /// As messages call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Formula(_) => "true or false",
            Self::Term(Typed { value_type: Some(value_type), .. }) => value_type.name(),
            Self::Term(_) => "null",
            Self::List(_) => "a list",
        }
    }
}

impl Lowering<'_> {
    fn span(&self, node: &IdedExpr) -> Option<Range<usize>> {
        self.places.span(node)
    }

    /// As it was written.
    fn written(&self, node: &IdedExpr) -> &str {
        self.span(node).and_then(|span| self.places.text().get(span)).unwrap_or_default()
    }

    /// As it was written, where that is short enough to be repeated in a hint; else `otherwise`.
    fn brief(&self, node: &IdedExpr, otherwise: &str) -> String {
        let written = self.written(node);
        let plain = !written.is_empty() && written.len() <= 60 && !written.contains(unseen);
        if plain { written } else { otherwise }.to_owned()
    }

    fn refuse<T>(
        &mut self,
        node: &IdedExpr,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Option<T> {
        let problem = Problem::new(self.span(node), message).maybe_hint(hint.into());
        self.problems.push(problem);
        None
    }

    fn formula(&mut self, node: &IdedExpr) -> Option<Formula> {
        self.formula_or(node, false)
    }

    /// A formula; `negated` where `!` stands before it.
    fn formula_or(&mut self, node: &IdedExpr, negated: bool) -> Option<Formula> {
        match self.expression(node)? {
            Lowered::Formula(formula) => Some(formula),
            other => {
                let hint = hint::as_formula(&other, &self.brief(node, "issue.title"), negated);
                self.refuse(node, format!("a condition is true or false; this is {}", other.name()), hint)
            }
        }
    }

    fn term(&mut self, node: &IdedExpr) -> Option<Typed<Term>> {
        match self.expression(node)? {
            Lowered::Term(term) => Some(term),
            Lowered::List(_) => {
                let hint = "of a list one asks `in`, `exists`, `all` and `size`".to_owned();
                self.refuse(node, "a single value belongs here, not a list", hint)
            }
            Lowered::Formula(_) => {
                let hint = "true and false are joined with `&&`, `||` and `!` only".to_owned();
                self.refuse(node, "a value belongs here, not true or false", hint)
            }
        }
    }

    fn expression(&mut self, node: &IdedExpr) -> Option<Lowered> {
        if self.problems.len() >= MAX_PROBLEMS {
            return None;
        }
        if self.depth > MAX_DEPTH {
            if !self.problems.iter().any(|problem| problem.message.contains("nests too deeply")) {
                let problem = Problem::new(None, "the expression nests too deeply")
                    .hint(format!("at most {MAX_DEPTH} levels; split the rule"));
                self.problems.push(problem);
            }
            return None;
        }
        self.depth += 1;
        let lowered = self.expression_here(node);
        self.depth -= 1;
        lowered
    }

    fn expression_here(&mut self, node: &IdedExpr) -> Option<Lowered> {
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(name) => self.name(node, name).map(Lowered::Term),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) if !self.is_variable(root) => {
                    if select.test {
                        let field = Field::find(root, &select.field);
                        let null = match field.is_some_and(|field| field.spec().value_type == Type::Bool) {
                            true => "",
                            false => " != null",
                        };
                        let hint =
                            format!("every field is always there: write `{root}.{}{null}`", select.field);
                        return self.refuse(node, "`has` is not part of the language", hint);
                    }
                    self.field(node, root, &select.field)
                }
                _ => self.no_field(node, &select.operand, &select.field),
            },
            Expr::Call(call) => self.call(node, call),
            Expr::Comprehension(comprehension) => self.each(node, comprehension).map(Lowered::Formula),
            Expr::List(list) => self.list(&list.elements).map(Lowered::List),
            Expr::Map(_) => {
                self.refuse(node, "maps are not part of the language", "compare fields one by one".to_owned())
            }
            Expr::Struct(_) => self.refuse(
                node,
                "messages are not part of the language",
                "compare fields one by one".to_owned(),
            ),
            Expr::Unspecified => self.refuse(node, "this is not an expression", None),
        }
    }

    fn literal(&mut self, node: &IdedExpr, literal: &LiteralValue) -> Option<Lowered> {
        Some(match literal {
            LiteralValue::Boolean(always) => {
                let span = self.span(node).unwrap_or_default();
                Lowered::Formula(Formula { logic: Logic::Always(*always.inner()), span })
            }
            LiteralValue::String(text) => {
                Lowered::Term(Typed::new(Term::Text(text.inner().into()), Type::Text))
            }
            LiteralValue::Int(number) => Lowered::Term(Typed::new(Term::Int(*number.inner()), Type::Int)),
            LiteralValue::Null => Lowered::Term(Typed::null()),
            LiteralValue::Double(_) => {
                return self.refuse(node, "numbers are whole here", "such as `12`".to_owned());
            }
            LiteralValue::UInt(number) => {
                let hint = format!("write `{}`", number.inner());
                return self.refuse(node, "numbers are written without `u` here", hint);
            }
            LiteralValue::Bytes(_) => {
                let hint = "write a text, without the `b` before it".to_owned();
                return self.refuse(node, "bytes are not part of the language", hint);
            }
        })
    }

    /// Something after a dot that is no field of `issue` or `event`.
    fn no_field(&mut self, node: &IdedExpr, operand: &IdedExpr, name: &str) -> Option<Lowered> {
        let lowered = self.expression(operand)?;
        let written = self.brief(operand, "issue.title");
        if let Some(function) = function::find(name) {
            let hint = match (&lowered, name) {
                (Lowered::List(_), "contains") => format!("ask `\"…\" in {written}`"),
                (_, "size") => format!("write `size({written})`"),
                _ => format!("such as `{}`", function.example),
            };
            return self.refuse(node, format!("{} is called with parentheses", quoted(name)), hint);
        }
        let hint = match &lowered {
            Lowered::List(_) => Some(format!("ask for an element: `\"…\" in {written}`")),
            _ => None,
        };
        self.refuse(
            node,
            format!("{} has no field {}: it is {}", quoted(&written), quoted(name), lowered.name()),
            hint,
        )
    }

    /// A list that is written out.
    fn list(&mut self, elements: &[IdedExpr]) -> Option<Typed<List>> {
        let (mut terms, mut refused) = (Vec::with_capacity(elements.len()), false);
        let mut value_type = None;
        for element in elements {
            let Some(term) = self.term(element) else {
                refused = true;
                continue;
            };
            match (value_type, term.value_type) {
                (Some(first), Some(other)) if first != other => {
                    let message = format!("{} among {}", other.name(), plural(first));
                    let _: Option<()> =
                        self.refuse(element, message, "a list has elements of one type".to_owned());
                    refused = true;
                }
                (first, other) => value_type = first.or(other),
            }
            terms.push(term);
        }
        if refused {
            return None;
        }
        let caseless = terms.iter().any(|term| term.caseless);
        let terms = terms.into_iter().map(|term| if caseless { term.lowered() } else { term }.it);
        Some(Typed { it: List::Of(terms.collect()), value_type, caseless })
    }
}

fn plural(value_type: Type) -> &'static str {
    match value_type {
        Type::Text => "texts",
        Type::Int => "numbers",
        Type::Time => "times",
        Type::Duration => "durations",
        Type::Bool => "conditions",
    }
}

/// A text in lower case: of a choice, both.
fn in_lower_case(text: Term) -> Term {
    match text {
        Term::Text(text) => Term::Text(text.to_lowercase().into()),
        Term::If(parts) => {
            let (condition, then, otherwise) = *parts;
            Term::If(Box::new((condition, in_lower_case(then), in_lower_case(otherwise))))
        }
        Term::Field(_) | Term::Element(_) => Term::Lower(Box::new(text)),
        // In lower case already, or null: nothing else is a text.
        other => other,
    }
}

/// A text that is written out.
fn text_of(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
