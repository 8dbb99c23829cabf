//! Which action of the candidate stands for which of the current policy, among those of one instant.

use events::Action;

/// An action of either policy, or one of each that are about the same thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// What the current policy does.
    pub(super) current: Option<&'a Action>,
    /// What the candidate does.
    pub(super) candidate: Option<&'a Action>,
}

/// How much two actions of one issue and instant have in common: the first of these by which any two go together takes them.
type Likeness = fn(&Action, &Action) -> bool;
const LIKENESSES: [Likeness; 6] = [
    // Cause, issue, rule and place in the rule: the same thing, though perhaps done otherwise.
    |a, b| a.event_id == b.event_id,
    |a, b| a.rule == b.rule,
    |a, b| a.action == b.action && a.target == b.target,
    |a, b| a.action == b.action,
    |a, b| a.target == b.target,
    |_, _| true,
];

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
            if let Some(place) = left.iter().position(|old| alike(old, new)) {
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
        assert_eq!(paired(&["1 a nudge x"], &["1 b call y"]), ["1: ax → by"], "one event, one issue");
    }

    #[test]
    fn issues_are_apart() {
        assert_eq!(
            paired(&["2 a nudge x", "1 a nudge x"], &["3 a nudge x", "2 a nudge x"]),
            ["1: ax → –", "2: ax → ax", "3: – → ax"]
        );
    }
}
