//! What became of each rule.

use std::collections::{HashMap, HashSet};

use super::{
    Ask, Became, Before, FiredAction, NotAsked, OfRule,
    change::{self, Goal},
    tree::{self, Verdict},
};
use crate::{
    Decision, Note, Rule, Ruleset, State,
    decide::{Asked, Sight, Turn},
};

/// How many conditions of rules that do not hold are shown as trees.
const MAX_TREES: usize = 100;
/// For how many rules that fired, and that did not, the smallest change is looked for unasked.
const MAX_STOPPED: usize = 3;
const MAX_STARTED: usize = 5;

/// The rules of a policy in a decision about one issue.
pub(super) fn rules(
    state: &State,
    ruleset: &Ruleset,
    sight: &Sight,
    decision: &Decision,
    ask: Ask<'_>,
) -> Vec<OfRule> {
    let met = sight.met(state, ruleset);
    let ids: HashSet<_> = met.iter().map(|rule| rule.id.as_str()).collect();
    let of_rules = OfRules { sight, met: &met, heard: Heard::gather(sight, decision) };
    let view = sight.view();
    let mut explained = Vec::new();
    for (place, rule) in ruleset.rules().enumerate() {
        let is_met = ids.contains(rule.id.as_str());
        if ask.rule.is_some_and(|asked| asked != rule.id && !is_met) {
            continue;
        }
        let reads_nothing = rule.is_momentary() && sight.event.is_none();
        let verdict = (!reads_nothing).then(|| Verdict::of(rule.condition.holds(&view)));
        explained.push(OfRule {
            id: rule.id.clone(),
            place: place + 1,
            line: rule.line,
            momentary: rule.is_momentary(),
            not_asked: of_rules.not_asked(rule, place, ruleset),
            verdict,
            condition: None,
            became: None,
            ends_walk: met.last().is_some_and(|last| last.id == rule.id && !last.goes_on)
                && !matches!(sight.asked, Asked::Timer(_)),
            before: Before {
                decided: sight.issue.deciding.contains_key(rule.id.as_str()),
                fired_at: sight.firing(rule).fired_at,
                at: rule.at.and_then(|at| at.of(&sight.issue.facts)),
                at_done: sight.firing(rule).at_done,
            },
            what_if: None,
        });
        if let Some(last) = explained.last_mut().filter(|last| last.not_asked.is_none()) {
            last.became = of_rules.became(rule, is_met);
        }
    }
    plant(&mut explained, ruleset, sight, ask);
    let wishes = wishes(&explained, ask);
    for (index, goal) in wishes {
        if let Some(rule) = ruleset.rule(&explained[index].id) {
            explained[index].what_if = Some(change::search(state, ruleset, sight, rule, goal));
        }
    }
    explained
}

/// Grows the trees: of all rules but the many that do not hold.
fn plant(explained: &mut [OfRule], ruleset: &Ruleset, sight: &Sight, ask: Ask<'_>) {
    let mut trees = 0;
    for it in explained {
        let (Some(_), Some(rule)) = (it.verdict, ruleset.rule(&it.id)) else { continue };
        let matters = ask.rule == Some(&it.id) || it.became.is_some();
        let other_timer = it.not_asked == Some(NotAsked::OtherTimer);
        if matters || (trees < MAX_TREES && !other_timer) {
            trees += 1;
            it.condition = Some(tree::grow(&rule.condition, sight));
        }
    }
}

/// For which rules which change is looked for.
fn wishes(explained: &[OfRule], ask: Ask<'_>) -> Vec<(usize, Goal)> {
    let (mut stopped, mut started) = (0, 0);
    let mut wishes = Vec::new();
    for (index, it) in explained.iter().enumerate() {
        let goal = match (&it.became, &it.not_asked) {
            (_, Some(NotAsked::OtherTimer)) => continue,
            (Some(Became::Fired { .. }), _) => Goal::NotFire,
            (Some(Became::DecidedAlready), _) => Goal::NotDecide,
            _ => Goal::Fire,
        };
        if let Some(asked) = ask.rule {
            if asked == it.id {
                wishes.push((index, goal));
            }
            continue;
        }
        // What needs another kind of input altogether is not worth a search unasked.
        let is_far = matches!(it.not_asked, Some(NotAsked::NoEvent | NotAsked::Late));
        let (count, most) = match goal {
            Goal::Fire => (&mut started, MAX_STARTED),
            Goal::NotFire | Goal::NotDecide => (&mut stopped, MAX_STOPPED),
        };
        if !is_far && *count < most {
            *count += 1;
            wishes.push((index, goal));
        }
    }
    wishes
}

/// What a decision says of each rule, for one issue.
#[derive(Default)]
struct Heard<'d> {
    fired: HashMap<&'d str, Vec<FiredAction>>,
    suppressed: HashMap<&'d str, chrono::DateTime<chrono::Utc>>,
    unresolved: HashMap<&'d str, Vec<usize>>,
}

impl<'d> Heard<'d> {
    fn gather(sight: &Sight, decision: &'d Decision) -> Self {
        let mut heard = Self::default();
        let of_issue = |issue_ref: &str| issue_ref == sight.issue_ref;
        for action in &decision.actions {
            let (Some(rule), true) =
                (action.rule.as_deref(), action.issue_ref.as_deref().is_some_and(of_issue))
            else {
                continue;
            };
            heard.fired.entry(rule).or_default().push(FiredAction {
                id: (sight.asked != Asked::Lasting).then(|| action.event_id.clone()),
                action: action.action.clone(),
                target: action.target.clone(),
            });
        }
        for note in &decision.notes {
            match note {
                Note::Suppressed { rule, issue_ref, until } if of_issue(issue_ref) => {
                    heard.suppressed.insert(rule, *until);
                }
                Note::Unresolved { rule, issue_ref, index } if of_issue(issue_ref) => {
                    heard.unresolved.entry(rule).or_default().push(*index);
                }
                _ => {}
            }
        }
        heard
    }
}

struct OfRules<'r> {
    sight: &'r Sight,
    met: &'r [&'r Rule],
    heard: Heard<'r>,
}

impl OfRules<'_> {
    fn not_asked(&self, rule: &Rule, place: usize, ruleset: &Ruleset) -> Option<NotAsked> {
        if !self.sight.asked.asks(rule) {
            return Some(match &self.sight.asked {
                Asked::Timer(_) => NotAsked::OtherTimer,
                Asked::Momentary => NotAsked::Late,
                _ => NotAsked::NoEvent,
            });
        }
        if !self.sight.concerns(rule) {
            return Some(NotAsked::Closed);
        }
        let last = self.met.last().filter(|last| !last.goes_on)?;
        let below = ruleset.places.get(&last.id).is_some_and(|ended| *ended < place);
        below.then(|| NotAsked::AboveDecided { rule: last.id.clone() })
    }

    /// Of a rule that was asked.
    fn became(&self, rule: &Rule, is_met: bool) -> Option<Became> {
        let turn = self.sight.turn(rule);
        if turn == Turn::Done && matches!(self.sight.asked, Asked::Timer(_)) {
            return Some(Became::NotItsTurn);
        }
        if !is_met {
            return None;
        }
        let id = rule.id.as_str();
        if let Some(until) = self.heard.suppressed.get(id) {
            return Some(Became::Suppressed { until: *until });
        }
        let unresolved = self.heard.unresolved.get(id).cloned().unwrap_or_default();
        if let Some(actions) = self.heard.fired.get(id) {
            return Some(Became::Fired { actions: actions.clone(), unresolved });
        }
        if !unresolved.is_empty() {
            return Some(Became::Unresolved);
        }
        let at = rule.at.and_then(|at| at.of(&self.sight.issue.facts));
        Some(match (turn, at) {
            (Turn::Done, Some(at)) => Became::AtDone { at },
            _ => Became::DecidedAlready,
        })
    }
}
