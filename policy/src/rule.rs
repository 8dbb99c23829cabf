//! A loaded policy.

use std::{collections::HashMap, ops::ControlFlow};

use chrono::{DateTime, TimeDelta, Utc};
use events::{ActionKind, Recipients};
use smallvec::SmallVec;

use crate::{
    Diagnostic, Issue, Severity,
    condition::{Condition, View, field::Field},
    index::{Asks, Index},
    load::place::Lines,
    people::{self, People},
};

/// Rules that hold, in file order: one, but for those that go on.
pub(crate) type Met<'r> = SmallVec<[&'r Rule; 4]>;

/// A loaded policy.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) hash: String,
    pub(crate) text: String,
    pub(crate) people: People,
    /// How many actions may be made for one issue in an hour.
    pub(crate) actions_per_issue: u32,
    pub(crate) rules: Vec<Rule>,
    pub(crate) places: HashMap<String, usize>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Of `rules`, made when all are there.
    pub(crate) index: Index,
}

impl Ruleset {
    /// SHA-256 of the text, 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The text it was loaded from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rules, in file order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule of that id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.places.get(id).and_then(|&place| self.rules.get(place))
    }

    /// What is probably not what was meant, though the policy holds.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Whom the rules name, in file order: each action with each target that it can be for. Who an issue's assignee is, no rule says.
    pub fn addressed(&self) -> impl Iterator<Item = Addressed<'_>> {
        let actions = self.rules.iter().flat_map(|rule| rule.then.iter().map(move |then| (rule, then)));
        actions.flat_map(|(rule, then)| {
            then.targets.iter().filter_map(move |target| {
                let target = match target {
                    Target::Assignee => return None,
                    Target::Owner(name) => format!("owner:{name}"),
                    Target::Team(team) => format!("team:{team}"),
                };
                Some(Addressed { rule, action: &then.action, target })
            })
        })
    }

    /// For whom an action with that target can be, as each tool knows them: of a team that is to own an issue, each member.
    pub fn recipients(&self, action: &ActionKind, target: &str) -> Vec<(String, Recipients)> {
        let person = |name: &str| (format!("owner:{name}"), people::only(self.people.person(name)));
        match target.split_once(':') {
            Some(("team", team)) if *action == ActionKind::AssignOwner => {
                self.people.members(team).iter().map(|name| person(name)).collect()
            }
            Some(("team", team)) => vec![(target.to_owned(), self.people.of_team(team))],
            Some((_, name)) => vec![person(name)],
            None => Vec::new(),
        }
    }

    /// A warning that stands at a rule's first line: of what only whoever uses the policy can know.
    pub fn warning_at(&self, rule: &Rule, message: String, hint: String) -> Diagnostic {
        let lines = Lines::new(&self.text);
        let text = lines.line(rule.line);
        let indent = text.len() - text.trim_start().len();
        let (start, end) = (lines.start(rule.line) + indent, lines.start(rule.line) + text.trim_end().len());
        let ((line, column), (end_line, end_column)) = (lines.place(start), lines.place(end));
        let severity = Severity::Warning;
        let hint = Some(hint);
        Diagnostic {
            line,
            column,
            end_line,
            end_column,
            span: start..end,
            severity,
            message,
            hint,
            is_dear: false,
        }
    }

    /// The rules among those asked whose condition holds, down to the first that does not go on. `erred` hears of the rules on the
    /// way whose condition was an error.
    pub(crate) fn met(&self, view: &View<'_>, asked: Asks, mut erred: impl FnMut(&Rule)) -> Met<'_> {
        let mut met = Met::new();
        self.index.candidates(view, asked, |place| match self.rules.get(place) {
            Some(rule) => rule.joins(&mut met, view, &mut erred),
            None => ControlFlow::Continue(()),
        });
        met
    }

    /// As [`Self::met`], rule by rule: what the index is measured by.
    pub(crate) fn met_by_scan(&self, view: &View<'_>, asked: Asks, mut erred: impl FnMut(&Rule)) -> Met<'_> {
        let mut met = Met::new();
        for rule in self.rules.iter().filter(|rule| asked.asks(rule)) {
            if rule.joins(&mut met, view, &mut erred).is_break() {
                break;
            }
        }
        met
    }

    /// The rules that can set a timer for a project's issues; a rule that requires another project would find nothing when it is due.
    pub(crate) fn timed(&self, project: &str) -> impl Iterator<Item = &Rule> {
        self.index.timed(project).filter_map(|place| self.rules.get(place))
    }

    /// Whether another policy decides whatever happens in a project as this one does: it has the same rules for it, in the same order, and
    /// the same people. What differs is for other projects.
    pub(crate) fn decides_alike(&self, other: &Self, project: &str) -> bool {
        self.actions_per_issue == other.actions_per_issue
            && self.people == other.people
            && self.of_project(project).eq(other.of_project(project))
    }

    /// The rules that can hold for a project's issues, or err.
    fn of_project(&self, project: &str) -> impl Iterator<Item = &Rule> {
        self.index.of_project(project).filter_map(|place| self.rules.get(place))
    }
}

/// One action of a rule, and a target that it can be for.
#[derive(Debug, Clone)]
pub struct Addressed<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// What is done.
    pub action: &'r ActionKind,
    /// `owner:NAME` or `team:NAME`.
    pub target: String,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    pub(crate) id: String,
    pub(crate) rationale: String,
    pub(crate) condition: Condition,
    pub(crate) at: Option<At>,
    pub(crate) then: Vec<Then>,
    pub(crate) repeat: Option<TimeDelta>,
    pub(crate) cooldown: TimeDelta,
    pub(crate) goes_on: bool,
    pub(crate) on_closed: bool,
    pub(crate) line: usize,
}

/// Wherever in the file it stands.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, rationale, condition, at, then, repeat, cooldown, goes_on, on_closed, line: _ } = self;
        *id == other.id
            && *rationale == other.rationale
            && condition.text() == other.condition.text()
            && *at == other.at
            && *then == other.then
            && *repeat == other.repeat
            && *cooldown == other.cooldown
            && *goes_on == other.goes_on
            && *on_closed == other.on_closed
    }
}

impl Rule {
    /// Its id, unique in the policy.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// True when the condition reads `event`: the rule decides single inputs, not the issue.
    pub fn is_momentary(&self) -> bool {
        self.condition.reads_event()
    }

    /// True when the condition reads `event.by_us`: the rule is asked about what our own accounts did, too.
    pub fn reads_by_us(&self) -> bool {
        self.condition.reads_by_us()
    }

    /// Its condition, as it is written in the file.
    pub fn condition_text(&self) -> &str {
        self.condition.text()
    }

    /// Whether it is for this issue at all.
    pub(crate) fn concerns(&self, issue: &Issue) -> bool {
        self.on_closed || issue.is_open()
    }

    /// The line of the file on which it begins, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Joins those that are met if it holds; then breaks unless it goes on.
    fn joins<'r>(
        &'r self,
        met: &mut Met<'r>,
        view: &View<'_>,
        erred: &mut impl FnMut(&Self),
    ) -> ControlFlow<()> {
        match self.condition.holds(view) {
            Ok(true) => met.push(self),
            Ok(false) => return ControlFlow::Continue(()),
            Err(_) => {
                erred(self);
                return ControlFlow::Continue(());
            }
        }
        if self.goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// One action of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Then {
    /// What is to be done.
    pub(crate) action: ActionKind,
    /// For whom: the first that resolves.
    pub(crate) targets: Vec<Target>,
    /// How long a meeting takes, in minutes.
    pub(crate) duration_min: u32,
}

/// For whom an action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Whoever the issue is assigned to; resolves when it is assigned.
    Assignee,
    /// One person, by the provider's name for them.
    Owner(String),
    /// A team of the policy.
    Team(String),
}

/// `at`: a time of the issue, shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// A field of `issue` that is a time.
    pub(crate) field: Field,
    /// What is added to it.
    pub(crate) shift: TimeDelta,
}

impl At {
    /// The instant, to the millisecond; none where the field is null or the sum is no time. Milliseconds, because a timer's
    /// id is made of them: two values that differ by less would share it.
    pub(crate) fn of(self, issue: &Issue) -> Option<DateTime<Utc>> {
        let facts = &issue.facts;
        let time = match self.field {
            Field::CreatedAt => facts.created_at,
            Field::UpdatedAt => facts.updated_at,
            Field::DueAt => facts.due_at.value().copied(),
            Field::AcknowledgedAt => issue.acknowledged().map(|acknowledged| acknowledged.at),
            _ => None,
        }?;
        let sum = time.checked_add_signed(self.shift)?;
        // Most are: providers tell seconds. (A leap second's nanoseconds go on beyond the second.)
        let nanoseconds = sum.timestamp_subsec_nanos();
        if nanoseconds % 1_000_000 == 0 && nanoseconds < 1_000_000_000 {
            return Some(sum);
        }
        let whole = DateTime::from_timestamp_millis(sum.timestamp_millis())?;
        // Upwards: a millisecond early, `issue.due_at <= now` would not hold yet.
        if whole < sum { whole.checked_add_signed(TimeDelta::milliseconds(1)) } else { Some(whole) }
    }
}
