//! Whether a condition holds for certain, when some things are known.

use super::{Steps, known::Known, ways::Expansion};
use crate::condition::{
    Formula,
    expr::{Comparison, List, Logic, Test},
};

/// Whether `formula` is true (`holds`), or false, and no error, whenever all that is known is so. False when it cannot be told.
pub(super) fn is_sure(known: &Known<'_>, formula: &Formula, holds: bool, steps: &Steps) -> bool {
    let sure = |formula: &Formula, holds| is_sure(known, formula, holds, steps);
    steps.spend(1);
    match &formula.logic {
        _ if steps.are_spent() => false,
        Logic::Always(always) => *always == holds,
        Logic::Not(inner) => sure(inner, !holds),
        Logic::And(parts) if holds => parts.iter().all(|part| sure(part, true)),
        Logic::And(parts) => parts.iter().any(|part| sure(part, false)),
        Logic::Or(parts) if holds => parts.iter().any(|part| sure(part, true)),
        Logic::Or(parts) => parts.iter().all(|part| sure(part, false)),
        Logic::If(parts) => {
            let [condition, then, otherwise] = &**parts;
            (sure(condition, true) && sure(then, holds)) || (sure(condition, false) && sure(otherwise, holds))
        }
        Logic::Test(_) | Logic::Each { .. } => {
            known.says(formula, holds)
                || (is_sayable(known, formula, steps) && known.excludes(formula, !holds, steps))
        }
    }
}

/// Whether `formula` is true whatever comes, also where that takes telling cases apart.
pub(super) fn always_holds<'f>(known: &Known<'f>, formula: &'f Formula, steps: &Steps) -> bool {
    is_sure(known, formula, true, steps)
        || (is_sayable(known, formula, steps)
            && !Expansion::new(known.clone(), steps).can_all_be(&[(formula, false)]))
}

/// Whether a formula is no error for certain.
fn is_sayable(known: &Known<'_>, formula: &Formula, steps: &Steps) -> bool {
    let sayable = |formula: &Formula| is_sayable(known, formula, steps);
    match &formula.logic {
        Logic::Always(_) => true,
        Logic::Not(inner) => sayable(inner),
        Logic::And(parts) | Logic::Or(parts) => parts.iter().all(sayable),
        Logic::If(parts) => parts.iter().all(sayable),
        // Of the elements nothing is known here but that they are texts.
        Logic::Each { list: List::Field(list), body, .. } => {
            !known.may_list_be_null(*list) && is_sayable(&known.with_element(), body, steps)
        }
        Logic::Each { .. } => false,
        Logic::Test(test) => match test {
            Test::Compare { op, left, right } => {
                let equality = matches!(op, Comparison::Equal | Comparison::NotEqual);
                [left, right]
                    .into_iter()
                    .all(|term| known.is_sayable(term, steps) && (equality || !known.may_be_null(term)))
            }
            Test::Flag(_) | Test::ListIsNull { .. } => true,
            Test::In { term, list } => {
                known.is_sayable(term, steps)
                    && match list {
                        List::Field(list) => !known.may_list_be_null(*list),
                        List::Of(elements) => elements.iter().all(|element| known.is_sayable(element, steps)),
                    }
            }
            Test::Text { text, part, .. } => {
                [text, part].into_iter().all(|term| known.is_sayable(term, steps) && !known.may_be_null(term))
            }
            Test::Matches { text, .. } => known.is_sayable(text, steps) && !known.may_be_null(text),
        },
    }
}
