//! Every role in one process on one thread, in thousands of worlds, each drawn from a seed: what is delivered, what goes wrong and
//! when, and who goes first. After every transaction of the log, every answer and every call of a target the checkers look.
//!
//! `SIM_SEED=7 cargo test -p simulation --test simulation schedules` lives the world of one seed again and prints its course;
//! `SIM_SCHEDULES=50000 …` lives so many, `SIM_FROM=100000` others than the usual ones. `SIM_SABOTAGE=NewKeys …` breaks this guarantee alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

mod clock;
mod letters;
mod member_log;
mod operator;
mod sabotage;
mod schedule;
mod shared;
mod shrink;
mod target;
mod witness;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use crate::{
    sabotage::Sabotage,
    schedule::{CallFault, Fault, Schedule, TurnFault},
    shrink::{Failure, shrink},
    world::{End, Given, live},
};

/// Of every topic.
const PARTITIONS: u32 = 2;
/// How many worlds are lived through unless told otherwise.
const SCHEDULES: u64 = 1_000;

/// What must have happened somewhere in so many worlds.
const WORTH_WATCHING: [&str; 23] = [
    "accepted again",
    "action of a shadow",
    "action of a timer",
    "alert",
    "alert acknowledged",
    "alert resolved",
    "another policy",
    "answered 503",
    "called again",
    "crash",
    "deferred",
    "deferred when redriven",
    "done after several attempts",
    "done before",
    "done when redriven",
    "expired",
    "failed",
    "made way for a later page",
    "not done when redriven",
    "pause",
    "step of who had lost it",
    "step that failed",
    "withdrawn when redriven",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Lives through what `schedule` gives for the numbers below `count`, on every core; the first failure ends it.
fn live_all(count: u64, schedule: impl Fn(u64) -> Schedule + Sync, see: impl Fn(&End) + Sync) {
    let given = Arc::new(Given::load());
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<Schedule>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, SeqCst);
                    if number >= count || failed.lock().unwrap().is_some() {
                        break;
                    }
                    let schedule = schedule(number);
                    let end = live(&given, &schedule, None);
                    see(&end);
                    if !end.findings.is_empty() {
                        *failed.lock().unwrap() = Some(schedule);
                    }
                }
            });
        }
    });
    if let Some(schedule) = failed.into_inner().unwrap() {
        panic!("{}", told(&shrink(&given, schedule, None)));
    }
}

/// A failure, with all that it takes to see it again.
fn told(failure: &Failure) -> String {
    let Failure { schedule, end, left_out } = failure;
    let mut text = String::new();
    for finding in &end.findings {
        let _ = writeln!(text, "{}: {}", finding.checker, finding.text);
    }
    let seed = schedule.seed;
    let _ = write!(
        text,
        "\nseed {seed}, without {left_out} things that it does not take:\n{schedule}\nwhat happened:\n{}\n\n\
         to see it again: SIM_SEED={seed} cargo test -p simulation --test simulation schedules\n",
        end.trace.join("\n")
    );
    text
}

#[test]
fn schedules() {
    if let Some(seed) = number("SIM_SEED") {
        let schedule = Schedule::draw(seed);
        println!("{schedule}");
        let end = live(&Arc::new(Given::load()), &schedule, None);
        println!("{}", end.trace.join("\n"));
        return live_all(1, |_| Schedule::draw(seed), |_| ());
    }
    let (count, from) = (number("SIM_SCHEDULES").unwrap_or(SCHEDULES), number("SIM_FROM").unwrap_or(0));
    let met: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let see = |end: &End| {
        let [issues, actions, outcomes] = end.records.map(|count| count as u64);
        let counts = [
            ("transaction", end.turns),
            ("call", end.calls),
            ("issue", issues),
            ("action", actions),
            ("outcome", outcomes),
        ];
        let mut met = met.lock().unwrap();
        let all = counts.into_iter().chain(end.met.iter().map(|(what, count)| (*what, *count)));
        all.for_each(|(what, count)| *met.entry(what).or_default() += count);
    };
    live_all(count, |number| Schedule::draw(from + number), see);
    let met = met.into_inner().unwrap();
    println!("{count} schedules: {met:?}");
    // What is watched is worth watching.
    for what in WORTH_WATCHING {
        assert!(count < SCHEDULES || met.contains_key(what), "in no world there was: {what}");
    }
}

/// One thing goes wrong at each place in turn: at every transaction, at every call of a target, before every step.
#[test]
fn every_transaction_every_call_and_every_step() {
    let given = Arc::new(Given::load());
    let smooth = Schedule::smooth(3);
    let end = live(&given, &smooth, None);
    let turn_faults = [
        TurnFault::RolledBack,
        TurnFault::Unknown,
        TurnFault::CrashBefore,
        TurnFault::CrashAfter,
        TurnFault::Slow(11_000),
    ];
    let call_faults = [
        CallFault::Fails,
        CallFault::Later(60),
        CallFault::RejectsTwice,
        CallFault::Hangs,
        CallFault::DoneThenFails,
        CallFault::DoneThenHangs,
        CallFault::DoneThenKill,
    ];
    let turns = (2..=end.turns).flat_map(|turn| turn_faults.map(|fault| Fault::Turn(turn, fault)));
    let calls = (1..=end.calls).flat_map(|call| call_faults.map(|fault| Fault::Call(call, fault)));
    let steps = (2..=end.steps).map(|step| Fault::Step(step, 11_000));
    let with = |fault| Schedule { faults: vec![fault], ..smooth.clone() };
    let schedules: Vec<Schedule> = turns.chain(calls).chain(steps).map(with).collect();
    assert!(schedules.len() > 200, "{} places", schedules.len());
    println!("{} places", schedules.len());
    live_all(schedules.len() as u64, |number| schedules[number as usize].clone(), |_| ());
}

#[test]
fn the_seed_reproduces_a_world_to_the_byte() {
    let given = Arc::new(Given::load());
    let mut logs = BTreeSet::new();
    for seed in 0..40 {
        let schedule = Schedule::draw(seed);
        let (one, other) = (live(&given, &schedule, None), live(&given, &Schedule::draw(seed), None));
        let differs = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
        if let Some(line) = differs {
            let from = line.saturating_sub(5);
            let next = |trace: &[String]| trace[line..trace.len().min(line + 6)].join("\n");
            panic!(
                "seed {seed}: {:#?}\nand then\n{}\nor\n{}",
                &one.trace[from..line],
                next(&one.trace),
                next(&other.trace)
            );
        }
        assert_eq!((one.trace.len(), one.log), (other.trace.len(), other.log), "seed {seed}");
        logs.insert(one.log);
    }
    assert_eq!(logs.len(), 40, "each seed is another world");
}

/// Each checker can fail: what it watches is broken on purpose, and it is among those that find it.
#[test]
fn every_checker_finds_what_is_broken() {
    let given = Arc::new(Given::load());
    let only = std::env::var("SIM_SABOTAGE").ok();
    let meant = |(sabotage, _): &(Sabotage, _)| only.as_ref().is_none_or(|it| *it == format!("{sabotage:?}"));
    for (sabotage, checker) in Sabotage::ALL.into_iter().filter(meant) {
        let found = |seed: u64| {
            let end = live(&given, &Schedule::draw(seed), Some(sabotage));
            end.findings.iter().any(|finding| finding.checker == checker).then_some(seed)
        };
        let by = (0..400).find_map(found);
        println!("{sabotage:?}: {checker} {by:?}");
        assert!(by.is_some(), "{checker} does not find {sabotage:?}");
    }
}
