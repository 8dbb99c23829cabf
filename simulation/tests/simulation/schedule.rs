//! What happens when, and what goes wrong: drawn from the seed alone, and told as a list from which things can be taken out.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use crate::letters::{Letter, PROJECTS, Trackers};

/// A member of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Receivers,
    Gateway(u8),
    Executor(u8),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receivers => f.write_str("receivers"),
            Self::Gateway(number) => write!(f, "gateway {number}"),
            Self::Executor(number) => write!(f, "executor {number}"),
        }
    }
}

/// How a letter is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Under its own delivery id.
    Plain,
    /// Under another delivery id, this one.
    Anew(u32),
    /// Signed with another secret.
    Forged,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A letter, by number, is delivered.
    Delivery(usize, How),
    /// A member dies, and comes back after so many milliseconds.
    Kill(Role, u64),
    /// A member is told to stop, drains, and comes back.
    Stop(Role, u64),
    /// The whole process dies, with what its log had not written, and comes back.
    Crash(u64),
    /// A member makes no step for so long.
    Freeze(Role, u64),
    /// The log does not answer a member for so long.
    Away(Role, u64),
    /// The wall clock jumps ahead by so many seconds.
    Jump(i64),
    /// One gateway is given another policy, by number.
    Policy(u8, usize),
    /// One gateway is given a policy that does not load.
    BadPolicy(u8),
    /// One gateway is given a policy on trial, or none.
    Shadow(u8, Option<usize>),
    /// An operator pauses (or lets go) a project, by number, or all.
    Pause(Option<usize>, bool),
    /// An operator puts on the log again whatever failed.
    Redrive,
}

/// What goes wrong with the n-th transaction of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnFault {
    /// It fails, and nothing is written.
    RolledBack,
    /// It is made, and said to have failed.
    Unknown,
    /// The disk takes so many milliseconds.
    Slow(u64),
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it, before anybody hears of it.
    CrashAfter,
}

/// What goes wrong with the n-th call of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// 500, and nothing done.
    Fails,
    /// 429, and nothing done; to be tried again after so many seconds.
    Later(u64),
    /// 400, and nothing done.
    Rejects,
    /// The same, and once more when the action comes again.
    RejectsTwice,
    /// No answer, and nothing done.
    Hangs,
    /// Done, and then 500.
    DoneThenFails,
    /// Done, and then no answer.
    DoneThenHangs,
    /// Done, and then the executor that called dies.
    DoneThenKill,
}

/// What goes wrong at which count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Turn(u64, TurnFault),
    Call(u64, CallFault),
    /// Whoever is about to make the n-th step is frozen, for so many milliseconds.
    Step(u64, u64),
}

/// One world's course.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub gateways: u8,
    pub executors: u8,
    /// So many actions may be pending of one partition and target, and so many deferred.
    pub pending_max: usize,
    pub deferred_max: usize,
    pub letters: Vec<Letter>,
    /// With milliseconds since the beginning, in order.
    pub happenings: Vec<(u64, Happening)>,
    pub faults: Vec<Fault>,
}

/// When the world begins.
pub fn began_at() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

/// Policies that decide, by number.
pub const POLICIES: usize = 3;

impl Schedule {
    /// The schedule of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (gateways, executors) = (rng.u8(1..=2), rng.u8(1..=2));
        let mut schedule = Self {
            seed,
            gateways,
            executors,
            pending_max: 0,
            deferred_max: 0,
            letters: Vec::new(),
            happenings: Vec::new(),
            faults: Vec::new(),
        };
        let count = rng.usize(6..22);
        let roughness = rng.u32(0..6);
        let (mut at, mut now) = (0, began_at());
        // In half of the worlds people answer; in a quarter of these all is about one issue.
        let answers = seed.is_multiple_of(2);
        let only = (answers && rng.u32(..4) == 0).then(|| rng.usize(..PROJECTS));
        let mut trackers = Trackers::new(now, answers, only);
        while schedule.letters.len() < count {
            let wait = match rng.u32(..10) {
                0..4 => rng.u64(..5),
                4..8 => rng.u64(..400),
                _ => rng.u64(..4_000),
            };
            at += wait;
            now += TimeDelta::milliseconds(wait as i64);
            if rng.u32(..20) < roughness {
                let happening = schedule.mishap(&mut rng);
                if let Happening::Jump(seconds) = happening {
                    now += TimeDelta::seconds(seconds);
                }
                schedule.happenings.push((at, happening));
            } else {
                schedule.deliver(&mut rng, &mut trackers, at, now);
            }
        }
        if roughness > 0 {
            for _ in 0..rng.usize(..8) {
                schedule.faults.push(fault(&mut rng));
            }
        }
        schedule.happenings.sort_by_key(|(at, _)| *at);
        schedule.pending_max = [1, 2, 3, 1_000][rng.usize(..4)];
        schedule.deferred_max = [2, 100_000][rng.usize(..2)];
        schedule
    }

    /// The same letters and no mishap, with two members of each kind.
    pub fn smooth(seed: u64) -> Self {
        let mut schedule = Self { gateways: 2, executors: 2, ..Self::draw(seed) };
        schedule.happenings.retain(|(_, happening)| matches!(happening, Happening::Delivery(..)));
        schedule.faults.clear();
        schedule
    }

    fn deliver(&mut self, rng: &mut Rng, trackers: &mut Trackers, at: u64, now: DateTime<Utc>) {
        let known = self.letters.len();
        match rng.u32(..100) {
            0..8 if known > 0 => {
                let how = if rng.bool() { How::Plain } else { How::Anew(rng.u32(1..4)) };
                self.happenings.push((at, Happening::Delivery(rng.usize(..known), how)));
            }
            8..11 if known > 0 => {
                self.happenings.push((at, Happening::Delivery(rng.usize(..known), How::Forged)));
            }
            chance => {
                self.letters.push(trackers.happen(rng, known, now));
                // Some come late, and so behind others; some twice at once.
                let late = if chance < 30 { rng.u64(..6_000) } else { 0 };
                self.happenings.push((at + late, Happening::Delivery(known, How::Plain)));
                if chance > 94 {
                    self.happenings.push((at + late + rng.u64(..3), Happening::Delivery(known, How::Plain)));
                }
            }
        }
    }

    fn mishap(&self, rng: &mut Rng) -> Happening {
        let gateway = rng.u8(..self.gateways);
        let role = match rng.u32(..5) {
            0 => Role::Receivers,
            1 | 2 => Role::Gateway(gateway),
            _ => Role::Executor(rng.u8(..self.executors)),
        };
        let while_away = [rng.u64(..50), rng.u64(..2_000), rng.u64(9_000..13_000)][rng.usize(..3)];
        match rng.u32(..26) {
            0..5 => Happening::Kill(role, while_away),
            5..7 => Happening::Stop(role, while_away),
            7..9 => Happening::Crash(while_away),
            9..12 => Happening::Freeze(role, while_away),
            12..14 => Happening::Away(role, while_away),
            14..17 => {
                const HOUR: i64 = 3_600;
                let longest = [90, HOUR, 26 * HOUR, 3 * 24 * HOUR, 8 * 24 * HOUR][rng.usize(..5)];
                Happening::Jump(rng.i64(1..longest))
            }
            17 => Happening::Policy(gateway, rng.usize(..POLICIES)),
            18 => Happening::BadPolicy(gateway),
            19..23 => {
                Happening::Pause(rng.u32(..3).checked_sub(1).map(|_| rng.usize(..PROJECTS)), rng.u32(..3) > 0)
            }
            23 | 24 => Happening::Redrive,
            _ => Happening::Shadow(gateway, rng.bool().then(|| rng.usize(..POLICIES))),
        }
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let kind = rng.u32(..6);
    if kind == 0 {
        return Fault::Step(rng.u64(2..70), rng.u64(9_500..13_000));
    }
    if kind < 3 {
        let fault = match rng.u32(..9) {
            0..3 => TurnFault::RolledBack,
            3..6 => TurnFault::Unknown,
            6 => TurnFault::Slow(rng.u64(500..13_000)),
            7 => TurnFault::CrashBefore,
            _ => TurnFault::CrashAfter,
        };
        return Fault::Turn(rng.u64(2..90), fault);
    }
    let fault = match rng.u32(..12) {
        0..2 => CallFault::Fails,
        2..4 => CallFault::Later([1, 30, 2_000][rng.usize(..3)]),
        4 | 10 => CallFault::Rejects,
        5 => CallFault::Hangs,
        6 | 7 => CallFault::DoneThenFails,
        8 => CallFault::DoneThenHangs,
        9 => CallFault::DoneThenKill,
        _ => CallFault::RejectsTwice,
    };
    Fault::Call(rng.u64(1..26), fault)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateways, executors, pending_max, deferred_max, .. } = self;
        writeln!(
            f,
            "{gateways} gateways, {executors} executors ({pending_max} pending, {deferred_max} deferred)"
        )?;
        for (at, happening) in &self.happenings {
            match happening {
                Happening::Delivery(letter, how) => {
                    let Letter { project, kind, .. } = &self.letters[*letter];
                    writeln!(
                        f,
                        "{at:>6} ms  letter {letter} ({kind:?} in p{project}) is delivered, {how:?}"
                    )?;
                }
                other => writeln!(f, "{at:>6} ms  {other:?}")?,
            }
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "           {fault:?}"))
    }
}
