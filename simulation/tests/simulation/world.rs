//! One world: a log, receivers, gateways, executors, what happens to them, and who drives it all.
//!
//! Everything runs on one thread of a runtime whose clock is paused: time passes only when nobody can go on, and then to the next
//! instant for which anybody waits. The log writes by hand, and every call waits for a moment that the dice choose; so the seed
//! decides who goes first, down to the byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use chrono::TimeDelta;
use eventlog::{
    Clock, GroupOffset, Keep, Log, Position, Record, TopicSpec,
    embedded::{
        EmbeddedLog,
        by_hand::{Fate, Hand},
    },
};
use events::topic;
use executor::{Config, Limits, Target};
use gateway::{Gateway, Policies, View};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use policy::Ruleset;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use webhooks::Secrets;

use crate::{
    PARTITIONS,
    clock::WorldClock,
    letters::{self, Letter, project_id},
    member_log::MemberLog,
    operator,
    sabotage::Sabotage,
    schedule::{Happening, How, POLICIES, Role, Schedule, TurnFault, began_at},
    shared::{Doomed, Shared},
    target::{Api, FakeTarget},
    witness::{Finding, Witness},
};

const SECRET: &str = "the secret of the simulation";
/// How often is looked whether a world is at rest, until it is taken to be stuck.
const LOOKS: u32 = 150;

/// How a world ended.
#[derive(Debug)]
pub struct End {
    pub findings: Vec<Finding>,
    /// What happened, in order.
    pub trace: Vec<String>,
    /// A hash of everything that stood on the log.
    pub log: u64,
    pub turns: u64,
    pub calls: u64,
    pub steps: u64,
    /// How often something happened that is worth watching.
    pub met: BTreeMap<&'static str, u64>,
    /// Records on `issues`, `actions` and `outcomes`.
    pub records: [usize; 3],
}

/// What every world has: loaded once.
pub struct Given {
    /// Those of schedules, and a deaf one.
    pub rulesets: Vec<Arc<Ruleset>>,
    bad: &'static str,
    secrets: Secrets,
    config: Arc<webhooks::Config>,
}

impl Given {
    pub fn load() -> Self {
        let policies = [
            include_str!("policies/first.yaml"),
            include_str!("policies/second.yaml"),
            include_str!("policies/third.yaml"),
        ];
        let deaf = policies[0].replace("issue_commented", "issue_deleted");
        let load = |text: &str| Arc::new(policy::load(text).unwrap());
        let secrets = || Secrets::parse(SECRET).unwrap();
        let config = webhooks::Config {
            github: Some(secrets()),
            jira: Some(secrets()),
            projects: letters::projects(),
            ..Default::default()
        };
        Self {
            rulesets: policies.into_iter().chain([deaf.as_str()]).map(load).collect(),
            bad: include_str!("policies/bad.yaml"),
            secrets: secrets(),
            config: Arc::new(config),
        }
    }
}

/// Lives a schedule through, in a directory of its own.
pub fn live(given: &Arc<Given>, schedule: &Schedule, sabotage: Option<Sabotage>) -> End {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let directory = directory();
    let world = async { World::new(given, schedule, sabotage, directory.path()).live(schedule).await };
    let end = runtime.block_on(world);
    drop(runtime);
    end
}

/// In memory, where the machine has such a place.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

struct Member {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What runs while the process does.
struct Process {
    log: EmbeddedLog,
    writer: JoinHandle<()>,
    router: Option<Router>,
    deliveries: Vec<JoinHandle<()>>,
    /// What operators are at.
    errands: Vec<JoinHandle<()>>,
    members: BTreeMap<Role, Member>,
    views: BTreeMap<u8, Arc<View>>,
}

/// What is to be done when.
#[derive(Debug, Clone, Copy)]
enum Task {
    Happen(Happening),
    Start(Role),
    Open,
}

struct World {
    given: Arc<Given>,
    letters: Vec<Letter>,
    shared: Arc<Shared>,
    directory: PathBuf,
    roles: Vec<Role>,
    /// Of the executors.
    config: Config,
    /// By gateway: which policies it is given.
    policies: BTreeMap<u8, watch::Sender<Policies>>,
    /// By instant (milliseconds) and number.
    agenda: BTreeMap<(u64, usize), Task>,
    planned: usize,
    process: Option<Process>,
    dead_view: Option<Arc<View>>,
}

impl World {
    fn new(given: &Arc<Given>, schedule: &Schedule, sabotage: Option<Sabotage>, directory: &Path) -> Self {
        let roles = std::iter::once(Role::Receivers)
            .chain((0..schedule.gateways).map(Role::Gateway))
            .chain((0..schedule.executors).map(Role::Executor));
        let first = if sabotage == Some(Sabotage::DeafPolicy) { POLICIES } else { 0 };
        let policy = Policies { policy: given.rulesets[first].clone(), shadow: None };
        let policies =
            (0..schedule.gateways).map(|number| (number, watch::Sender::new(policy.clone()))).collect();
        let clock = Arc::new(WorldClock::new(began_at()));
        let witness = Witness::new(&schedule.letters, &given.rulesets, clock.clone());
        Self {
            given: given.clone(),
            letters: schedule.letters.clone(),
            shared: Arc::new(Shared::new(schedule, clock, witness, sabotage)),
            directory: directory.to_owned(),
            roles: roles.collect(),
            config: Config {
                limits: Limits { per_second: std::num::NonZeroU32::MAX, ..Limits::default() },
                pending_max: schedule.pending_max,
                deferred_max: schedule.deferred_max,
                ..Config::new("http://sim.example.net/".parse().unwrap())
            },
            policies,
            agenda: BTreeMap::new(),
            planned: 0,
            process: None,
            dead_view: None,
        }
    }

    async fn live(mut self, schedule: &Schedule) -> End {
        self.open().await;
        for (at, happening) in &schedule.happenings {
            self.plan(*at, Task::Happen(*happening));
        }
        while let Some(((at, _), task)) = self.agenda.pop_first() {
            self.wait_until(at).await;
            if self.is_over() {
                break;
            }
            self.perform(task).await;
        }
        if !self.is_over() {
            self.heal(schedule.seed.is_multiple_of(2), !schedule.seed.is_multiple_of(3)).await;
        }
        self.end().await
    }

    fn is_over(&self) -> bool {
        !self.shared.lock().witness.findings.is_empty()
    }

    fn plan(&mut self, at: u64, task: Task) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), task);
    }

    fn plan_in(&mut self, millis: u64, task: Task) {
        self.plan(self.shared.clock.elapsed() + millis, task);
    }

    /// Lets the world go on until then; whoever is to die meanwhile dies.
    async fn wait_until(&mut self, at: u64) {
        let until = Instant::now() + Duration::from_millis(at.saturating_sub(self.shared.clock.elapsed()));
        loop {
            let alarm = tokio::select! {
                biased;
                () = self.shared.alarm.notified() => true,
                () = sleep_until(until) => false,
            };
            if !alarm || self.is_over() {
                return;
            }
            let doomed = self.shared.lock().doomed;
            match doomed {
                Some(Doomed::Process) => self.crash(700).await,
                Some(Doomed::Member(role)) => self.kill(role, 700).await,
                None => {}
            }
        }
    }

    async fn perform(&mut self, task: Task) {
        self.shared.trace(|| format!("{task:?}"));
        match task {
            Task::Open => self.open().await,
            Task::Start(role) => self.start(role),
            Task::Happen(happening) => self.happen(happening).await,
        }
    }

    async fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Delivery(letter, how) => self.deliver(letter, how),
            Happening::Kill(role, millis) => self.kill(role, millis).await,
            Happening::Stop(role, millis) => self.stop(role, millis).await,
            Happening::Crash(millis) => self.crash(millis).await,
            Happening::Freeze(role, millis) => self.shared.freeze(role, millis),
            Happening::Away(role, millis) => self.shared.take_away(role, millis),
            Happening::Jump(seconds) => self.shared.clock.turn(TimeDelta::seconds(seconds)),
            Happening::Policy(gateway, number) => {
                let policy = self.given.rulesets[number].clone();
                self.policies[&gateway].send_modify(|policies| policies.policy = policy);
            }
            Happening::BadPolicy(_) => {
                // Whoever loads it keeps the one before.
                if policy::load(self.given.bad).is_ok() {
                    self.shared.watch(|witness| witness.find("bad-policy", "a bad policy was loaded".into()));
                }
            }
            Happening::Shadow(gateway, number) => {
                let shadow = number.map(|number| self.given.rulesets[number].clone());
                self.policies[&gateway].send_modify(|policies| policies.shadow = shadow);
            }
            Happening::Pause(project, paused) => self.say(project.map(project_id), paused),
            Happening::Redrive => self.redrive(),
        }
    }

    /// An operator says something; to nobody while the process is dead.
    fn say(&mut self, project: Option<String>, paused: bool) {
        self.send(|log, shared| operator::say(log, shared, project, paused));
    }

    fn redrive(&mut self) {
        self.send(operator::redrive);
    }

    fn send<F>(&mut self, errand: impl FnOnce(EmbeddedLog, Arc<Shared>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(process) = &mut self.process else { return };
        process.errands.retain(|errand| !errand.is_finished());
        process.errands.push(tokio::spawn(errand(process.log.clone(), self.shared.clone())));
    }

    /// The process begins, with all its members.
    async fn open(&mut self) {
        if self.process.is_some() {
            return;
        }
        let (log, hand) = EmbeddedLog::hold_by_hand(&self.directory, self.shared.clock.clone()).unwrap();
        let writer = tokio::spawn(write(log.clone(), hand, self.shared.clone()));
        let made = log.create_topics(&topics()).await;
        self.process = Some(Process {
            log,
            writer,
            router: None,
            deliveries: Vec::new(),
            errands: Vec::new(),
            members: BTreeMap::new(),
            views: BTreeMap::new(),
        });
        // It fails where the process dies meanwhile, and is opened again then.
        if made.is_ok() {
            self.roles.clone().into_iter().for_each(|role| self.start(role));
        }
    }

    fn start(&mut self, role: Role) {
        let Some(process) = &mut self.process else { return };
        if process.members.contains_key(&role) {
            return;
        }
        let clock = self.shared.clock.clone();
        let log = Arc::new(MemberLog { log: process.log.clone(), shared: self.shared.clone(), role });
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running: Running = match role {
            Role::Receivers => {
                process.router = Some(webhooks::routes(self.given.config.clone(), log, clock));
                return;
            }
            Role::Gateway(number) => {
                let policies = self.policies[&number].subscribe();
                let gateway = Gateway::following(log, clock, policies);
                process.views.insert(number, gateway.view());
                self.dead_view.get_or_insert_with(|| gateway.view());
                Box::pin(async move { gateway.run(token).await.map_err(|error| error.to_string()) })
            }
            Role::Executor(_) => {
                let target = |api| -> Arc<dyn Target> {
                    Arc::new(FakeTarget { shared: self.shared.clone(), role, api })
                };
                let targets = Api::ALL.map(target).to_vec();
                let config = self.config.clone();
                let running = executor::run_with(log, clock, config, targets, Arc::default(), token);
                Box::pin(async move { running.await.map_err(|error| error.to_string()) })
            }
        };
        let shared = self.shared.clone();
        let task = tokio::spawn(async move {
            if let Err(why) = running.await {
                shared.watch(|witness| witness.find("ended", format!("{role} ended by itself: {why}")));
            }
        });
        process.members.insert(role, Member { stop, task });
    }

    /// A member dies where it is.
    async fn kill(&mut self, role: Role, millis: u64) {
        let mut ending = Vec::new();
        if let Some(process) = &mut self.process {
            if role == Role::Receivers {
                process.router = None;
                let deliveries = std::mem::take(&mut process.deliveries);
                ending.extend(deliveries);
            }
            if let Role::Gateway(number) = role {
                process.views.remove(&number);
            }
            ending.extend(process.members.remove(&role).map(|member| member.task));
            for task in ending {
                self.end_task(task).await;
            }
            self.plan_in(millis, Task::Start(role));
        }
        self.spare(Doomed::Member(role));
    }

    /// A member is told to stop.
    async fn stop(&mut self, role: Role, millis: u64) {
        if role == Role::Receivers {
            return self.kill(role, millis).await;
        }
        let Some(process) = &mut self.process else { return };
        if let Role::Gateway(number) = role {
            process.views.remove(&number);
        }
        let Some(mut member) = process.members.remove(&role) else { return };
        member.stop.cancel();
        // Others go on while it drains; frozen or cut off it may take long, and is killed then.
        if timeout(Duration::from_secs(12), &mut member.task).await.is_err() {
            self.end_task(member.task).await;
        }
        self.plan_in(millis, Task::Start(role));
    }

    /// The process dies, and with it what was not written.
    async fn crash(&mut self, millis: u64) {
        if let Some(process) = self.process.take() {
            if millis > 0 {
                self.shared.watch(|witness| witness.meet("crash"));
            }
            self.shared.lock().doomed = Some(Doomed::Process);
            let Process { log, writer, router, deliveries, errands, members, .. } = process;
            let members = members.into_values().map(|member| member.task);
            for task in members.chain(deliveries).chain(errands).chain([writer]) {
                self.end_task(task).await;
            }
            drop((router, log));
            self.plan_in(millis, Task::Open);
        }
        self.spare(Doomed::Process);
    }

    fn spare(&self, dead: Doomed) {
        let mut inner = self.shared.lock();
        if dead == Doomed::Process || inner.doomed == Some(dead) {
            inner.doomed = None;
        }
    }

    /// Sends a letter; nobody answers while the receivers are dead.
    fn deliver(&mut self, number: usize, how: How) {
        let Some(process) = &mut self.process else { return };
        let Some(router) = process.router.clone() else { return };
        let request = self.given.request(&self.letters[number], how, self.shared.sabotage);
        let shared = self.shared.clone();
        let delivery = tokio::spawn(async move {
            let sent = shared.watch(|witness| witness.sent(number));
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            shared.trace(|| format!("letter {number} ({how:?}) is answered {status}"));
            let receipt: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            shared.watch(|witness| match (how, status) {
                (How::Forged, status) => witness.forged(number, status.as_u16()),
                (_, StatusCode::ACCEPTED) => {
                    let receipt = receipt.unwrap();
                    let place = |field: &str| receipt[field].as_u64().unwrap();
                    let position = Position { partition: place("partition") as u32, offset: place("offset") };
                    witness.answered(&sent, receipt["event_id"].as_str().unwrap(), position);
                }
                (_, status) => witness.refused(&sent, status.as_u16()),
            });
        });
        process.deliveries.retain(|delivery| !delivery.is_finished());
        process.deliveries.push(delivery);
    }

    /// Nothing goes wrong any more, and everything comes to rest; in some worlds again after what failed is redriven, until
    /// nothing has. Some begin anew then.
    async fn heal(&mut self, begins_anew: bool, redrives: bool) {
        self.shared.heal();
        self.shared.trace(|| "healed".into());
        self.open().await;
        self.roles.clone().into_iter().for_each(|role| self.start(role));
        self.wait_until(self.shared.clock.elapsed() + 1_000).await;
        self.send_again();
        let mut restless = self.rest().await;
        while restless.is_none()
            && redrives
            && !self.is_over()
            && !self.shared.lock().witness.open_letters().is_empty()
        {
            self.redrive();
            restless = self.rest().await;
        }
        let Some(why) = restless else {
            self.shared.watch(Witness::settled);
            if begins_anew && !self.is_over() {
                self.begin_anew().await;
            }
            return;
        };
        if !self.is_over() {
            self.shared.watch(|witness| witness.find("unsettled", why));
        }
    }

    /// Whatever was not accepted is sent once more, now that it will be.
    fn send_again(&mut self) {
        let letters = self.shared.lock().witness.unaccepted();
        for letter in letters {
            self.deliver(letter, How::Plain);
        }
    }

    /// Waits until nothing is left to be done; else says what is. When nothing moves, the wall goes on.
    async fn rest(&mut self) -> Option<String> {
        let mut why = None;
        for look in 0..LOOKS {
            self.wait_until(self.shared.clock.elapsed() + 300).await;
            // Who died last comes back.
            while let Some(task) =
                self.agenda.first_entry().filter(|entry| entry.key().0 <= self.shared.clock.elapsed())
            {
                let task = task.remove();
                self.perform(task).await;
            }
            if self.is_over() {
                return Some("something was found".into());
            }
            self.let_all_go();
            let groups = self.groups().await;
            let inner = self.shared.lock();
            why = inner.witness.restless(&groups);
            drop(inner);
            let unanswered = |process: &Process| {
                process.deliveries.iter().chain(&process.errands).any(|task| !task.is_finished())
            };
            if why.is_none() && self.process.as_ref().is_some_and(unanswered) {
                why = Some("somebody is not answered".into());
            }
            why.as_ref()?;
            if look > 10 {
                self.shared.clock.turn(TimeDelta::seconds(20));
            }
        }
        why
    }

    /// Whatever is paused goes on.
    fn let_all_go(&mut self) {
        let at_it = |process: &Process| process.errands.iter().any(|errand| !errand.is_finished());
        if self.process.as_ref().is_some_and(at_it) {
            return;
        }
        let paused = self.shared.lock().witness.paused();
        paused.into_iter().for_each(|project| self.say(project, false));
    }

    async fn groups(&self) -> Vec<GroupOffset> {
        match &self.process {
            Some(process) => process.log.groups().await.unwrap(),
            None => Vec::new(),
        }
    }

    /// A world at rest that begins anew does nothing, and knows what it knew.
    async fn begin_anew(&mut self) {
        let next_due = self.shared.lock().witness.next_due();
        let due_soon = next_due.is_some_and(|due| due < self.shared.clock.now() + TimeDelta::minutes(1));
        self.crash(0).await;
        self.agenda.clear();
        self.open().await;
        let before = self.shared.lock().witness.written;
        // A timer may come due now; what is shown is looked at when a step has had the time to be taken in.
        loop {
            let turns = self.shared.lock().turns;
            self.wait_until(self.shared.clock.elapsed() + 3_000).await;
            if self.is_over() {
                return;
            }
            if self.shared.lock().turns == turns {
                break;
            }
        }
        let views: Vec<Arc<View>> = match self.shared.is(Sabotage::ShowsTheDead) {
            true => self.dead_view.iter().cloned().collect(),
            false => self.process.iter().flat_map(|process| process.views.values().cloned()).collect(),
        };
        let shown: Vec<_> = views.iter().flat_map(|view| view.projects()).collect();
        self.shared.watch(|witness| witness.shown(&shown));
        let written = self.shared.lock().witness.written - before;
        let gateways = self.policies.values().map(|policies| policies.borrow().clone());
        let hashes: BTreeSet<_> = gateways
            .map(|Policies { policy, shadow }| {
                (policy.hash().to_owned(), shadow.map(|shadow| shadow.hash().to_owned()))
            })
            .collect();
        // With other policies each, partitions may go from one to the other.
        if written > 0 && !due_soon && hashes.len() == 1 {
            self.shared.watch(|witness| witness.find("wrote-at-rest", format!("{written} records")));
        }
    }

    /// Holds what stands on the log against what was committed.
    async fn end(mut self) -> End {
        let mut log = DefaultHasher::new();
        let mut records = [0; 3];
        if let Some(process) = &self.process {
            for name in topic::ALL {
                let from: Vec<(u32, u64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
                let mut reader = process.log.read(name, &from).await.unwrap();
                let mut read = Vec::new();
                while !reader.at_end().await.unwrap() {
                    read.extend(reader.next(Duration::ZERO).await.unwrap());
                }
                read.sort_by_key(|record| (record.partition, record.offset));
                if self.shared.is(Sabotage::ReadsLess) {
                    read.pop();
                }
                for Record { topic, partition, offset, timestamp, key, value, headers } in &read {
                    let headers: Vec<_> = headers.iter().collect();
                    (topic, partition, offset, timestamp, key, value, headers).hash(&mut log);
                }
                let counted = [topic::ISSUES, topic::ACTIONS, topic::OUTCOMES];
                if let Some(place) = counted.iter().position(|counted| *counted == name) {
                    records[place] = read.len();
                }
                let committed = self.shared.lock().witness.copy.readable(name);
                if read != committed {
                    let text =
                        format!("{name} has {} records, and {} were committed", read.len(), committed.len());
                    self.shared.watch(|witness| witness.find("other-log", text));
                }
            }
        }
        self.crash(0).await;
        let mut inner = self.shared.lock();
        End {
            findings: std::mem::take(&mut inner.witness.findings),
            trace: std::mem::take(&mut inner.trace),
            log: log.finish(),
            turns: inner.turns,
            calls: inner.calls,
            steps: inner.steps,
            met: std::mem::take(&mut inner.witness.met),
            records,
        }
    }
}

impl Given {
    fn request(&self, letter: &Letter, how: How, sabotage: Option<Sabotage>) -> Request<Body> {
        let anew = if let How::Anew(anew) = how { anew } else { 0 };
        let other = Secrets::parse("another secret").unwrap();
        let secrets = match (how, sabotage) {
            (_, Some(Sabotage::OtherSecret)) => &other,
            (How::Forged, sabotage) if sabotage != Some(Sabotage::BelievesForgeries) => &other,
            _ => &self.secrets,
        };
        let provider = letter.provider();
        let headers =
            webhooks::sign(provider, secrets, letter.event, &letter.delivery_id(anew), &letter.body);
        let request = Request::post(provider.path());
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body(Body::from(letter.body.clone())).unwrap()
    }
}

fn topics() -> Vec<TopicSpec> {
    let keep = |name: &&str| if topic::COMPACTED.contains(name) { Keep::Newest } else { Keep::ALL };
    let spec = |name: &&str| TopicSpec { name: (*name).into(), partitions: PARTITIONS, keep: keep(name) };
    topic::ALL.iter().map(spec).collect()
}

/// The log's writer: it takes its time, and fails when told to.
async fn write(log: EmbeddedLog, mut hand: Hand, shared: Arc<Shared>) {
    while hand.asked().await {
        let (moment, (turn, faults)) = {
            let mut inner = shared.lock();
            (inner.moment() / 4, inner.next_turn())
        };
        let slow = faults.iter().find_map(|fault| match fault {
            TurnFault::Slow(millis) => Some(*millis),
            _ => None,
        });
        sleep(Duration::from_millis(slow.unwrap_or(moment))).await;
        if faults.contains(&TurnFault::CrashBefore) {
            shared.trace(|| format!("turn {turn}: dies before it"));
            return shared.doom(Doomed::Process);
        }
        let fate = match () {
            () if faults.contains(&TurnFault::RolledBack) => Fate::RolledBack,
            () if faults.contains(&TurnFault::Unknown) => Fate::Unknown,
            () => Fate::Made,
        };
        let written = hand.write(fate);
        let dies = faults.contains(&TurnFault::CrashAfter);
        if dies {
            shared.doom(Doomed::Process);
        }
        shared.trace(|| {
            let steps: Vec<String> = written
                .iter()
                .map(|written| {
                    let who = written.group.as_deref().unwrap_or("append");
                    format!("{who} {:?} {}", written.partitions, written.records.len())
                })
                .collect();
            format!("turn {turn} {fate:?}{}: {}", if dies { ", dies" } else { "" }, steps.join(", "))
        });
        if !written.is_empty() {
            let groups = log.groups().await.unwrap_or_default();
            shared.watch(|witness| witness.committed(&written, &groups));
        }
        shared.news.notify_waiters();
        if dies {
            return;
        }
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl World {
    /// Ends a task where it is, with all that it holds. One that had fallen is found.
    async fn end_task(&self, task: JoinHandle<()>) {
        task.abort();
        if task.await.is_err_and(|error| error.is_panic()) {
            self.shared.watch(|witness| witness.find("ended", "somebody panicked".into()));
        }
    }
}
