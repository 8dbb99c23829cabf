//! `exists` and `all`. The parser writes both as a loop over `@result`.

use cel::{
    IdedExpr,
    common::ast::{ComprehensionExpr, Expr, LiteralValue},
};

use super::{Lowered, Lowering, Variable};
use crate::{
    condition::{
        expr::{Formula, Logic, Quantifier},
        field::fields_of,
    },
    diagnostic::quoted,
};

impl Lowering<'_> {
    pub(super) fn each(&mut self, node: &IdedExpr, it: &ComprehensionExpr) -> Option<Formula> {
        let quantifier = match &it.accu_init.expr {
            Expr::Literal(LiteralValue::Boolean(all)) if it.iter_var2.is_none() => {
                if *all.inner() {
                    Some(Quantifier::All)
                } else {
                    Some(Quantifier::Exists)
                }
            }
            _ => None,
        };
        let body = match &it.loop_step.expr {
            Expr::Call(step) => step.args.get(1),
            _ => None,
        };
        let (Some(quantifier), Some(body)) = (quantifier, body) else {
            return self.other_loop(node, it);
        };
        let list = match self.expression(&it.iter_range)? {
            Lowered::List(list) => list,
            other => {
                let message = format!("`exists` and `all` go over a list, not over {}", other.name());
                let hint = "such as `issue.labels`, or `[\"a\", \"b\"]`".to_owned();
                return self.refuse(&it.iter_range, message, hint);
            }
        };
        let name = it.iter_var.as_str();
        if fields_of(name).next().is_some() || name == "now" || self.is_variable(name) {
            let hint = "choose another name for the element".to_owned();
            return self.refuse(
                node,
                format!("{} is already the name of something else", quoted(name)),
                hint,
            );
        }
        self.variables.push(Variable {
            name: name.to_owned(),
            value_type: list.value_type,
            caseless: list.caseless,
        });
        let body = self.formula(body);
        self.variables.pop();
        let span = self.span(node).unwrap_or_default();
        Some(Formula { logic: Logic::Each { quantifier, list: list.it, body: Box::new(body?) }, span })
    }

    /// Macros over lists that are not part of the language.
    fn other_loop(&mut self, node: &IdedExpr, it: &ComprehensionExpr) -> Option<Formula> {
        let list = self.brief(&it.iter_range, "issue.labels");
        let written = self.written(node);
        let name = ["exists_one", "existsOne", "filter", "map", "transformList", "transformMap"]
            .into_iter()
            .find(|name| written.contains(&format!(".{name}")));
        let (message, hint) = match name {
            _ if it.iter_var2.is_some() && name.is_none() => (
                "`exists` and `all` have one name for the element".to_owned(),
                format!("write `{list}.exists(x, x == \"…\")`"),
            ),
            Some("exists_one" | "existsOne") => (
                "`exists_one` is not part of the language".to_owned(),
                format!("write `{list}.exists(x, …)`"),
            ),
            Some(name) => (
                format!("`{name}` is not part of the language"),
                format!("ask what its elements are: `{list}.exists(x, …)`, or `{list}.all(x, …)`"),
            ),
            None => (
                "of the functions over lists there are `exists` and `all`".to_owned(),
                format!("write `{list}.exists(x, …)`, or `{list}.all(x, …)`"),
            ),
        };
        self.refuse(node, message, hint)
    }
}
