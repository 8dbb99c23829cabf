//! Comparisons and `in`: operands of one type.

use cel::{
    IdedExpr,
    common::ast::{Expr, operators as op},
};

use super::{Lowered, Lowering, Typed, hint};
use crate::{
    condition::{
        expr::{Comparison, Formula, List, Logic, Term, Test},
        field::Type,
    },
    diagnostic::quoted,
};

impl Lowering<'_> {
    pub(super) fn compare(
        &mut self,
        op: Comparison,
        node: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Option<Test> {
        if is_negation(left) {
            return self.negated_operand(node, left);
        }
        if let Some(call) = [left, right].into_iter().find(|side| asks_for_type(side)) {
            // What it is compared with is no value either.
            return self.expression(call).and(None);
        }
        let (left_lowered, right_lowered) = (self.expression(left), self.expression(right));
        match (left_lowered?, right_lowered?) {
            (Lowered::Term(a), Lowered::Term(b)) => self.compare_terms(op, node, (left, a), (right, b)),
            (Lowered::List(list), Lowered::Term(null)) | (Lowered::Term(null), Lowered::List(list))
                if null.value_type.is_none() && matches!(op, Comparison::Equal | Comparison::NotEqual) =>
            {
                match list.it {
                    List::Field(list) => Some(Test::ListIsNull { list, null: op == Comparison::Equal }),
                    List::Of(_) => self.refuse(node, "a list that is written out is never null", None),
                }
            }
            (Lowered::List(_), Lowered::Term(term)) => {
                let (list, value) = (self.brief(left, "issue.labels"), self.brief(right, "\"…\""));
                let hint = hint::for_list(op, &list, &value, term.value_type);
                self.refuse(node, "a list is not compared with a single value", hint)
            }
            (Lowered::Term(term), Lowered::List(_)) => {
                let (list, value) = (self.brief(right, "issue.labels"), self.brief(left, "\"…\""));
                let hint = hint::for_list(op.mirrored(), &list, &value, term.value_type);
                self.refuse(node, "a single value is not compared with a list", hint)
            }
            (Lowered::List(a), Lowered::List(b)) => {
                let (left, right) = (self.brief(left, "a"), self.brief(right, "b"));
                let hint = hint::for_lists((&left, &a.it), (&right, &b.it), op);
                self.refuse(node, "lists are not compared with each other", hint)
            }
            (Lowered::Formula(_), Lowered::Term(_)) if is_comparison(left) => self.chained(node, left, right),
            (a, b) => {
                let (left_text, right_text) =
                    (self.brief(left, "the condition"), self.brief(right, "the condition"));
                let hint = match (always(&a), always(&b)) {
                    (Some(_), _) if !matches!(b, Lowered::Formula(_)) => {
                        hint::as_formula(&b, &right_text, false)
                    }
                    (_, Some(_)) if !matches!(a, Lowered::Formula(_)) => {
                        hint::as_formula(&a, &left_text, false)
                    }
                    (Some(always), _) => alone(always == (op == Comparison::Equal), &right_text),
                    (_, Some(always)) => alone(always == (op == Comparison::Equal), &left_text),
                    _ => "join them with `&&`, `||` and `!`".to_owned(),
                };
                self.refuse(node, "true and false are not compared", hint)
            }
        }
    }

    /// `!a == b`, which the parser takes for `(!a) == b`.
    fn negated_operand(&mut self, node: &IdedExpr, left: &IdedExpr) -> Option<Test> {
        let whole = self.brief(node, "!…");
        let hint = format!("write `!({})`", whole.trim_start_matches('!').trim_start());
        self.refuse(left, "`!` stands before a condition, not before a part of a comparison", hint)
    }

    /// `a < b < c`, which the parser takes for `(a < b) < c`.
    fn chained(&mut self, node: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Option<Test> {
        let middle = match &left.expr {
            Expr::Call(call) => call.args.get(1).map(|middle| self.brief(middle, "b")),
            _ => None,
        };
        let (left, middle) = (self.brief(left, "a < b"), middle.unwrap_or_default());
        let right = self.brief(right, "c");
        let Expr::Call(call) = &node.expr else { return None };
        let symbol = call.func_name.trim_matches('_');
        let hint = format!("write `{left} && {middle} {symbol} {right}`");
        self.refuse(node, "comparisons are not chained", hint)
    }

    fn compare_terms(
        &mut self,
        op: Comparison,
        node: &IdedExpr,
        (left, a): (&IdedExpr, Typed<Term>),
        (right, b): (&IdedExpr, Typed<Term>),
    ) -> Option<Test> {
        if let (Some(x), Some(y)) = (a.value_type, b.value_type)
            && x != y
        {
            let message = format!("{} is not compared with {}", x.name(), y.name());
            let (left, right) = (self.brief(left, "…"), self.brief(right, "…"));
            return self.refuse(node, message, hint::for_types((&a, &left), (&b, &right)));
        }
        let ordered = !matches!(op, Comparison::Equal | Comparison::NotEqual);
        if ordered && (a.value_type.is_none() || b.value_type.is_none()) {
            let hint = "write `== null` or `!= null`".to_owned();
            return self.refuse(
                node,
                format!("null has no order: `{}` always fails on it", op.symbol()),
                hint,
            );
        }
        for (field, literal, at) in [(&a, &b, right), (&b, &a, left)] {
            self.one_of_its_values(&field.it, &literal.it, at)?;
        }
        let caseless = a.caseless || b.caseless;
        let in_case = |term: Typed<Term>| if caseless { term.lowered() } else { term };
        Some(Test::Compare { op, left: in_case(a).it, right: in_case(b).it })
    }

    pub(super) fn is_in(&mut self, node: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Option<Test> {
        if is_negation(left) {
            return self.negated_operand(node, left);
        }
        let (term, list) = (self.expression(left), self.expression(right));
        let (term, list) = (term?, list?);
        let term = match term {
            Lowered::Term(term) => term,
            Lowered::List(_) => {
                let (left, right) = (self.brief(left, "[…]"), self.brief(right, "issue.labels"));
                let hint = format!("write `{left}.exists(x, x in {right})`, or `all`");
                return self.refuse(node, "`in` looks for a single value, not for a list", hint);
            }
            Lowered::Formula(_) => {
                let hint = "such as `\"bug\" in issue.labels`".to_owned();
                return self.refuse(node, "`in` looks for a value, not for true or false", hint);
            }
        };
        let list = match list {
            Lowered::List(list) => list,
            Lowered::Term(Typed { value_type: Some(Type::Text), .. }) => {
                let (part, text) = (self.brief(left, "\"…\""), self.brief(right, "issue.title"));
                let hint = match list_it_is(right) {
                    true => format!("write `{part} in [{text}]`, or `{part} == {text}`"),
                    false => format!("write `{text}.contains({part})`, or `{text} == {part}`"),
                };
                return self.refuse(node, "`in` looks into a list, not into a text", hint);
            }
            other => {
                let hint = "such as `\"bug\" in issue.labels`".to_owned();
                return self.refuse(node, format!("`in` looks into a list, not into {}", other.name()), hint);
            }
        };
        if let (Some(x), Some(y)) = (term.value_type, list.value_type)
            && x != y
        {
            let message = format!("{} is not found in a list of {}", x.name(), super::plural(y));
            let hint = match x == Type::Text || y == Type::Text {
                true => "text stands in quotes, numbers stand without".to_owned(),
                false => "the elements are of the type that is looked for".to_owned(),
            };
            return self.refuse(node, message, hint);
        }
        match &list.it {
            List::Field(field) if term.value_type.is_none() => {
                let hint = format!("whether there is a list at all is `{field} == null`");
                return self.refuse(node, "null is in no list", hint);
            }
            List::Field(field) if term.caseless && !list.caseless => {
                let hint =
                    format!("ask `{field}.exists(name, name == {})`", self.brief(left, "issue.priority"));
                return self.refuse(
                    node,
                    format!("case counts in `{field}`, and does not in what is looked for"),
                    hint,
                );
            }
            List::Of(elements) => {
                for element in elements {
                    self.one_of_its_values(&term.it, element, right)?;
                }
            }
            List::Field(_) => {}
        }
        let caseless = term.caseless || list.caseless;
        let in_case = |it: Term, value_type| {
            let typed = Typed { it, value_type, caseless: false };
            if caseless { typed.lowered() } else { typed }.it
        };
        let list_type = list.value_type;
        let list = match list.it {
            List::Of(terms) if !list.caseless => {
                List::Of(terms.into_iter().map(|term| in_case(term, list_type)).collect())
            }
            list => list,
        };
        let term = if term.caseless { term.it } else { in_case(term.it, term.value_type) };
        Some(Test::In { term, list })
    }

    /// Refuses a text that a field of few values never is.
    fn one_of_its_values(&mut self, field: &Term, literal: &Term, at: &IdedExpr) -> Option<()> {
        let (Term::Field(field), Term::Text(word)) = (field, literal) else { return Some(()) };
        let Some(values) = field.spec().values else { return Some(()) };
        if values.contains(&&**word) {
            return Some(());
        }
        self.refuse(at, format!("`{field}` is never {}", quoted(word)), hint::for_value(*field, word, values))
    }
}

fn is_comparison(node: &IdedExpr) -> bool {
    let comparisons =
        [op::EQUALS, op::NOT_EQUALS, op::LESS, op::LESS_EQUALS, op::GREATER, op::GREATER_EQUALS];
    matches!(&node.expr, Expr::Call(call) if comparisons.contains(&call.func_name.as_str()))
}

fn is_negation(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Call(call) if call.func_name == op::LOGICAL_NOT)
}

fn asks_for_type(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Call(call) if call.func_name == "type" && call.target.is_none())
}

/// A condition that is written out as `true` or `false`.
fn always(it: &Lowered) -> Option<bool> {
    match it {
        Lowered::Formula(Formula { logic: Logic::Always(always), .. }) => Some(*always),
        _ => None,
    }
}

fn alone(holds: bool, written: &str) -> String {
    if holds { format!("write `{written}`") } else { format!("write `!({written})`") }
}

/// A text in quotes right of `in` is meant as a list of one.
fn list_it_is(node: &IdedExpr) -> bool {
    super::text_of(node).is_some()
}
