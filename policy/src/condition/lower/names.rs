//! Names: `now`, fields, the variables of `exists` and `all`.

use cel::IdedExpr;

use super::{Lowered, Lowering, Typed};
use crate::{
    condition::{
        expr::{Formula, List, Logic, Term, Test},
        field::{Field, Type, fields_of},
    },
    diagnostic::{did_you_mean, quoted},
};

impl Lowering<'_> {
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name)
    }

    pub(super) fn name(&mut self, node: &IdedExpr, name: &str) -> Option<Typed<Term>> {
        if let Some(out) = self.variables.iter().rev().position(|variable| variable.name == name) {
            let variable = &self.variables[self.variables.len() - 1 - out];
            let (value_type, caseless) = (variable.value_type, variable.caseless);
            return Some(Typed { it: Term::Element(out), value_type, caseless });
        }
        match name {
            "now" => Some(Typed::new(Term::Now, Type::Time)),
            "issue" | "event" => {
                let first = if name == "event" { Field::EventType } else { Field::Labels };
                let hint = format!("name one of its fields, such as `{first}`");
                self.refuse(node, format!("`{name}` is not a value by itself"), hint)
            }
            _ => {
                let known = ["issue", "event", "now", "true", "false", "null"];
                let variables = self.variables.iter().map(|variable| variable.name.as_str());
                let bare = fields_of("issue").chain(fields_of("event")).find(|spec| spec.name == name);
                let hint = match bare {
                    None if ["none", "nil", "undefined", "nothing"]
                        .contains(&name.to_lowercase().as_str()) =>
                    {
                        "did you mean `null`?".to_owned()
                    }
                    None if ["today", "yesterday", "tomorrow"].contains(&name.to_lowercase().as_str()) => {
                        "there is `now`, and `now + duration(\"24h\")`".to_owned()
                    }
                    Some(spec) => format!("did you mean `{}`?", spec.field),
                    None => did_you_mean(name, known.into_iter().chain(variables)).unwrap_or_else(|| {
                        format!("text stands in quotes: \"{}\"", quoted(name).trim_matches('`'))
                    }),
                };
                self.refuse(node, format!("unknown name {}", quoted(name)), hint)
            }
        }
    }

    pub(super) fn field(&mut self, node: &IdedExpr, root: &str, name: &str) -> Option<Lowered> {
        if root == "now" {
            let hint = "compare it, such as `issue.due_at <= now`".to_owned();
            return self.refuse(node, "`now` is a time and has no fields", hint);
        }
        if fields_of(root).next().is_none() {
            let hint = did_you_mean(root, ["issue", "event"]).unwrap_or_else(|| {
                match Field::find("issue", name).or_else(|| Field::find("event", name)) {
                    Some(field) => format!("did you mean `{field}`?"),
                    None => "there are `issue.…`, `event.…` and `now`; text stands in quotes".to_owned(),
                }
            });
            return self.refuse(node, format!("unknown name {}", quoted(root)), hint);
        }
        let Some(field) = Field::find(root, name) else {
            let hint = did_you_mean(name, fields_of(root).map(|spec| spec.name))
                .map(|hint| hint.replacen('`', &format!("`{root}."), 1))
                .or_else(|| in_the_other(root, name))
                .unwrap_or_else(|| {
                    let names: Vec<_> = fields_of(root).map(|spec| spec.name).collect();
                    format!("`{root}` has {}", names.join(", "))
                });
            return self.refuse(node, format!("unknown field {}", quoted(&format!("{root}.{name}"))), hint);
        };
        self.reads_event |= field.is_of_event();
        let spec = field.spec();
        if spec.value_type == Type::Bool {
            let span = self.span(node).unwrap_or_default();
            return Some(Lowered::Formula(Formula { logic: Logic::Test(Test::Flag(field)), span }));
        }
        let (value_type, caseless) = (Some(spec.value_type), spec.caseless);
        Some(match spec.is_list {
            true => Lowered::List(Typed { it: List::Field(field), value_type, caseless }),
            false => Lowered::Term(Typed { it: Term::Field(field), value_type, caseless }),
        })
    }
}

/// A field of that name in the other of `issue` and `event`.
fn in_the_other(root: &str, name: &str) -> Option<String> {
    let other = if root == "issue" { "event" } else { "issue" };
    Field::find(other, name).map(|field| format!("did you mean `{field}`?"))
}
