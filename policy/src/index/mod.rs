//! Which rules an event has to be held against: those of which it has what they require.
//!
//! ```text
//!   conditions ──need──► what each rule requires: at least one of a few keys, all of a mask's bits
//!                          │ the alternatives that fewest rules ask for
//!                          ▼
//!   view ──vocabulary──► its keys ──► posts of each key (rule, mask), in file order ──► candidates, in file order
//! ```
//!
//! A *key* is something that holds of an issue and its event or does not: a field has a value, begins with a prefix, has so
//! many members, lies so far back, is null, is not ([`Key`]). What a condition requires is worked out from the formula ([`need`]); where that is nothing, the rule is posted under
//! [`ALWAYS`]. A rule that is for one project is posted in that project's lists, so that another project's rules cost nothing.
//!
//! A post carries a *mask*: a bit for every key that the rule requires whichever alternative holds, and for what an issue has to be for the
//! rule to be asked at all (open, unless the rule is for closed ones; an event at hand or not). A rule with a bit that the event
//! does not have is passed over without its condition being looked at. Keys share bits, so a bit that is there says nothing.
//!
//! A rule is passed over only if its condition is false: neither true nor an error, which would be noted.
//!
//! Size: a post for each alternative of each rule, so linear in the policy's text ([`MAX_GROUPED_POSTS`]).

mod need;
mod vocabulary;

use std::ops::{ControlFlow, Range};

use events::IssueEvent;
use need::{Need, Reading};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use vocabulary::{Key, KeyId, Vocabulary};

use crate::{
    Issue, Rule,
    condition::{View, field::Field},
};

/// A key that everything has.
const ALWAYS: KeyId = 0;
/// A rule that is for several projects is posted in each one's lists, unless that makes more posts than this.
const MAX_GROUPED_POSTS: usize = 16;
/// How many rules are looked for at a time: the walk mostly ends at the first that holds.
const WINDOW: u32 = 1024;

/// What an issue has to be for a rule to be asked at all.
const OPEN: u64 = 1;
const MOMENTARY: u64 = 1 << 1;
const LASTING: u64 = 1 << 2;
const READS_BY_US: u64 = 1 << 3;
/// The bits from here on are the keys'.
const FIRST_KEY_BIT: u32 = 4;

/// Which rules are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    /// The issue is open: not only rules that are for closed ones.
    open: bool,
    /// Rules that read `event`, but not `event.by_us`.
    momentary: bool,
    /// Rules that read `event.by_us`.
    reads_by_us: bool,
    /// All others.
    lasting: bool,
}

impl Asks {
    /// Which rules are asked about an issue: momentary ones, lasting ones, or both. Of momentary rules those that do not read
    /// `event.by_us` are not asked about what our own accounts did.
    pub(crate) fn new(issue: &Issue, event: Option<&IssueEvent>, momentary: bool, lasting: bool) -> Self {
        let by_us = event.is_some_and(|event| event.by_us);
        Self { open: issue.is_open(), momentary: momentary && !by_us, reads_by_us: momentary, lasting }
    }

    fn bits(self) -> u64 {
        let bit = |asked: bool, bit: u64| if asked { bit } else { 0 };
        bit(self.open, OPEN)
            | bit(self.momentary, MOMENTARY)
            | bit(self.reads_by_us, READS_BY_US)
            | bit(self.lasting, LASTING)
    }

    /// Whether a rule is among them.
    pub(crate) fn asks(self, rule: &Rule) -> bool {
        own_bits(rule) & !self.bits() == 0
    }
}

/// What a rule is asked of, whatever its condition says.
fn own_bits(rule: &Rule) -> u64 {
    let open = if rule.on_closed { 0 } else { OPEN };
    open | match (rule.is_momentary(), rule.reads_by_us()) {
        (true, true) => READS_BY_US,
        (true, false) => MOMENTARY,
        (false, _) => LASTING,
    }
}

/// The rules by what they require.
#[derive(Debug, Default)]
pub(crate) struct Index {
    vocabulary: Vocabulary,
    /// The lists, one after the other.
    posts: Vec<Post>,
    /// By key.
    lists: Vec<List>,
    /// Of rules that are for some projects, by the project's key and the list's.
    grouped: FxHashMap<(KeyId, KeyId), Range<u32>>,
    /// The rules that can set a timer, by the project that they are for; under [`ALWAYS`] those that are for any.
    timed: FxHashMap<KeyId, Vec<u32>>,
    /// By rule: the projects that it is for; none where it is for any.
    projects: Vec<Option<Vec<KeyId>>>,
    rules: u32,
}

/// The lists of a key.
#[derive(Debug, Clone, Default)]
struct List {
    /// Of rules that are for any project.
    common: Range<u32>,
    /// Whether there is any in `grouped`.
    is_grouped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Post {
    rule: u32,
    mask: u64,
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut vocabulary = Vocabulary::default();
        // How many rules ask for a key is how long its list can become, and as good a guess as there is of how often an
        // event has it.
        let mut asked = Vec::new();
        for rule in rules {
            let mut keys = Reading::keys(&mut vocabulary, rule.condition.formula());
            keys.sort_unstable();
            keys.dedup();
            asked.resize(vocabulary.len(), 0_u64);
            keys.iter().for_each(|&key| asked[key as usize] += 1);
        }
        asked.resize(vocabulary.len(), 0);
        let whole = rules.len() as u64 + 1;
        // That a field is there, or not, is true too often to be a list while there is anything else.
        let cost = |key: KeyId| if vocabulary.is_of_null(key) { whole } else { asked[key as usize] };
        let is_project = |key: KeyId| vocabulary.is_word_of(key, Field::Project);
        let by_project = |key: KeyId| if is_project(key) { 1 } else { whole * whole };
        let within_project = |key: KeyId| if is_project(key) { whole * whole } else { cost(key) };

        let mut lists: FxHashMap<(KeyId, KeyId), Vec<Post>> = FxHashMap::default();
        let mut timed: FxHashMap<KeyId, Vec<u32>> = FxHashMap::default();
        let mut all_projects = Vec::with_capacity(rules.len());
        for (place, rule) in (0_u32..).zip(rules) {
            let formula = rule.condition.formula();
            let need = |cost: &dyn Fn(KeyId) -> u64| Reading::need(&vocabulary, cost, formula);
            let projects = need(&by_project).one_of.filter(|keys| keys.iter().all(|&key| is_project(key)));
            if rule.at.is_some() || rule.repeat.is_some() {
                for &project in projects.as_deref().unwrap_or(&[ALWAYS]) {
                    timed.entry(project).or_default().push(place);
                }
            }
            all_projects.push(projects.clone());
            let mut need_within = projects.as_ref().map(|_| need(&within_project));
            if let Some(Need { one_of: Some(keys), .. }) = &mut need_within
                && keys.iter().any(|&key| is_project(key))
            {
                need_within = need_within.map(|need| Need { one_of: None, ..need });
            }
            let grouped = projects.zip(need_within).filter(|(projects, need)| {
                let alternatives = need.one_of.as_ref().map_or(1, Vec::len);
                projects.len() == 1 || projects.len().saturating_mul(alternatives) <= MAX_GROUPED_POSTS
            });
            let (groups, need) = grouped.unwrap_or_else(|| (vec![ALWAYS], need(&cost)));
            let post = Post { rule: place, mask: need.mask | own_bits(rule) };
            for group in groups {
                for &key in need.one_of.as_deref().unwrap_or(&[ALWAYS]) {
                    lists.entry((group, key)).or_default().push(post);
                }
            }
        }

        let mut index = Self {
            timed,
            projects: all_projects,
            rules: u32::try_from(rules.len()).unwrap_or(u32::MAX),
            ..Self::default()
        };
        index.lists = vec![List::default(); vocabulary.len()];
        for ((group, key), list) in lists {
            let from = index.posts.len() as u32;
            index.posts.extend(list);
            let range = from..index.posts.len() as u32;
            let list = &mut index.lists[key as usize];
            if group == ALWAYS {
                list.common = range;
            } else {
                list.is_grouped = true;
                index.grouped.insert((group, key), range);
            }
        }
        vocabulary.finish();
        index.vocabulary = vocabulary;
        index
    }

    /// Calls `each` with the places of the rules that can hold, in file order, until it breaks.
    pub(crate) fn candidates(
        &self,
        view: &View<'_>,
        asked: Asks,
        mut each: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        let project = match self.grouped.is_empty() {
            true => None,
            false => self.vocabulary.word(Field::Project, view),
        };
        let mut has = asked.bits();
        let mut lists = SmallVec::<[&[Post]; 32]>::new();
        let mut take = |key: KeyId| {
            has |= bit(key);
            let Some(list) = self.lists.get(key as usize) else { return };
            lists.extend(self.list(&list.common));
            if list.is_grouped
                && let Some(range) = project.and_then(|project| self.grouped.get(&(project, key)))
            {
                lists.extend(self.list(range));
            }
        };
        take(ALWAYS);
        self.vocabulary.keys_of(view, take);

        let mut from = 0;
        while from < self.rules && !lists.is_empty() {
            let end = from.saturating_add(WINDOW);
            // A rule that stands in several lists is one candidate.
            let mut found = [0_u64; WINDOW as usize / 64];
            lists.retain(|list| {
                while let Some((post, rest)) = list.split_first() {
                    if post.rule >= end {
                        break;
                    }
                    if post.mask & !has == 0 {
                        let place = post.rule - from;
                        found[place as usize / 64] |= 1 << (place % 64);
                    }
                    *list = rest;
                }
                !list.is_empty()
            });
            for (word, mut bits) in (0_u32..).zip(found) {
                while bits != 0 {
                    let rule = from + word * 64 + bits.trailing_zeros();
                    if each(rule as usize).is_break() {
                        return;
                    }
                    bits &= bits - 1;
                }
            }
            from = end;
        }
    }
}

impl Index {
    /// Places of the rules that can set a timer for a project's issues, in no order.
    pub(crate) fn timed(&self, project: &str) -> impl Iterator<Item = usize> {
        let own = self.vocabulary.find(Field::Project, Key::Word(project));
        let lists = [Some(ALWAYS), own].into_iter().flatten().filter_map(|group| self.timed.get(&group));
        lists.flatten().map(|&place| place as usize)
    }

    /// Places of the rules that can hold for a project's issues, or err, in file order.
    pub(crate) fn of_project(&self, project: &str) -> impl Iterator<Item = usize> {
        let own = self.vocabulary.find(Field::Project, Key::Word(project));
        let is_for = move |projects: &Option<Vec<KeyId>>| {
            projects.as_ref().is_none_or(|projects| own.is_some_and(|own| projects.contains(&own)))
        };
        self.projects.iter().enumerate().filter(move |(_, projects)| is_for(projects)).map(|(place, _)| place)
    }

    fn list(&self, range: &Range<u32>) -> Option<&[Post]> {
        self.posts.get(range.start as usize..range.end as usize).filter(|list| !list.is_empty())
    }
}

/// A key's bit of a mask.
fn bit(key: KeyId) -> u64 {
    1 << (FIRST_KEY_BIT + key % (u64::BITS - FIRST_KEY_BIT))
}
