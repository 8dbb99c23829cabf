//! What goes wrong, and when. Drawn from the seed alone.

use std::{fmt, time::Duration};

use clap::ValueEnum;

/// On which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogKind {
    /// One process of all roles; its log is in its data directory.
    Embedded,
    /// A process a role, two gateways and two executors, and a broker.
    Kafka,
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Kafka => "kafka",
        })
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of the process at this place of the world's list; it is started again.
    Kill(usize),
    /// SIGSTOP of it, and SIGCONT after so long.
    Pause(usize, Duration),
    /// kill -9 of this node of the broker, and a start at once.
    KillBroker(usize),
    /// kill -9 of this node of the broker, and a start after so long: connections are refused meanwhile.
    BrokerAway(usize, Duration),
    /// SIGSTOP of this node of the broker, and SIGCONT after so long: connections are taken and nothing is answered meanwhile.
    BrokerHangs(usize, Duration),
    /// So many POSTs to calendar-mock get this.
    Calendar(Calendar, u32),
    /// `breakdown pause` of all projects, and `breakdown resume` after so long.
    PauseEffects(Duration),
}

/// How calendar-mock misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calendar {
    /// 500.
    Error,
    /// 429 with Retry-After, in seconds.
    Busy(u32),
    /// No answer.
    Hangs,
    /// It does the work and answers 500.
    ErrorAfterWork,
    /// It does the work and closes the connection.
    CloseAfterWork,
    /// It does the work and never answers.
    HangsAfterWork,
    /// 422: the action fails, and is redriven in the end.
    Refuses,
}

/// A fault and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Appointment {
    /// Since the run began.
    pub(crate) at: Duration,
    /// What goes wrong then.
    pub(crate) fault: Fault,
}

/// The sizes of a run's faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The longest time that a broker is away.
    pub(crate) outage: Duration,
    /// The most POSTs that one fault of calendar-mock concerns. From ten in a row on, the executor leaves a target alone for half
    /// a minute.
    pub(crate) calls: u32,
}

impl Sizes {
    /// What fits into a run of this length.
    pub(crate) fn of(length: Duration) -> Self {
        let whole_minutes = length >= Duration::from_secs(5 * 60);
        Self {
            outage: Duration::from_secs(if whole_minutes { 60 } else { 12 }),
            calls: if whole_minutes { 40 } else { 6 },
        }
    }
}

/// Longer than the session of a member of a group (10 s): by then others have taken its partitions over.
const PAUSE: std::ops::Range<u64> = 12_000..17_000;

/// Shorter and longer than a broker's registration with its controller (9 s): one that is stopped for longer is given up, others lead
/// its partitions, and those of a lone one have no leader for a while.
const HANG: std::ops::Range<u64> = 5_000..15_000;

/// How long effects are paused.
const PAUSE_OF_EFFECTS: std::ops::Range<u64> = 3_000..12_000;

/// So long after a burst its deliveries are still worked on.
const MIDST: Duration = Duration::from_millis(600);

/// The names of the kinds of faults, in the order in which the table shows them.
pub(crate) const KINDS: [&str; 13] = [
    "kill -9 of a process",
    "pause of a process past its session",
    "kill -9 of the broker",
    "broker away",
    "broker hangs",
    "calendar: 500",
    "calendar: 429 with Retry-After",
    "calendar: no answer",
    "calendar: done, then 500",
    "calendar: done, then closed",
    "calendar: done, no answer",
    "calendar: refused for good",
    "all effects paused, and resumed",
];

/// The first of the kinds that come besides the others.
const REFUSED: usize = 11;

impl Fault {
    /// Its kind, one of [`KINDS`].
    pub(crate) fn kind(&self) -> &'static str {
        KINDS[match self {
            Self::Kill(_) => 0,
            Self::Pause(..) => 1,
            Self::KillBroker(_) => 2,
            Self::BrokerAway(..) => 3,
            Self::BrokerHangs(..) => 4,
            Self::Calendar(Calendar::Error, _) => 5,
            Self::Calendar(Calendar::Busy(_), _) => 6,
            Self::Calendar(Calendar::Hangs, _) => 7,
            Self::Calendar(Calendar::ErrorAfterWork, _) => 8,
            Self::Calendar(Calendar::CloseAfterWork, _) => 9,
            Self::Calendar(Calendar::HangsAfterWork, _) => 10,
            Self::Calendar(Calendar::Refuses, _) => 11,
            Self::PauseEffects(_) => 12,
        }]
    }

    /// Draws a fault of the kind. Processes are the first `processes` of the world's list. The number of nodes changes nothing else of
    /// what is drawn.
    fn draw(rng: &mut fastrand::Rng, kind: usize, processes: usize, nodes: usize, sizes: Sizes) -> Self {
        let outage = Duration::from_secs(rng.u64(sizes.outage.as_secs() * 5 / 6..=sizes.outage.as_secs()));
        let process = rng.usize(..processes);
        let node = process % nodes.max(1);
        let calls = rng.u32(1..=sizes.calls);
        match kind {
            0 => Self::Kill(process),
            1 => Self::Pause(process, Duration::from_millis(rng.u64(PAUSE))),
            2 => Self::KillBroker(node),
            3 => Self::BrokerAway(node, outage),
            4 => Self::BrokerHangs(node, Duration::from_millis(rng.u64(HANG))),
            5 => Self::Calendar(Calendar::Error, calls),
            6 => Self::Calendar(Calendar::Busy(rng.u32(1..=8)), calls),
            7 => Self::Calendar(Calendar::Hangs, calls),
            8 => Self::Calendar(Calendar::ErrorAfterWork, calls),
            9 => Self::Calendar(Calendar::CloseAfterWork, calls),
            10 => Self::Calendar(Calendar::HangsAfterWork, calls),
            11 => Self::Calendar(Calendar::Refuses, calls),
            _ => Self::PauseEffects(Duration::from_millis(rng.u64(PAUSE_OF_EFFECTS))),
        }
    }
}

/// Draws `count` faults over the first nine tenths of `length`: each kind once where there are enough, then kills and pauses before
/// all, and long outages seldom. Besides, something is refused for good and all effects are paused, once and once more for every
/// twenty faults. Each comes in the midst of a burst.
pub(crate) fn draw(
    rng: &mut fastrand::Rng,
    log: LogKind,
    processes: usize,
    nodes: usize,
    count: usize,
    length: Duration,
    burst_every: Duration,
) -> Vec<Appointment> {
    let (kinds, often): (Vec<usize>, &[usize]) = match log {
        LogKind::Embedded => {
            ([0, 1].into_iter().chain(5..REFUSED).collect(), &[0, 0, 0, 0, 0, 0, 1, 5, 6, 7, 8, 9, 10])
        }
        LogKind::Kafka => (
            (0..REFUSED).collect(),
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 6, 7, 8,
                8, 9, 9, 10,
            ],
        ),
    };
    let mut chosen = kinds;
    rng.shuffle(&mut chosen);
    chosen.truncate(count);
    while chosen.len() < count {
        chosen.push(often[rng.usize(..often.len())]);
    }
    rng.shuffle(&mut chosen);
    let sizes = Sizes::of(length);
    let slot = length.mul_f64(0.9 / count.max(1) as f64);
    let mut appointment = |kind, first: usize, slots: usize| {
        let place = first as f64 + slots as f64 * rng.f64();
        let bursts = (slot.mul_f64(place).as_secs_f64() / burst_every.as_secs_f64()).floor();
        let at = burst_every.mul_f64(bursts) + MIDST.mul_f64(rng.f64());
        Appointment { at, fault: Fault::draw(rng, kind, processes, nodes, sizes) }
    };
    let mut appointments = Vec::new();
    for (place, kind) in chosen.into_iter().enumerate() {
        appointments.push(appointment(kind, place, 1));
    }
    // Drawn last, so that they change nothing of the others.
    for kind in (0..=count / 20).flat_map(|_| REFUSED..KINDS.len()) {
        appointments.push(appointment(kind, 0, count));
    }
    appointments.sort_by_key(|appointment| appointment.at);
    appointments
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn drawn(seed: u64, log: LogKind, count: usize) -> Vec<Appointment> {
        draw(
            &mut fastrand::Rng::with_seed(seed),
            log,
            5,
            3,
            count,
            Duration::from_secs(600),
            Duration::from_secs(3),
        )
    }

    #[test]
    fn the_seed_reproduces_the_faults() {
        assert_eq!(drawn(3, LogKind::Kafka, 100), drawn(3, LogKind::Kafka, 100));
        assert_ne!(drawn(3, LogKind::Kafka, 100), drawn(4, LogKind::Kafka, 100));
    }

    #[test]
    fn every_kind_comes_and_in_order() {
        for seed in 0..20 {
            for (log, kinds) in [(LogKind::Embedded, 10), (LogKind::Kafka, 13)] {
                let faults = drawn(seed, log, 11);
                let seen: BTreeSet<_> = faults.iter().map(|appointment| appointment.fault.kind()).collect();
                assert_eq!(seen.len(), kinds);
                assert!(faults.is_sorted_by_key(|appointment| appointment.at));
                assert!(faults.iter().all(|appointment| appointment.at < Duration::from_secs(541)));
            }
        }
    }
}
