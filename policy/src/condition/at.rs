//! `at`: a time of the issue, plus or minus durations.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, SourceInfo, operators as op},
};
use chrono::TimeDelta;

use super::{
    Budget, Problem,
    field::{Field, Type, fields_of},
    slip,
    span::Places,
};
use crate::{
    diagnostic::{did_you_mean, quoted},
    load::duration,
    rule::At,
};

/// The most words, signs and literals: three durations.
const MAX_TOKENS: usize = 24;
const REFUSED: &str = "`at` is a time of the issue, plus or minus a duration";
const EXAMPLE: &str = "such as `issue.due_at` or `issue.due_at - duration(\"24h\")`";

/// Parses an `at`. Call it on a thread with a large stack.
pub(crate) fn parse_at(text: &str, budget: &mut Budget) -> Result<At, Vec<Problem>> {
    if let Some(known) = budget.times.get(text) {
        return Ok(*known);
    }
    let tokens = slip::tokens(text).len();
    if tokens > MAX_TOKENS {
        return Err(vec![Problem::new(None, REFUSED).hint(EXAMPLE)]);
    }
    let (tree, positions) = budget.parse(text, tokens)?;
    let at = at(text, &tree, &positions).map_err(|problem| vec![problem])?;
    budget.times.insert(text.into(), at);
    Ok(at)
}

fn at(text: &str, tree: &IdedExpr, positions: &SourceInfo) -> Result<At, Problem> {
    let places = Places::new(text, positions);
    let place = |node: &IdedExpr| places.span(node);
    let refuse = |node: &IdedExpr| Problem::new(place(node), REFUSED).hint(EXAMPLE);
    // From the outside in: the parser nests sums to the left.
    let (mut node, mut shift) = (tree, TimeDelta::zero());
    loop {
        match &node.expr {
            Expr::Select(select)
                if !select.test && matches!(&select.operand.expr, Expr::Ident(root) if root == "issue") =>
            {
                let field = Field::find("issue", &select.field);
                return match field {
                    Some(field) if field.spec().value_type == Type::Time => Ok(At { field, shift }),
                    Some(field) => {
                        Err(Problem::new(place(node), format!("`{field}` is not a time")).hint(times()))
                    }
                    None => {
                        let known = fields_of("issue").map(|spec| spec.name);
                        let hint =
                            did_you_mean(&select.field, known).map(|hint| hint.replacen('`', "`issue.", 1));
                        let field = quoted(&format!("issue.{}", select.field));
                        Err(Problem::new(place(node), format!("unknown field {field}"))
                            .hint(hint.unwrap_or_else(times)))
                    }
                };
            }
            Expr::Call(sum) if matches!(sum.func_name.as_str(), op::ADD | op::SUBSTRACT) => {
                let [left, right] = sum.args.as_slice() else { return Err(refuse(node)) };
                let Expr::Call(call) = &right.expr else { return Err(refuse(right)) };
                let ("duration", [argument]) = (call.func_name.as_str(), call.args.as_slice()) else {
                    return Err(refuse(right));
                };
                let Expr::Literal(LiteralValue::String(by)) = &argument.expr else {
                    return Err(refuse(right));
                };
                let by = duration::of_cel(by.inner())
                    .map_err(|problem| Problem { span: place(argument), ..problem })?;
                let sum =
                    if sum.func_name == op::ADD { shift.checked_add(&by) } else { shift.checked_sub(&by) };
                (node, shift) = (left, sum.ok_or_else(|| refuse(right))?);
            }
            _ => return Err(refuse(node)),
        }
    }
}

fn times() -> String {
    let times = fields_of("issue").filter(|spec| spec.value_type == Type::Time);
    let names: Vec<_> = times.map(|spec| spec.field.to_string()).collect();
    format!("times are {}", names.join(", "))
}
