//! A condition as a tree: what each part says, what each test saw, and which tests the verdict hangs on.

use serde::Serialize;

use super::{
    reads::{self, Read},
    shown::{self, Shown},
};
use crate::{
    condition::{
        Condition, EvalError, Formula,
        eval::{Scope, join},
        expr::{List, Logic, Quantifier, Term, Test},
    },
    decide::Sight,
};

/// How many elements are shown of a list none of which decides.
const MAX_ELEMENTS: usize = 4;

/// What a condition, or a part of one, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold.
    DoesNotHold,
    /// It cannot be said: an error. A rule's condition does not hold then.
    CannotBeSaid,
}

impl Verdict {
    pub(super) fn of(result: Result<bool, EvalError>) -> Self {
        match result {
            Ok(true) => Self::Holds,
            Ok(false) => Self::DoesNotHold,
            Err(_) => Self::CannotBeSaid,
        }
    }
}

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// What it says.
    pub verdict: Verdict,
    /// Why it cannot be said; of tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// As it was written, on one line, cut.
    pub text: String,
    /// `&&`, `||`, `!`, `? :`, `exists` or `all`; none for a test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'static str>,
    /// True when the condition's verdict hangs on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
    /// What a test read, and what it made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub saw: Vec<Saw>,
    /// What it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Self>,
    /// Of `exists` and `all`: the element that decides, else the first ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<Element>,
    /// How many more elements there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_elements: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A value that a test saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Saw {
    /// A field, `now`, or `left side`, `right side`, `value` for what was computed.
    pub name: String,
    /// The value.
    pub value: Shown,
}

/// An element of a list, and what the body of `exists` or `all` says of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Element {
    /// The element.
    pub value: Shown,
    /// The body.
    pub body: Node,
}

/// The tree of a condition.
pub(super) fn grow(condition: &Condition, sight: &Sight) -> Node {
    let view = sight.view();
    let (mut root, _) = Tree { text: condition.text(), sight }.node(condition.formula(), Scope::new(&view));
    mark(&mut root);
    root
}

struct Tree<'t> {
    text: &'t str,
    sight: &'t Sight,
}

type Said = Result<bool, EvalError>;

impl Tree<'_> {
    fn node(&self, formula: &Formula, scope: Scope<'_, '_>) -> (Node, Said) {
        let mut node = Node {
            verdict: Verdict::Holds,
            error: None,
            text: shown::written(self.text.get(formula.span.clone()).unwrap_or_default()),
            operator: None,
            decides: false,
            saw: Vec::new(),
            parts: Vec::new(),
            elements: Vec::new(),
            more_elements: 0,
        };
        let said = match &formula.logic {
            Logic::Always(always) => Ok(*always),
            Logic::Not(inner) => {
                node.operator = Some("!");
                let (part, said) = self.node(inner, scope);
                node.parts.push(part);
                said.map(|holds| !holds)
            }
            Logic::And(parts) => {
                node.operator = Some("&&");
                join(self.parts(parts, scope, &mut node).into_iter(), false)
            }
            Logic::Or(parts) => {
                node.operator = Some("||");
                join(self.parts(parts, scope, &mut node).into_iter(), true)
            }
            Logic::If(parts) => {
                node.operator = Some("? :");
                let said = self.parts(&**parts, scope, &mut node);
                said[0].and_then(|holds| if holds { said[1] } else { said[2] })
            }
            Logic::Each { quantifier, list, body } => {
                let decisive = *quantifier == Quantifier::Exists;
                node.operator = Some(if decisive { "exists" } else { "all" });
                let said = scope.formula(formula);
                self.elements(&mut node, list, body, scope, (said, decisive));
                said
            }
            Logic::Test(test) => {
                let said = scope.formula(formula);
                self.saw(&mut node, test, scope);
                said
            }
        };
        node.verdict = Verdict::of(said);
        if let (Err(error), None) = (said, node.operator.filter(|_| !node.parts.is_empty())) {
            node.error = Some(reason(error, &node.saw));
        }
        (node, said)
    }

    fn parts(&self, parts: &[Formula], scope: Scope<'_, '_>, node: &mut Node) -> Vec<Said> {
        let (nodes, said): (Vec<_>, Vec<_>) = parts.iter().map(|part| self.node(part, scope)).unzip();
        node.parts = nodes;
        said
    }

    /// The element on which the verdict hangs; where it hangs on all, the first ones.
    fn elements(
        &self,
        node: &mut Node,
        list: &List,
        body: &Formula,
        scope: Scope<'_, '_>,
        (whole, decisive): (Said, bool),
    ) {
        node.saw = self.fields(reads::of_list(list));
        let one_decides = whole.is_err() || whole == Ok(decisive);
        let mut count = 0;
        // A list that cannot be said has no elements to show.
        let _ = scope.for_each(list, |scope, value| {
            count += 1;
            let shows = match one_decides {
                true => scope.formula(body) == whole,
                false => count <= MAX_ELEMENTS,
            };
            if shows {
                let body = self.node(body, scope).0;
                node.elements.push(Element { value: Shown::of(value), body });
            }
            Ok(one_decides && shows)
        });
        if !one_decides {
            node.more_elements = count - node.elements.len();
        }
    }

    fn saw(&self, node: &mut Node, test: &Test, scope: Scope<'_, '_>) {
        node.saw = self.fields(reads::of_test(test));
        let mut computed = |name: &str, term: &Term| {
            let is_plain = !matches!(
                term,
                Term::Sum { .. } | Term::Length(_) | Term::Size(_) | Term::If(_) | Term::Element(_)
            );
            // The innermost element stands above the test already.
            if let (false, Ok(value)) = (is_plain || *term == Term::Element(0), scope.term(term)) {
                node.saw.push(Saw { name: name.to_owned(), value: Shown::of(&value) });
            }
        };
        match test {
            Test::Compare { left, right, .. } => {
                computed("left side", left);
                computed("right side", right);
            }
            Test::In { term, .. } => computed("value", term),
            Test::Text { text, part, .. } => {
                computed("value", text);
                computed("part", part);
            }
            Test::Matches { text, .. } => computed("value", text),
            Test::Flag(_) | Test::ListIsNull { .. } => {}
        }
    }

    fn fields(&self, reads: Vec<Read>) -> Vec<Saw> {
        let saw = |read| match read {
            Read::Field(field) => Saw { name: field.to_string(), value: Shown::of_field(self.sight, field) },
            Read::Now => Saw { name: "now".into(), value: Shown::Time(self.sight.now) },
        };
        reads.into_iter().map(saw).collect()
    }
}

fn reason(error: EvalError, saw: &[Saw]) -> String {
    let nulls: Vec<_> =
        saw.iter().filter(|saw| saw.value == Shown::Null).map(|saw| saw.name.as_str()).collect();
    match (error, nulls.as_slice()) {
        (EvalError::Null, [name]) => format!("{error}: {name} is null"),
        (EvalError::Null, [_, _, ..]) => format!("{error}: {} are null", nulls.join(" and ")),
        _ => error.to_string(),
    }
}

/// Marks the tests on which a verdict hangs: of a false `&&` the first false part, of a true `||` the first true one, where it
/// cannot be said the first part that cannot; else every part.
fn mark(node: &mut Node) {
    let first =
        |node: &mut Node, verdict| node.parts.iter_mut().find(|part| part.verdict == verdict).map(mark);
    match (node.operator, node.verdict) {
        (Some("&&"), Verdict::DoesNotHold) | (Some("||"), Verdict::Holds) => {
            first(node, node.verdict);
        }
        (Some("&&" | "||"), Verdict::CannotBeSaid) => _ = first(node, Verdict::CannotBeSaid),
        (Some("? :"), _) => {
            let [condition, then, otherwise] = node.parts.as_mut_slice() else { return };
            mark(condition);
            match condition.verdict {
                Verdict::Holds => mark(then),
                Verdict::DoesNotHold => mark(otherwise),
                Verdict::CannotBeSaid => {}
            }
        }
        (Some("exists" | "all"), verdict) => {
            let decisive = verdict == Verdict::CannotBeSaid
                || (verdict == Verdict::Holds) == (node.operator == Some("exists"));
            match node.elements.first_mut().filter(|_| decisive) {
                Some(element) => mark(&mut element.body),
                None => node.decides = true,
            }
        }
        (Some(_), _) => node.parts.iter_mut().for_each(mark),
        (None, _) => node.decides = true,
    }
}
