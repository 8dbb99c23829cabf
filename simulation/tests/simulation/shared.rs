//! What all members of a world meet in: its clock, its dice, who may go on, and who watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    clock::WorldClock,
    sabotage::Sabotage,
    schedule::{CallFault, Fault, Role, Schedule, TurnFault},
    witness::Witness,
};

pub struct Shared {
    pub clock: Arc<WorldClock>,
    pub sabotage: Option<Sabotage>,
    /// Something was written, or somebody came or went.
    pub news: Notify,
    /// Somebody is to die, or something was found: the driver looks.
    pub alarm: Notify,
    inner: Mutex<Inner>,
}

pub struct Inner {
    pub witness: Witness,
    pub trace: Vec<String>,
    pub turns: u64,
    pub calls: u64,
    pub steps: u64,
    /// Who is to die at once.
    pub doomed: Option<Doomed>,
    dice: Rng,
    faults: Vec<Fault>,
    /// Actions that are refused when they come again.
    refused: BTreeSet<String>,
    frozen: BTreeMap<Role, Instant>,
    away: BTreeMap<Role, Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doomed {
    Process,
    Member(Role),
}

impl Shared {
    pub fn new(
        schedule: &Schedule,
        clock: Arc<WorldClock>,
        witness: Witness,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let inner = Inner {
            witness,
            trace: Vec::new(),
            turns: 0,
            calls: 0,
            steps: 0,
            doomed: None,
            dice: Rng::with_seed(!schedule.seed),
            faults: schedule.faults.clone(),
            refused: BTreeSet::new(),
            frozen: BTreeMap::new(),
            away: BTreeMap::new(),
        };
        Self { clock, sabotage, news: Notify::new(), alarm: Notify::new(), inner: Mutex::new(inner) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    pub fn trace(&self, line: impl FnOnce() -> String) {
        let elapsed = self.clock.elapsed();
        self.lock().trace.push(format!("{elapsed:>7} {}", line()));
    }

    /// Has the witness look; what it finds ends the world.
    pub fn watch<T>(&self, look: impl FnOnce(&mut Witness) -> T) -> T {
        let mut inner = self.lock();
        let result = look(&mut inner.witness);
        if !inner.witness.findings.is_empty() {
            drop(inner);
            self.alarm.notify_one();
        }
        result
    }

    /// Somebody dies now: nobody who is to die takes another step.
    pub fn doom(&self, doomed: Doomed) {
        self.lock().doomed = Some(doomed);
        self.alarm.notify_one();
    }

    pub fn freeze(&self, role: Role, millis: u64) {
        self.lock().frozen.insert(role, Instant::now() + Duration::from_millis(millis));
    }

    pub fn take_away(&self, role: Role, millis: u64) {
        self.lock().away.insert(role, Instant::now() + Duration::from_millis(millis));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        inner.frozen.clear();
        inner.away.clear();
    }

    pub fn is_away(&self, role: Role) -> bool {
        self.lock().away.get(&role).is_some_and(|until| Instant::now() < *until)
    }

    /// Waits until the member may go on.
    pub async fn pass(&self, role: Role) {
        loop {
            let until = {
                let inner = self.lock();
                if inner.is_doomed(role) || !inner.witness.findings.is_empty() {
                    None
                } else {
                    match inner.frozen.get(&role) {
                        Some(until) if Instant::now() < *until => Some(*until),
                        _ => return,
                    }
                }
            };
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// As [`Shared::pass`], after a moment that the dice choose: others go first, or not.
    pub async fn dawdle(&self, role: Role) {
        let millis = self.lock().moment();
        if millis > 0 {
            sleep(Duration::from_millis(millis)).await;
        }
        self.pass(role).await;
    }
}

impl Inner {
    fn is_doomed(&self, role: Role) -> bool {
        match self.doomed {
            Some(Doomed::Process) => true,
            Some(Doomed::Member(doomed)) => doomed == role,
            None => false,
        }
    }

    /// Milliseconds: mostly few.
    pub fn moment(&mut self) -> u64 {
        match self.dice.u32(..20) {
            0..8 => 0,
            8..14 => self.dice.u64(1..4),
            14..19 => self.dice.u64(1..40),
            _ => self.dice.u64(1..400),
        }
    }

    pub fn up_to(&mut self, most: usize) -> usize {
        self.dice.usize(1..=most)
    }

    /// Counts a transaction, and says what goes wrong with it.
    pub fn next_turn(&mut self) -> (u64, Vec<TurnFault>) {
        self.turns += 1;
        let turn = self.turns;
        let faults = self.faults.iter().filter_map(|fault| match fault {
            Fault::Turn(at, fault) if *at == turn => Some(*fault),
            _ => None,
        });
        (turn, faults.collect())
    }

    /// Counts a step, and says for how long whoever is about to make it is frozen.
    pub fn next_step(&mut self) -> Option<u64> {
        self.steps += 1;
        self.faults.iter().find_map(|fault| match fault {
            Fault::Step(at, millis) if *at == self.steps => Some(*millis),
            _ => None,
        })
    }

    /// Counts a call of a target for an action, and says what goes wrong with it.
    pub fn next_call(&mut self, action: &str) -> (u64, Option<CallFault>) {
        self.calls += 1;
        let call = self.calls;
        let fault = self.faults.iter().find_map(|fault| match fault {
            Fault::Call(at, fault) if *at == call => Some(*fault),
            _ => None,
        });
        if self.refused.remove(action) {
            return (call, Some(CallFault::Rejects));
        }
        if fault == Some(CallFault::RejectsTwice) {
            self.refused.insert(action.to_owned());
        }
        (call, fault)
    }
}
