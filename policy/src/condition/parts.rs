//! What conditions share: whatever stands between `&&` and `||` is parsed once, however many rules of a policy say it.
//!
//! A condition is taken apart at the operators that stand in no brackets; what has `? :` there is one part. Each part is a
//! condition of its own, parsed and lowered where no rule said it before, and put in its place. Where a part is refused, the
//! condition is parsed as a whole, which tells everything that is wrong with it.
//!
//! Nothing is lost by it: operands of `&&` and `||` are lowered alike wherever they stand.

use std::{collections::HashMap, ops::Range};

use super::{
    Budget,
    expr::{Formula, Logic},
    lower,
    slip::{Bracket, Token},
};

/// The parts of a policy's conditions, each with whether it reads `event`.
pub(super) type Parts = HashMap<Box<str>, (Formula, bool)>;

/// The formula of a condition, and whether it reads `event`; `None` where a part is refused, or has to be read with the rest.
pub(super) fn put_together(text: &str, tokens: &[Token<'_>], budget: &mut Budget) -> Option<(Formula, bool)> {
    let mut reads_event = false;
    let mut alternatives = Vec::new();
    for operands in take_apart(tokens)? {
        let mut formulas = Vec::with_capacity(operands.len());
        for operand in &operands {
            let (formula, reads) = part(text, operand, budget)?;
            reads_event |= reads;
            formulas.push(formula);
        }
        let whole = operands.first()?.first()?.start..operands.last()?.last()?.span().end;
        alternatives.push(join(formulas, whole, true));
    }
    Some((join(alternatives, 0..text.len(), false), reads_event))
}

/// The operands of `||`, each as those of `&&`; `None` where there is more between them than that.
fn take_apart<'t, 's>(tokens: &'t [Token<'s>]) -> Option<Vec<Vec<&'t [Token<'s>]>>> {
    let mut alternatives = Vec::new();
    let mut operands = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (place, token) in tokens.iter().enumerate() {
        match token.bracket() {
            Some(Bracket::Opens) => depth += 1,
            Some(Bracket::Closes) => depth = depth.checked_sub(1)?,
            None => {}
        }
        match token.symbol()? {
            operator @ ("&&" | "||") if depth == 0 => {
                operands.push(&tokens[begin..place]);
                if operator == "||" {
                    alternatives.push(std::mem::take(&mut operands));
                }
                begin = place + 1;
            }
            // They reach further than `||`.
            symbol if depth == 0 && symbol.contains(['?', ':', '`']) => return None,
            _ => {}
        }
    }
    operands.push(&tokens[begin..]);
    alternatives.push(operands);
    (depth == 0).then_some(alternatives)
}

/// One part, where it stands.
fn part(text: &str, tokens: &[Token<'_>], budget: &mut Budget) -> Option<(Formula, bool)> {
    let range = tokens.first()?.start..tokens.last()?.span().end;
    let written = text.get(range.clone())?;
    if !budget.parts.contains_key(written) {
        let (tree, positions) = budget.parse(written, tokens.len()).ok()?;
        let lowered = lower::lower(written, &tree, &positions, budget).ok()?;
        budget.parts.insert(written.into(), lowered);
    }
    let (mut formula, reads_event) = budget.parts.get(written)?.clone();
    formula.move_by(range.start);
    Some((formula, reads_event))
}

/// The formulas joined by `&&` (`and`) or `||`; one that is of the same kind stands for its own parts.
fn join(mut formulas: Vec<Formula>, span: Range<usize>, and: bool) -> Formula {
    if formulas.len() == 1
        && let Some(single) = formulas.pop()
    {
        return single;
    }
    let mut parts = Vec::with_capacity(formulas.len());
    for formula in formulas {
        match (formula.logic, and) {
            (Logic::And(inner), true) | (Logic::Or(inner), false) => parts.extend(inner),
            (logic, _) => parts.push(Formula { logic, span: formula.span }),
        }
    }
    Formula { logic: if and { Logic::And(parts) } else { Logic::Or(parts) }, span }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::condition::{Condition, parse_at, slip};

    fn apart(text: &str, budget: &mut Budget) -> Option<(Formula, bool)> {
        put_together(text, &slip::tokens(text), budget)
    }

    fn whole(text: &str) -> Option<(Formula, bool)> {
        let mut budget = Budget::default();
        let (tree, positions) = budget.parse(text, 0).ok()?;
        lower::lower(text, &tree, &positions, &mut budget).ok()
    }

    /// Every formula in one, with what was written where it stands.
    fn told(text: &str, formula: &Formula) -> Vec<String> {
        let mut told = Vec::new();
        formula
            .visit(&mut |formula| told.push(format!("{} {:?}", &text[formula.span.clone()], formula.logic)));
        told
    }

    #[test]
    fn the_same_part_is_parsed_once() {
        let mut budget = Budget::default();
        for text in ["issue.number == 1 && (now < issue.due_at)", "(now < issue.due_at) || issue.number == 1"]
        {
            assert!(apart(text, &mut budget).is_some());
        }
        assert_eq!(budget.parts.len(), 2);
    }

    #[test]
    fn what_is_parsed_is_bounded_and_what_was_parsed_is_not_counted() {
        let said = |text: &str, tokens: usize| {
            let mut budget = Budget { tokens, ..Budget::default() };
            let parsed = Condition::parse(text, &mut budget).map(|_| budget.tokens);
            parsed.map_err(|problems| problems[0].message.clone())
        };
        let refused = Err("the conditions up to here have more than 150000 words and signs".to_owned());
        assert_eq!(said("issue.number == 1", 5), Ok(0));
        assert_eq!(said("issue.number == 1", 4), refused);
        assert_eq!(said("issue.number == 1 && (issue.number == 1 || issue.number == 1)", 18), Ok(0));
        assert_eq!(said("issue.number == 1 && issue.number == 1 || issue.number == 1", 5), Ok(0));
        // The parser looks each character beyond ASCII up anew, and comments are words to it.
        assert_eq!(said("issue.title == 'éü'", 11), Ok(0));
        assert_eq!(said("issue.title == 'éü'", 10), refused);
        assert_eq!(said("issue.number // one\n // two\n == 1", 6), refused);
        let mut budget = Budget { tokens: 8, ..Budget::default() };
        for _ in 0..2 {
            parse_at("issue.due_at + duration('1h')", &mut budget).unwrap();
        }
        assert_eq!(budget.tokens, 0);
        assert!(parse_at("issue.due_at", &mut budget).unwrap_err()[0].message.contains("words and signs"));
    }

    fn conditions() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "true",
            "issue.number == 1",
            "'&&' != issue.title",
            r#"issue.title == r"\" "#,
            "issue.title.contains(TTTa' || 'bTTT)",
            "'ü' in issue.labels",
            "!('x' in event.labels_added)",
            "issue.labels.exists(l, l == 'a' || l.startsWith('b') && true)",
            "(now < issue.due_at)",
            "issue.number in [1, (2)]",
            "(true ? issue.number : 2) == 2 // || so\n",
            "true ? false : true",
            "issue.lables == null",
            "issue.title",
            "(",
            ")",
            "",
        ]);
        let leaf = leaf.prop_map(|leaf| leaf.replace("TTT", "'''"));
        let operator = prop::sample::select(vec![
            " && ",
            " && ",
            "&&",
            "&&",
            " || ",
            " || ",
            "||",
            " //&& (\n|| ",
            " ",
            " == ",
            " ? ",
            " : ",
        ]);
        leaf.prop_recursive(4, 24, 4, move |inner| {
            (prop::collection::vec((operator.clone(), inner), 1..4), any::<bool>()).prop_map(
                |(parts, bracketed)| {
                    let first = parts[0].1.clone();
                    let rest: String =
                        parts[1..].iter().map(|(operator, part)| format!("{operator}{part}")).collect();
                    if bracketed { format!("({first}{rest})") } else { first + &rest }
                },
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn a_condition_is_what_it_is_as_a_whole(text in conditions()) {
            if let Some((apart, reads_event)) = apart(&text, &mut Budget::default()) {
                let (whole, whole_reads_event) = whole(&text).expect("its parts are conditions");
                prop_assert_eq!(reads_event, whole_reads_event);
                prop_assert_eq!(&apart, &whole);
                // Where the whole stands is not said here.
                prop_assert_eq!(&told(&text, &apart)[1..], &told(&text, &whole)[1..]);
            }
        }
    }
}
