//! What was expected beside what happened.

use std::{collections::BTreeSet, fmt};

use super::{
    expected::Expected,
    in_words,
    run::{Cause, Happened},
    step::Expect,
};

/// How many lines of a kind are compared and shown, where they begin to differ.
const MAX_LINES: usize = 40;
/// How many lines that agree are shown before those that differ.
const MAX_BEFORE: usize = 3;

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It happened, and nothing is wrong with that.
    Same(String),
    /// It was expected and did not happen.
    Missing(String),
    /// It happened and was not expected.
    Unexpected(String),
    /// So many more lines are not shown.
    LeftOut(usize),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(text) => write!(f, "  {text}"),
            Self::Missing(text) => write!(f, "- {text}"),
            Self::Unexpected(text) => write!(f, "+ {text}"),
            Self::LeftOut(count) => write!(f, "  … {count} more"),
        }
    }
}

/// What differs in a step.
pub(super) struct Difference<'e> {
    pub(super) message: String,
    pub(super) lines: Vec<Line>,
    pub(super) missing: Vec<&'e Expected>,
}

/// `None` when everything is as expected.
pub(super) fn compare<'e>(expect: &'e Expect, happened: &[Happened]) -> Option<Difference<'e>> {
    match &expect.exactly {
        Some(expected) => exactly(expected, happened),
        None => partly(&expect.some, &expect.none, happened),
    }
}

fn exactly<'e>(expected: &'e [Expected], happened: &[Happened]) -> Option<Difference<'e>> {
    let same = expected.iter().zip(happened).take_while(|(one, other)| one.is_like(&other.action)).count();
    if same == expected.len() && same == happened.len() {
        return None;
    }
    let shown = Shown::of(expected, happened);
    let before = same.saturating_sub(MAX_BEFORE);
    let mut lines: Vec<_> = (before > 0).then_some(Line::LeftOut(before)).into_iter().collect();
    lines.extend(happened[before..same].iter().map(|one| Line::Same(shown.line(one))));
    let (left, right) = (&expected[same..], &happened[same..]);
    let (left_out, right_out) = (left.len().saturating_sub(MAX_LINES), right.len().saturating_sub(MAX_LINES));
    let (left, right) = (&left[..left.len() - left_out], &right[..right.len() - right_out]);
    let mut missing = Vec::new();
    for pair in align(left, right) {
        lines.push(match pair {
            (Some(_), Some(happened)) => Line::Same(shown.line(happened)),
            (Some(expected), None) => {
                missing.push(expected);
                Line::Missing(expected.to_string())
            }
            (None, Some(happened)) => Line::Unexpected(shown.line(happened)),
            (None, None) => continue,
        });
    }
    if left_out + right_out > 0 {
        lines.push(Line::LeftOut(left_out + right_out));
    }
    let message = match (expected.len(), happened.len()) {
        (0, _) => "no action was expected".to_owned(),
        (_, 0) => "no action followed".to_owned(),
        _ => "the actions differ: `-` was expected, `+` happened instead".to_owned(),
    };
    Some(Difference { message, lines, missing })
}

/// The longest common sequence, and what is left between. Both are at most [`MAX_LINES`] long.
fn align<'e, 'h>(
    expected: &'e [Expected],
    happened: &'h [Happened],
) -> Vec<(Option<&'e Expected>, Option<&'h Happened>)> {
    // lengths[i][j]: of the longest common sequence of what follows i and j.
    let mut lengths = vec![vec![0_usize; happened.len() + 1]; expected.len() + 1];
    for (i, one) in expected.iter().enumerate().rev() {
        for (j, other) in happened.iter().enumerate().rev() {
            lengths[i][j] = match one.is_like(&other.action) {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    loop {
        pairs.push(match (expected.get(i), happened.get(j)) {
            (None, None) => return pairs,
            (Some(one), Some(other))
                if one.is_like(&other.action) && lengths[i][j] == lengths[i + 1][j + 1] + 1 =>
            {
                (i, j) = (i + 1, j + 1);
                (Some(one), Some(other))
            }
            (Some(one), other) if other.is_none() || lengths[i + 1][j] >= lengths[i][j + 1] => {
                i += 1;
                (Some(one), None)
            }
            (_, other) => {
                j += 1;
                (None, other)
            }
        });
    }
}

fn partly<'e>(some: &'e [Expected], none: &[Expected], happened: &[Happened]) -> Option<Difference<'e>> {
    let missing = unmatched(some, happened);
    let is_barred = |one: &&Happened| none.iter().any(|none| none.is_like(&one.action));
    let barred = happened.iter().filter(is_barred).count();
    if missing.is_empty() && barred == 0 {
        return None;
    }
    let shown = Shown::of(some.iter().chain(none), happened);
    let lines = happened.iter().take(MAX_LINES).map(|one| match is_barred(&one) {
        true => Line::Unexpected(shown.line(one)),
        false => Line::Same(shown.line(one)),
    });
    let left_out = happened.len().saturating_sub(MAX_LINES);
    let mut lines: Vec<_> = lines.chain((left_out > 0).then_some(Line::LeftOut(left_out))).collect();
    lines.extend(missing.iter().map(|expected| Line::Missing(expected.to_string())));
    let message = match (missing.is_empty(), barred) {
        (false, 0) => "not every expected action (`-`) is among the actions",
        (true, _) => "an action (`+`) that must not be is among the actions",
        (false, _) => "expected actions (`-`) are missing, and there are some (`+`) that must not be",
    };
    Some(Difference { message: message.to_owned(), lines, missing })
}

/// Those for which there is no action left when each action may stand for one of them: a largest matching (augmenting paths).
fn unmatched<'e>(expected: &'e [Expected], happened: &[Happened]) -> Vec<&'e Expected> {
    // As many candidates as there are expectations are always enough.
    let candidates = |one: &Expected| -> Vec<usize> {
        let like = happened.iter().enumerate().filter(|(_, other)| one.is_like(&other.action));
        like.map(|(place, _)| place).take(expected.len()).collect()
    };
    let candidates: Vec<_> = expected.iter().map(candidates).collect();
    let mut taken = vec![None; happened.len()];
    let mut left = Vec::new();
    for (place, one) in expected.iter().enumerate() {
        if !find_place(place, &candidates, &mut taken, &mut BTreeSet::new()) {
            left.push(one);
        }
    }
    left
}

fn find_place(
    expected: usize,
    candidates: &[Vec<usize>],
    taken: &mut [Option<usize>],
    tried: &mut BTreeSet<usize>,
) -> bool {
    for &action in &candidates[expected] {
        if !tried.insert(action) {
            continue;
        }
        // At most as deep as there are expectations.
        if taken[action].is_none_or(|holder| find_place(holder, candidates, taken, tried)) {
            taken[action] = Some(expected);
            return true;
        }
    }
    false
}

/// What of an action is shown besides action, target and rule: what somebody asked for, and what tells actions apart.
struct Shown {
    at: bool,
    issue: bool,
    project: bool,
    rationale: bool,
    params: BTreeSet<String>,
}

impl Shown {
    fn of<'e>(expected: impl IntoIterator<Item = &'e Expected> + Clone, happened: &[Happened]) -> Self {
        let any = |named: fn(&Expected) -> bool| expected.clone().into_iter().any(named);
        let issues: BTreeSet<_> =
            happened.iter().map(|one| (&one.action.project_id, &one.action.issue_ref)).collect();
        let params = expected.clone().into_iter().flat_map(|one| &one.params);
        Self {
            at: any(|one| one.at.is_some()),
            issue: issues.len() > 1 || any(|one| one.issue.is_some()),
            project: any(|one| one.project.is_some()),
            rationale: any(|one| one.rationale.is_some()),
            params: params.map(|(name, _)| name.clone()).collect(),
        }
    }

    fn line(&self, happened: &Happened) -> String {
        let Happened { action, cause } = happened;
        let at = action.evaluated_at.map(in_words).unwrap_or_default();
        let rule = action.rule.as_deref().unwrap_or_default();
        let mut line = format!("{} {} {rule}", action.action, action.target);
        if let (true, Some(issue)) = (self.issue, &action.issue_ref) {
            line.push_str(&format!(" issue={issue}"));
        }
        if self.project {
            line.push_str(&format!(" project={}", action.project_id));
        }
        if self.at {
            line.push_str(&format!(" @{at}"));
        }
        if self.rationale {
            line.push_str(&format!(" rationale={:?}", action.rationale));
        }
        for name in &self.params {
            let value = action.params.get(name).map_or_else(|| "none".to_owned(), ToString::to_string);
            line.push_str(&format!(" {name}={value}"));
        }
        let why = match cause {
            Cause::Event => None,
            Cause::At => Some("its `at` came"),
            Cause::Repeat => Some("its `repeat` came"),
        };
        match (self.at, why) {
            (true, None) => line,
            (true, Some(why)) => format!("{line}   ({why})"),
            (false, None) => format!("{line}   ({at})"),
            (false, Some(why)) => format!("{line}   ({at}: {why})"),
        }
    }
}
