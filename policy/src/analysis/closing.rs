//! Rules about the end of an issue that are not asked about closed issues.
//!
//! After `issue_closed` and `issue_deleted` an issue is closed, and only rules with `on_closed` are asked. (What comes late, after
//! the issue was reopened, is the exception: so this is not said to be impossible.)

use super::{Steps, known::Known, parts::span_of, ways::Ways};
use crate::{
    Rule,
    condition::{
        Problem,
        expr::{List, Logic, Term, Test},
        field::Field,
    },
};

pub(super) fn look_into<'f>(
    rule: &'f Rule,
    ways: &Ways<'f>,
    steps: &Steps,
    report: &mut impl FnMut(Problem),
) {
    let Some(possible) = ways.possible.as_ref().filter(|_| rule.is_momentary() && !rule.on_closed) else {
        return;
    };
    let base = Known::when_asked(rule);
    let mut said = Vec::new();
    for way in possible {
        let Some(asks) =
            way.literals.iter().find(|literal| literal.holds && asks_for_type(&literal.leaf.logic))
        else {
            continue;
        };
        let known = base.with(&way.literals, steps);
        let types = known.values().find(|(field, _)| *field == Field::EventType).map(|(_, types)| types);
        let ends = |name: &&str| matches!(*name, "issue_closed" | "issue_deleted");
        let Some(types) = types.filter(|types| !types.is_empty() && types.iter().all(ends)) else { continue };
        let span = span_of(asks.shown);
        if !said.contains(&span) {
            said.push(span.clone());
            let message = match types.as_slice() {
                ["issue_deleted"] => {
                    "an issue is deleted with this event, and the rule is for open issues only"
                }
                _ => "an issue is closed with this event, and the rule is for open issues only",
            };
            report(Problem::new(span, message).hint("give the rule `on_closed: true`"));
        }
    }
}

fn asks_for_type(logic: &Logic) -> bool {
    let is_type = |term: &Term| *term == Term::Field(Field::EventType);
    match logic {
        Logic::Test(Test::Compare { left, right, .. }) => is_type(left) || is_type(right),
        Logic::Test(Test::In { term, list: List::Of(_) }) => is_type(term),
        _ => false,
    }
}
