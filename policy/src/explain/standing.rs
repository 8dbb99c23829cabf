//! What became of each rule.

use std::collections::{HashMap, HashSet};

use super::{
    Became, Before, FiredAction, Focus, NotAsked, OfRule, SetTimer,
    change::{self, Goal},
    shown,
    tree::{self, Verdict},
};
use crate::{
    Decision, Note, Rule, Ruleset, State,
    decide::{Edge, Occasion, Sight},
};

/// How many conditions of rules that do not hold are shown as trees.
const MAX_TREES: usize = 100;
/// For how many rules that fired, and that did not, the smallest change is looked for unasked.
const MAX_STOPPED: usize = 3;
const MAX_STARTED: usize = 5;

/// The rules of a policy, asked once about one issue, and what was decided.
#[derive(Clone, Copy)]
pub(super) struct Round<'r> {
    pub(super) state: &'r State,
    pub(super) ruleset: &'r Ruleset,
    pub(super) sight: &'r Sight,
    pub(super) decision: &'r Decision,
    pub(super) focus: Focus<'r>,
}

/// What became of those rules that `tells` names. `timers` are those that are set now.
pub(super) fn rules(round: &Round<'_>, timers: &[SetTimer], tells: impl Fn(&Rule) -> bool) -> Vec<OfRule> {
    let Round { state, ruleset, sight, decision, focus } = *round;
    let met = sight.met(state, ruleset);
    let ids: HashSet<_> = met.iter().map(|rule| rule.id.as_str()).collect();
    let most = ruleset.actions_per_issue;
    let of_rules = OfRules { sight, most, met: &met, heard: Heard::gather(sight, decision) };
    let view = sight.view();
    let mut explained = Vec::new();
    for (place, rule) in ruleset.rules().enumerate() {
        let is_met = ids.contains(rule.id.as_str());
        let is_meant = focus.rule.is_none_or(|meant| meant == rule.id || is_met);
        if !is_meant || !tells(rule) {
            continue;
        }
        let reads_nothing = rule.is_momentary() && sight.event.is_none();
        let verdict = (!reads_nothing).then(|| Verdict::of(rule.condition.holds(&view)));
        let not_asked = of_rules.not_asked(rule, place, ruleset);
        explained.push(OfRule {
            id: rule.id.clone(),
            place: place + 1,
            line: rule.line,
            momentary: rule.is_momentary(),
            became: if not_asked.is_none() { of_rules.became(rule, is_met) } else { None },
            not_asked,
            verdict,
            condition: None,
            ends_walk: met.last().is_some_and(|last| last.id == rule.id && !last.goes_on)
                && sight.occasion != Occasion::Timer,
            before: Before {
                decided: sight.issue.deciding.contains_key(rule.id.as_str()),
                fired_at: sight.firing(rule).fired_at,
                at: rule.at.and_then(|at| at.of(&sight.issue)),
                at_done: sight.firing(rule).at_done,
            },
            next_timer: timers.iter().find(|timer| timer.rule == rule.id).cloned(),
            what_if: None,
        });
    }
    plant(&mut explained, ruleset, sight, focus);
    for (index, goal) in wishes(&explained, focus) {
        if let Some(rule) = ruleset.rule(&explained[index].id) {
            explained[index].what_if = Some(change::search(state, ruleset, sight, rule, goal));
        }
    }
    explained
}

/// Grows the trees: of all rules but the many that do not hold.
fn plant(explained: &mut [OfRule], ruleset: &Ruleset, sight: &Sight, focus: Focus<'_>) {
    let mut trees = 0;
    for it in explained {
        let (Some(_), Some(rule)) = (it.verdict, ruleset.rule(&it.id)) else { continue };
        let matters = focus.rule == Some(&it.id) || it.became.is_some();
        let other_timer = it.not_asked == Some(NotAsked::OtherTimer);
        if matters || (trees < MAX_TREES && !other_timer) {
            trees += 1;
            it.condition = Some(tree::grow(&rule.condition, sight));
        }
    }
}

impl OfRule {
    /// What needs another kind of input altogether is not worth a search unasked.
    fn is_far(&self) -> bool {
        matches!(self.not_asked, Some(NotAsked::NoEvent | NotAsked::Late | NotAsked::OtherTimer))
    }

    /// Whether a smallest change could be looked for, and was not.
    pub(super) fn is_unsearched(&self) -> bool {
        self.what_if.is_none() && !self.is_far()
    }
}

/// For which rules which change is looked for.
fn wishes(explained: &[OfRule], focus: Focus<'_>) -> Vec<(usize, Goal)> {
    let (mut stopped, mut started) = (0, 0);
    let mut wishes = Vec::new();
    for (index, it) in explained.iter().enumerate() {
        let goal = match (&it.became, &it.not_asked) {
            (_, Some(NotAsked::OtherTimer)) => continue,
            (Some(Became::Fired { .. }), _) => Goal::NotFire,
            (Some(Became::DecidedAlready), _) => Goal::NotDecide,
            _ => Goal::Fire,
        };
        if let Some(asked) = focus.rule {
            if asked == it.id {
                wishes.push((index, goal));
            }
            continue;
        }
        let (count, most) = match goal {
            Goal::Fire => (&mut started, MAX_STARTED),
            Goal::NotFire | Goal::NotDecide => (&mut stopped, MAX_STOPPED),
        };
        if !it.is_far() && *count < most {
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
    capped: HashMap<&'d str, (Vec<usize>, chrono::DateTime<chrono::Utc>)>,
}

impl<'d> Heard<'d> {
    fn gather(sight: &Sight, decision: &'d Decision) -> Self {
        let mut heard = Self::default();
        let of_issue = |issue_ref: &str| issue_ref == sight.issue_ref;
        // That an earlier action is acknowledged or taken back is nothing that its rule does.
        for action in decision.actions.iter().filter(|action| !action.action.follows_up()) {
            let (Some(rule), true) =
                (action.rule.as_deref(), action.issue_ref.as_deref().is_some_and(of_issue))
            else {
                continue;
            };
            heard.fired.entry(rule).or_default().push(FiredAction {
                id: (sight.occasion != Occasion::NoEvent).then(|| action.event_id.clone()),
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
                Note::Capped { rule, issue_ref, index, until, .. } if of_issue(issue_ref) => {
                    heard.capped.entry(rule).or_insert_with(|| (Vec::new(), *until)).0.push(*index);
                }
                _ => {}
            }
        }
        heard
    }
}

struct OfRules<'r> {
    sight: &'r Sight,
    /// The cap of actions.
    most: u32,
    met: &'r [&'r Rule],
    heard: Heard<'r>,
}

impl OfRules<'_> {
    fn not_asked(&self, rule: &Rule, place: usize, ruleset: &Ruleset) -> Option<NotAsked> {
        if !self.sight.asks(rule) {
            return Some(match &self.sight.occasion {
                Occasion::Event | Occasion::LateEvent if rule.is_momentary() => NotAsked::ByUs,
                Occasion::Timer => NotAsked::OtherTimer,
                Occasion::LateEvent => NotAsked::Late,
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
        let edge = self.sight.edge(rule);
        if edge == Edge::AtDone && self.sight.occasion == Occasion::Timer {
            return Some(Became::NoLongerDue);
        }
        if !is_met {
            return None;
        }
        let id = rule.id.as_str();
        if let Some(until) = self.heard.suppressed.get(id) {
            return Some(Became::Suppressed { until: *until, cooldown: shown::duration(rule.cooldown) });
        }
        let unresolved = self.heard.unresolved.get(id).cloned().unwrap_or_default();
        if let Some(actions) = self.heard.fired.get(id) {
            let capped = self.heard.capped.get(id).map(|(places, _)| places.clone()).unwrap_or_default();
            return Some(Became::Fired { actions: actions.clone(), unresolved, capped });
        }
        if let Some((_, until)) = self.heard.capped.get(id) {
            return Some(Became::Capped { most: self.most, until: *until });
        }
        if !unresolved.is_empty() {
            return Some(Became::Unresolved);
        }
        let at = rule.at.and_then(|at| at.of(&self.sight.issue));
        Some(match (edge, at) {
            (Edge::AtDone, Some(at)) => Became::AtDone { at },
            (Edge::Fires, _) if self.sight.is_silent_for(rule) => Became::ByUs,
            _ => Became::DecidedAlready,
        })
    }
}
