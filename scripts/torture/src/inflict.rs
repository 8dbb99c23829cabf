//! Faults, as they befall the world.

use std::{sync::Arc, time::Duration};

use calendar_mock::Fault as CalendarFault;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Result,
    faults::{Appointment, Calendar, Fault},
    world::World,
};

/// How often a command is tried: it fails while the broker is away.
const TRIES: u32 = 60;

/// What became of the faults.
#[derive(Debug, Default)]
pub(crate) struct Inflicted {
    /// The kinds, one for each fault that befell something.
    pub(crate) kinds: Vec<&'static str>,
    /// Faults that found nothing to befall: the process was being started again.
    pub(crate) missed: usize,
}

/// Lets each fault happen at its time; returns when the last one is over. Two faults of one process, of the broker, or of all
/// effects, take turns; apart from that they overlap.
pub(crate) async fn inflict(
    world: Arc<World>,
    began: Instant,
    appointments: Vec<Appointment>,
    say: impl Fn(String),
) -> Result<Inflicted> {
    let turns: Arc<Vec<Mutex<()>>> =
        Arc::new((0..world.members.len() + 2).map(|_| Mutex::default()).collect());
    let mut under_way = JoinSet::new();
    for Appointment { at, fault } in appointments {
        sleep_until(began + at).await;
        say(format!("{:6.1} s  {fault:?}", at.as_secs_f64()));
        let (world, turns) = (world.clone(), turns.clone());
        under_way.spawn(async move {
            let kind = fault.kind();
            befall(&world, &turns, fault).await.map(|befell| (kind, befell))
        });
    }
    let mut inflicted = Inflicted::default();
    while let Some(ended) = under_way.join_next().await {
        match ended?? {
            (kind, true) => inflicted.kinds.push(kind),
            (_, false) => inflicted.missed += 1,
        }
    }
    Ok(inflicted)
}

/// One fault, to its end. False where there was nothing to befall.
async fn befall(world: &World, turns: &[Mutex<()>], fault: Fault) -> Result<bool> {
    let broker = || world.broker.as_ref().ok_or("there is no broker");
    let _turn = match &fault {
        Fault::Kill(process) | Fault::Pause(process, _) => Some(turns[*process].lock().await),
        Fault::KillBroker(_) | Fault::BrokerAway(..) | Fault::BrokerHangs(..) => {
            Some(turns[world.members.len()].lock().await)
        }
        Fault::PauseEffects(_) => Some(turns[world.members.len() + 1].lock().await),
        Fault::Calendar(..) => None,
    };
    match fault {
        Fault::Kill(process) => Ok(while_it_runs(|| world.members[process].kill()).await),
        Fault::Pause(process, length) => {
            let paused = while_it_runs(|| world.members[process].pause()).await;
            sleep(length).await;
            world.members[process].resume();
            Ok(paused)
        }
        Fault::KillBroker(node) => {
            broker()?.kill(node).await?;
            broker()?.up().await?;
            Ok(true)
        }
        Fault::BrokerAway(node, length) => {
            broker()?.kill(node).await?;
            sleep(length).await;
            broker()?.up().await?;
            Ok(true)
        }
        Fault::BrokerHangs(node, length) => {
            let paused = broker()?.pause(node);
            sleep(length).await;
            broker()?.resume(node);
            Ok(paused)
        }
        Fault::Calendar(how, times) => {
            let fault = of_calendar(how).times(times);
            let url = format!("{}/faults", world.calendar_base()?);
            world.client.post(url).json(&[fault]).send().await?.error_for_status()?;
            Ok(true)
        }
        Fault::PauseEffects(length) => {
            let paused = until_done(world, "pause").await?;
            sleep(length).await;
            if !until_done(world, "resume").await? {
                return Err("effects are paused, and cannot be resumed".into());
            }
            Ok(paused)
        }
    }
}

/// Runs a command until it succeeds. False when it never does.
async fn until_done(world: &World, command: &str) -> Result<bool> {
    for _ in 0..TRIES {
        if world.command(&[command]).await? {
            return Ok(true);
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(false)
}

/// A process that was killed a moment ago is back soon.
async fn while_it_runs(send: impl Fn() -> bool) -> bool {
    for _ in 0..50 {
        if send() {
            return true;
        }
        sleep(Duration::from_millis(100)).await;
    }
    false
}

fn of_calendar(how: Calendar) -> CalendarFault {
    match how {
        Calendar::Error => CalendarFault::status(500),
        Calendar::Busy(seconds) => CalendarFault::status(429).retry_after(seconds.to_string()),
        Calendar::Hangs => CalendarFault::hang(),
        Calendar::ErrorAfterWork => CalendarFault::status(500).after_work(),
        Calendar::CloseAfterWork => CalendarFault::close().after_work(),
        Calendar::HangsAfterWork => CalendarFault::hang().after_work(),
        Calendar::Refuses => CalendarFault::status(422),
    }
}
