//! Takes things out of a schedule that failed, as long as the same checker still finds something.

use std::sync::Arc;

use crate::{
    sabotage::Sabotage,
    schedule::Schedule,
    world::{End, Given, live},
};

/// A schedule that fails, and how.
pub struct Failure {
    pub schedule: Schedule,
    pub end: End,
    /// How many happenings and faults are not needed for it.
    pub left_out: usize,
}

/// The shortest course that is found by leaving out halves, quarters and so on, down to single things.
pub fn shrink(given: &Arc<Given>, schedule: Schedule, sabotage: Option<Sabotage>) -> Failure {
    let whole = size(&schedule);
    let end = live(given, &schedule, sabotage);
    let mut best = Failure { schedule, end, left_out: 0 };
    // A failure that does not come again is told as it is.
    let Some(checker) = best.end.findings.first().map(|finding| finding.checker) else { return best };
    let mut chunk = whole.div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < size(&best.schedule) {
            let schedule = without(&best.schedule, from, chunk);
            let end = live(given, &schedule, sabotage);
            if end.findings.iter().any(|finding| finding.checker == checker) {
                best = Failure { schedule, end, left_out: 0 };
                shorter = true;
            } else {
                from += chunk;
            }
        }
        if !(shorter && chunk == 1) {
            chunk /= 2;
        }
    }
    best.left_out = whole - size(&best.schedule);
    best
}

fn size(schedule: &Schedule) -> usize {
    schedule.happenings.len() + schedule.faults.len()
}

fn without(schedule: &Schedule, from: usize, count: usize) -> Schedule {
    let mut shorter = schedule.clone();
    let kept = |index: usize| !(from..from + count).contains(&index);
    let mut index = 0..;
    shorter.happenings.retain(|_| kept(index.next().unwrap()));
    shorter.faults.retain(|_| kept(index.next().unwrap()));
    shorter
}
