//! Which action of the candidate stands for which of the current policy, among those of one instant.
//!
//! Two go together only where a person would say that it is the same thing done otherwise: about the same issue, of the same kind, and
//! by the same cause or the same rule. An escalation in the place of a nudge is one action fewer and another one more.

use events::Action;

/// An action of either policy, or one of each that are the same thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// What the current policy does.
    pub(super) current: Option<&'a Action>,
    /// What the candidate does.
    pub(super) candidate: Option<&'a Action>,
}

/// How much two actions of one issue, instant and kind have in common: the first of these by which any two go together takes them.
type Likeness = fn(&Action, &Action) -> bool;
const LIKENESSES: [Likeness; 5] = [
    // Cause, issue, rule and place in the rule.
    |a, b| a.event_id == b.event_id,
    |a, b| same_cause(a, b) && a.rule == b.rule,
    |a, b| same_cause(a, b) && a.target == b.target,
    same_cause,
    |a, b| a.rule == b.rule,
];

/// An event is one cause. A timer is one rule's: those of an issue that are due at one instant count as one, so that a rule with
/// another name is not another thing.
fn same_cause(a: &Action, b: &Action) -> bool {
    let of_timer = |action: &Action| action.cause.as_deref().is_some_and(|cause| cause.starts_with("t-"));
    a.cause == b.cause || (of_timer(a) && of_timer(b))
}

/// Pairs the actions of one instant, issue by issue. Sorts both lists by project and issue.
pub(super) fn pairs(current: &mut [Action], candidate: &mut [Action], mut each: impl FnMut(Pair<'_>)) {
    for side in [&mut *current, &mut *candidate] {
        // Stable: within an issue the order of the policy stays.
        side.sort_by(|a, b| issue(a).cmp(&issue(b)));
    }
    let (mut current, mut candidate) = (&*current, &*candidate);
    while let Some(of) = [current.first(), candidate.first()].into_iter().flatten().map(issue).min() {
        let count = |side: &[Action]| side.iter().take_while(|action| issue(action) == of).count();
        let (old, rest) = current.split_at(count(current));
        let (new, others) = candidate.split_at(count(candidate));
        (current, candidate) = (rest, others);
        pair_issue(old, new, &mut each);
    }
}

fn issue(action: &Action) -> (&str, Option<&str>) {
    (&action.project_id, action.issue_ref.as_deref())
}

fn pair_issue(current: &[Action], candidate: &[Action], each: &mut impl FnMut(Pair<'_>)) {
    let mut partners: Vec<Option<&Action>> = vec![None; candidate.len()];
    let mut left: Vec<&Action> = current.iter().collect();
    for alike in LIKENESSES {
        for (new, partner) in candidate.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
            if let Some(place) = left.iter().position(|old| old.action == new.action && alike(old, new)) {
                *partner = Some(left.remove(place));
            }
        }
    }
    for (new, partner) in candidate.iter().zip(partners) {
        each(Pair { current: partner, candidate: Some(new) });
    }
    for old in left {
        each(Pair { current: Some(old), candidate: None });
    }
}

#[cfg(test)]
mod tests {
    use events::id;

    use super::*;

    /// `issue rule action target`
    fn action(text: &str) -> Action {
        let [issue_ref, rule, action, target] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Action {
            event_id: id::action("e", issue_ref, rule, 0),
            project_id: "alpha".into(),
            action: action.into(),
            target: target.into(),
            rationale: String::new(),
            source_ref: String::new(),
            issue_ref: Some(issue_ref.into()),
            cause: Some("e".into()),
            rule: Some(rule.into()),
            policy_hash: None,
            evaluated_at: None,
            params: Default::default(),
        }
    }

    fn paired(current: &[&str], candidate: &[&str]) -> Vec<String> {
        let [mut current, mut candidate] =
            [current, candidate].map(|side| side.iter().copied().map(action).collect::<Vec<_>>());
        let mut told = Vec::new();
        let text = |action: Option<&Action>| {
            action.map_or("–".to_owned(), |a| format!("{}{}", a.rule.as_ref().unwrap(), a.target))
        };
        pairs(&mut current, &mut candidate, |pair| {
            let issue = pair.current.or(pair.candidate).unwrap().issue_ref.clone().unwrap();
            told.push(format!("{issue}: {} → {}", text(pair.current), text(pair.candidate)));
        });
        told
    }

    #[test]
    fn the_nearest_go_together_and_each_once() {
        assert_eq!(
            paired(&["1 a nudge x", "1 b call x"], &["1 c call x", "1 a nudge y"]),
            ["1: bx → cx", "1: ax → ay"],
            "the same rule first, then the same action"
        );
        assert_eq!(paired(&["1 a nudge x"], &["1 b nudge x", "1 c nudge x"]), ["1: ax → bx", "1: – → cx"]);
        assert_eq!(paired(&["1 a nudge x", "1 b call y"], &[]), ["1: ax → –", "1: by → –"]);
        assert_eq!(
            paired(&["1 a nudge x"], &["1 b nudge y"]),
            ["1: ax → by"],
            "one event, one issue, one kind"
        );
    }

    #[test]
    fn an_escalation_is_not_a_changed_nudge() {
        let apart = ["1: – → ax", "1: ax → –"];
        assert_eq!(paired(&["1 a nudge x"], &["1 a call x"]), apart, "of the same rule for the same target");
        assert_eq!(
            paired(&["1 a nudge x", "1 b call y"], &["1 a call x", "1 b nudge y"]),
            ["1: by → ax", "1: ax → by"],
            "as many of each kind as before, by another rule"
        );
    }

    #[test]
    fn another_cause_is_another_thing_unless_the_rule_is_the_same() {
        let by = |cause: &str, rule: &str| Action {
            event_id: id::action(cause, "1", rule, 0),
            cause: Some(cause.into()),
            ..action(&format!("1 {rule} nudge x"))
        };
        let pairs_of = |old: Action, new: Action| {
            let mut count = 0;
            pairs(&mut [old], &mut [new], |_| count += 1);
            count
        };
        assert_eq!(pairs_of(by("gh-1", "a"), by("t-1", "b")), 2);
        assert_eq!(pairs_of(by("gh-1", "a"), by("t-1", "a")), 1, "found by an event instead of its timer");
        assert_eq!(pairs_of(by("t-1", "a"), by("t-2", "b")), 1, "a rule that was renamed");
        assert_eq!(pairs_of(by("gh-1", "a"), by("gh-2", "b")), 2);
    }

    #[test]
    fn issues_are_apart() {
        assert_eq!(
            paired(&["2 a nudge x", "1 a nudge x"], &["3 a nudge x", "2 a nudge x"]),
            ["1: ax → –", "2: ax → ax", "3: – → ax"]
        );
    }
}
