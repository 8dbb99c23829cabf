//! Comparisons and `in`: operands of one type.

use cel::IdedExpr;

use super::{Lowered, Lowering, Typed};
use crate::{
    condition::{
        expr::{Comparison, List, Term, Test},
        field::Type,
    },
    diagnostic::{did_you_mean, quoted},
};

impl Lowering<'_> {
    pub(super) fn compare(
        &mut self,
        op: Comparison,
        node: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Option<Test> {
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
            (Lowered::List(_), Lowered::Term(_)) => {
                let hint =
                    format!("ask `{} in {}`", self.brief(right, "\"…\""), self.brief(left, "issue.labels"));
                self.refuse(node, "a list is not compared with a single value", hint)
            }
            (Lowered::Term(_), Lowered::List(_)) => {
                let hint =
                    format!("ask `{} in {}`", self.brief(left, "\"…\""), self.brief(right, "issue.labels"));
                self.refuse(node, "a single value is not compared with a list", hint)
            }
            (Lowered::List(_), Lowered::List(_)) => {
                let hint = "ask for elements with `in`, `exists`, `all`, for the number of them with `size`"
                    .to_owned();
                self.refuse(node, "lists are not compared with each other", hint)
            }
            _ => {
                let hint = "write the condition by itself, or with `!` before it".to_owned();
                self.refuse(node, "true and false are not compared", hint)
            }
        }
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
            let hint = conversion(&a, self.written(left)).or_else(|| conversion(&b, self.written(right)));
            return self.refuse(node, message, hint.filter(|_| x == Type::Text || y == Type::Text));
        }
        let ordered = !matches!(op, Comparison::Equal | Comparison::NotEqual);
        if ordered && (a.value_type.is_none() || b.value_type.is_none()) {
            let hint = "ask `== null` or `!= null`".to_owned();
            return self.refuse(
                node,
                format!("null is neither more nor less: `{}` always fails", op.symbol()),
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
        let (term, list) = (self.term(left), self.expression(right));
        let (term, list) = (term?, list?);
        let list = match list {
            Lowered::List(list) => list,
            Lowered::Term(Typed { value_type: Some(Type::Text), .. }) => {
                let hint = format!(
                    "for a part of a text ask `{}.contains({})`, to compare it write `==`",
                    self.brief(right, "issue.title"),
                    self.brief(left, "\"…\"")
                );
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
            return self.refuse(node, message, None);
        }
        match &list.it {
            List::Field(field) if term.value_type.is_none() => {
                let hint = format!("whether there is a list at all: `{field} == null`");
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
        let hint = did_you_mean(word, values.iter().copied())
            .unwrap_or_else(|| format!("it is one of {}", values.join(", ")));
        self.refuse(at, format!("`{field}` is never {}", quoted(word)), hint)
    }
}

/// How a text is written that is meant as a time or a duration.
fn conversion(term: &Typed<Term>, written: &str) -> Option<String> {
    let Term::Text(text) = &term.it else { return None };
    if written.len() > 60 || written.contains(char::is_control) {
        return None;
    }
    if text.bytes().next().is_some_and(|b| b.is_ascii_digit()) && text.contains('-') {
        return Some(format!("a time is written `timestamp({written})`"));
    }
    if crate::load::duration::of_file(text).is_ok() {
        return Some(format!("a duration is written `duration({written})`"));
    }
    text.parse::<i64>().is_ok().then(|| "a number stands without quotes".to_owned())
}
