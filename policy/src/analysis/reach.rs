//! Rules that are never reached, because earlier ones always decide first.

use super::{
    Problems, STEPS_OF_REACH, Steps,
    index::{Index, fields},
    known::Known,
    sure::{always_holds, is_sure},
    ways::Way,
};
use crate::{Rule, condition::Problem, diagnostic::quoted};

/// What one rule may take. A rule needs far less; without the limit a few that need all could starve the others.
const STEPS_A_RULE: u32 = 50_000;
/// The most rules that together are said to keep another from being reached.
const MAX_NAMED: usize = 3;
/// How many rules are named that one keeps from being reached.
const MAX_UNREACHED: usize = 5;

/// What an earlier rule leaves to a later one when it holds whenever the later one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leaves {
    Nothing,
    /// Events that come late are shown to momentary rules only.
    LateEvents,
}

/// What `earlier` leaves to `later`, both asked at the same time; `None` when that is more than can be said in a word.
fn leaves(earlier: &Rule, later: &Rule) -> Option<Leaves> {
    // A timer looks at its own rule, whoever decides.
    if earlier.goes_on || later.at.is_some() {
        return None;
    }
    match (earlier.is_momentary(), later.is_momentary()) {
        (false, true) => Some(Leaves::LateEvents),
        // Another policy lets it decide without an event, and so repeat what it did before.
        (true, false) if later.repeat.is_some() => None,
        _ => Some(Leaves::Nothing),
    }
}

/// `ways`: those of each rule's condition.
pub(super) fn look_into(rules: &[Rule], ways: &[Option<Vec<Way<'_>>>], problems: &mut Problems) {
    let total = Steps::new(STEPS_OF_REACH);
    let search = Search { rules, ways, index: Index::new(rules), steps: &total };
    let always = search.first_that_always_decides();
    // What that one leaves to each rule below it is said once, at it.
    let (mut unreached, mut late) = (Vec::new(), Vec::new());
    for (place, rule) in rules.iter().enumerate() {
        let below = always.filter(|always| *always < place);
        let left = below.and_then(|always| {
            let asked = rules[always].on_closed || !rule.on_closed;
            leaves(&rules[always], rule).filter(|_| asked)
        });
        let from_others = || search.who_decides_first(place);
        match left {
            Some(Leaves::Nothing) => unreached.push(place),
            Some(Leaves::LateEvents) => match from_others() {
                Some((Leaves::Nothing, earlier)) => {
                    problems.push((place, search.problem(Leaves::Nothing, &earlier)));
                }
                _ => late.push(place),
            },
            None => {
                if let Some((leaves, earlier)) = from_others() {
                    problems.push((place, search.problem(leaves, &earlier)));
                }
            }
        }
    }
    if let Some(always) = always {
        problems.extend(search.always_decides(always, &unreached, &late).map(|problem| (always, problem)));
    }
}

struct Search<'r, 'f> {
    rules: &'f [Rule],
    ways: &'r [Option<Vec<Way<'f>>>],
    index: Index<'f>,
    steps: &'r Steps,
}

impl<'f> Search<'_, 'f> {
    fn first_that_always_decides(&self) -> Option<usize> {
        self.rules.iter().position(|rule| {
            let steps = self.steps.part(STEPS_A_RULE);
            let known = Known::when_asked(rule);
            let always = !rule.goes_on && always_holds(&known, rule.condition.formula(), &steps);
            self.steps.take_back(&steps);
            always
        })
    }

    /// The earlier rules of which one always decides before this one, and what they leave to it.
    fn who_decides_first(&self, place: usize) -> Option<(Leaves, Vec<usize>)> {
        let ways = self.ways[place].as_ref().filter(|ways| !ways.is_empty() && !self.steps.are_spent())?;
        let steps = self.steps.part(STEPS_A_RULE);
        let found = self.who_decides_first_within(place, ways, &steps);
        self.steps.take_back(&steps);
        found
    }

    fn who_decides_first_within(
        &self,
        place: usize,
        ways: &[Way<'f>],
        steps: &Steps,
    ) -> Option<(Leaves, Vec<usize>)> {
        let rule = &self.rules[place];
        let base = Known::when_asked(rule);
        let known: Vec<_> = ways
            .iter()
            .map(|way| {
                let read = way.literals.iter().map(|literal| fields(literal.leaf));
                (base.with(&way.literals, steps), read.fold(0, |all, bits| all | bits))
            })
            .collect();
        let holds = |earlier: usize, known: &Known<'f>| {
            let earlier = &self.rules[earlier];
            steps.spend(1);
            (earlier.on_closed || !rule.on_closed || known.is_open(steps))
                && is_sure(known, earlier.condition.formula(), true, steps)
        };
        let candidates = |(known, fields): &(Known<'f>, u32)| {
            let mut candidates = self.index.above(place, known);
            candidates.extend(self.index.others_above(place, *fields));
            steps.spend(1 + candidates.len() / 4);
            candidates.retain(|earlier| leaves(&self.rules[*earlier], rule).is_some());
            // Those that leave less first, then the higher.
            candidates.sort_by_key(|earlier| (leaves(&self.rules[*earlier], rule), *earlier));
            candidates
        };
        let (first, others) = known.split_first()?;
        let mut of_first = None;
        for earlier in candidates(first) {
            if steps.are_spent() {
                return None;
            }
            if holds(earlier, &first.0) {
                if others.iter().all(|(known, _)| holds(earlier, known)) {
                    return Some((leaves(&self.rules[earlier], rule)?, vec![earlier]));
                }
                of_first = of_first.or(Some(earlier));
            }
        }
        // No single one: for each way another.
        let mut all = vec![of_first?];
        for way in others {
            if all.iter().any(|earlier| holds(*earlier, &way.0)) {
                continue;
            }
            all.push(candidates(way).into_iter().find(|earlier| holds(*earlier, &way.0))?);
            if all.len() > MAX_NAMED {
                return None;
            }
        }
        let left = all.iter().filter_map(|earlier| leaves(&self.rules[*earlier], rule)).max()?;
        all.sort_unstable();
        Some((left, all))
    }

    /// The first of these rules, with their lines, and how many more there are.
    fn named(&self, places: &[usize]) -> String {
        let named = |place: &usize| {
            let rule = &self.rules[*place];
            format!("{} on line {}", quoted(&rule.id), rule.line)
        };
        let mut named: Vec<_> = places.iter().take(MAX_UNREACHED).map(named).collect();
        let more = places.len().saturating_sub(MAX_UNREACHED);
        named.extend((more > 0).then(|| format!("{more} more")));
        named.join(", ")
    }

    fn problem(&self, left: Leaves, earlier: &[usize]) -> Problem {
        let names: Vec<_> = earlier.iter().map(|place| quoted(&self.rules[*place].id)).collect();
        let placed: Vec<_> = earlier
            .iter()
            .zip(&names)
            .map(|(place, name)| format!("{name} on line {}", self.rules[*place].line))
            .collect();
        let (who, them, that) = match (placed.as_slice(), names.as_slice()) {
            ([one], [name]) => (one.clone(), name.as_str(), "that"),
            ([first @ .., last], _) => (format!("{} or {last}", first.join(", ")), "them", "them"),
            _ => (String::new(), "", ""),
        };
        let (message, hint) = match left {
            Leaves::Nothing => (
                format!("this rule is never reached: {who} always decides first"),
                format!("put it above, narrow {them}, or give {that} `continue: true`"),
            ),
            Leaves::LateEvents => (
                format!("of events that come in order, none reaches this rule: {who} always decides first"),
                format!(
                    "put it above, narrow {them}, or give {that} `continue: true`; as it is, it is asked only about events older \
                     than what is known"
                ),
            ),
        };
        Problem::new(None, message).hint(hint)
    }

    fn always_decides(&self, place: usize, unreached: &[usize], late: &[usize]) -> Option<Problem> {
        let below = self.rules.len() - place - 1;
        // Where it is all of them, everybody sees which.
        let rules = |which: &[usize], how: &str| match (which.len(), below) {
            (1, 1) => format!("the rule below it is {how}"),
            (count, _) if count == below => format!("the {below} rules below it are {how}"),
            (1, _) => format!("1 of the {below} rules below it is {how} ({})", self.named(which)),
            (count, _) => format!("{count} of the {below} rules below it are {how} ({})", self.named(which)),
        };
        const LATE: &str = "only by events older than what is known";
        let said = match (unreached, late) {
            ([], []) => return None,
            (unreached, []) => rules(unreached, "never reached"),
            ([], late) => rules(late, &format!("reached {LATE}")),
            (unreached, late) => {
                format!(
                    "{}, {} more {LATE} ({})",
                    rules(unreached, "never reached"),
                    late.len(),
                    self.named(late)
                )
            }
        };
        let rule = &self.rules[place];
        let which = match (rule.is_momentary(), rule.on_closed) {
            (false, false) => "every open issue",
            (false, true) => "every issue",
            (true, false) => "every event of an open issue",
            (true, true) => "every event",
        };
        let message = format!("this rule decides {which}: {said}");
        Some(Problem::new(None, message).hint("put it last, narrow it, or give it `continue: true`"))
    }
}
