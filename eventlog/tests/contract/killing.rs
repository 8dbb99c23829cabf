//! Other processes, and what is left when they are killed (`kill -9`) at any moment.
//!
//! The child is this test program, run again for the ignored test `child_process`; what it is to do stands in its
//! environment, and what it has done it says line by line on standard output.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use eventlog::{Log, Record, Step};

use super::{Backend, Case, text};

const ROLE: &str = "EVENTLOG_CHILD_ROLE";
const TAG: &str = "EVENTLOG_CHILD_TAG";
const PARTITIONS: u32 = 3;

/// A child process that dies with the test.
struct Helper {
    child: Child,
    lines: Receiver<String>,
    patience: Duration,
}

impl Helper {
    fn start<B: Backend>(case: &Case<B>, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(TAG, &case.tag)
            .envs(case.backend.child_env())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the child.
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, patience: B::PATIENCE }
    }

    /// The next line that says `word`, from there on; `None` when the child has ended. Blocks.
    fn next(&mut self, word: &str) -> Option<String> {
        loop {
            match self.lines.recv_timeout(self.patience) {
                // libtest writes on the same lines before the child does.
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(word) {
                        return Some(rest.to_owned());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the child has not said {word:?} for {:?}", self.patience)
                }
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child process runs.
pub fn child<B: Backend>() {
    let (Ok(role), Ok(tag)) = (std::env::var(ROLE), std::env::var(TAG)) else { return };
    let case = Case::<B>::resumed(tag);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "append" => append(case).await,
            "step" => step(case).await,
            "read" => read(case).await,
            "publish" => publish(case).await,
            other => panic!("no such role: {other}"),
        }
    });
}

/// Appends for ever, and says each value when its append has returned.
async fn append<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let run = RandomState::new().hash_one(0);
    for i in 0.. {
        let records: Vec<_> =
            (0..3).map(|k| case.record("in", &format!("k{k}"), &format!("{run:x}-{i}-{k}"))).collect();
        let values: Vec<_> =
            records.iter().map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).into_owned()).collect();
        let positions = log.append(records).await.unwrap();
        for (value, position) in values.iter().zip(positions) {
            println!("ack {} {} {value}", position.partition, position.offset);
        }
    }
}

pub async fn acknowledged_appends_survive_kill<B: Backend>(case: Case<B>) {
    let log = case.backend.beside().await;
    case.create(&*log, 2).await;
    drop(log);
    let mut acknowledged = Vec::new();
    for round in 0..B::KILLS {
        let mut child = Helper::start(&case, "append");
        for _ in 0..20 + 7 * round {
            acknowledged.push(child.next("ack ").expect("the child appends until it is killed"));
        }
        child.kill();
    }
    let log = case.backend.serve().await;
    let stored: BTreeMap<_, _> =
        case.all(&*log, "in", 2).await.into_iter().map(|r| ((r.partition, r.offset), r)).collect();
    for line in acknowledged {
        let mut words = line.split(' ');
        let place = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        let record = stored.get(&place).unwrap_or_else(|| panic!("{line} was acknowledged and is gone"));
        assert_eq!(text(record), words.next().unwrap());
    }
}

/// Consumes `in` for ever. For each record: two records to `out`, one to `more-out`, and the count per key in `state`.
async fn step<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let mut member = case.member(&*log).await;
    let mut done = 0;
    loop {
        member.poll(5, Duration::from_millis(100)).await;
        if member.records.len() == done {
            continue;
        }
        let new: Vec<Record> = member.records[done..].to_vec();
        done = member.records.len();
        let mut append = Vec::new();
        for record in &new {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            let state = member.state.get_mut(&record.partition).unwrap();
            let count = state.get(&key).map_or(0, |c| c.parse::<u64>().unwrap()) + 1;
            state.insert(key.clone(), count.to_string());
            for topic in ["out", "out", "more-out"] {
                append.push(case.record_in(topic, record.partition, &key, Some(&text(record))));
            }
            append.push(case.record_in("state", record.partition, &key, Some(&count.to_string())));
        }
        let mut partitions: Vec<_> = new.iter().map(|r| r.partition).collect();
        partitions.dedup();
        member.commit(Step { partitions, append }).await.unwrap();
        println!("step {}", new.len());
    }
}

/// What holds after every kill: each step is whole on all topics, in the state and in the offsets.
async fn check_steps<B: Backend>(case: &Case<B>, log: &dyn Log) -> usize {
    let inputs = case.all(log, "in", PARTITIONS).await;
    let out = case.all(log, "out", PARTITIONS).await;
    let more = case.all(log, "more-out", PARTITIONS).await;
    let mut state = BTreeMap::new();
    for record in case.all(log, "state", PARTITIONS).await {
        state.insert((record.partition, record.key.clone()), text(&record).parse::<usize>().unwrap());
    }
    let groups = log.groups().await.unwrap();
    let mut consumed = 0;
    for p in 0..PARTITIONS {
        let committed = groups
            .iter()
            .find(|o| o.group == case.name("group") && o.partition == p)
            .map_or(0, |o| o.committed);
        let of = |records: &[Record]| -> Vec<String> {
            records.iter().filter(|r| r.partition == p).map(text).collect()
        };
        let done: Vec<_> =
            inputs.iter().filter(|r| r.partition == p && r.offset < committed).cloned().collect();
        let values = of(&done);
        assert_eq!(of(&more), values, "partition {p}: one record each, in order, and for nothing else");
        assert_eq!(of(&out), values.iter().flat_map(|v| [v.clone(), v.clone()]).collect::<Vec<_>>());
        let mut counts = BTreeMap::new();
        for record in &done {
            *counts.entry((p, record.key.clone())).or_insert(0_usize) += 1;
        }
        let kept: BTreeMap<_, _> =
            state.iter().filter(|((q, _), _)| *q == p).map(|(k, c)| (k.clone(), *c)).collect();
        assert_eq!(kept, counts, "partition {p}: the state counts what was consumed");
        consumed += done.len();
    }
    consumed
}

pub async fn steps_survive_kill_whole<B: Backend>(case: Case<B>) {
    let log = case.backend.beside().await;
    case.create(&*log, PARTITIONS).await;
    // More than all the children together will come to before they are killed.
    let total = 150 * (B::KILLS + 1);
    for chunk in (0..total).collect::<Vec<_>>().chunks(500) {
        let records =
            chunk.iter().map(|i| case.record("in", &format!("k{}", i % 17), &i.to_string())).collect();
        log.append(records).await.unwrap();
    }
    let random = RandomState::new();
    let mut consumed = 0;
    for round in 0..B::KILLS {
        let mut child = Helper::start(&case, "step");
        for _ in 0..random.hash_one((round, "steps")) % 8 + 1 {
            child.next("step ").expect("the child makes steps until it is killed");
        }
        // Anywhere within the next step or two.
        tokio::time::sleep(Duration::from_micros(random.hash_one(round) % 6_000)).await;
        child.kill();
        let before = std::mem::replace(&mut consumed, check_steps(&case, &*log).await);
        assert!(consumed > before, "an acknowledged step is gone");
    }
    let mut child = Helper::start(&case, "step");
    while consumed < total {
        let step = child.next("step ").expect("the child makes steps until it is killed");
        consumed += step.parse::<usize>().unwrap();
    }
    child.kill();
    assert_eq!(check_steps(&case, &*log).await, total);
}

/// Reads `in` for ever and says each value.
async fn read<B: Backend>(case: Case<B>) {
    let log = case.backend.beside().await;
    let from: Vec<_> = (0..PARTITIONS).map(|p| (p, 0)).collect();
    let mut reader = log.read(&case.name("in"), &from).await.unwrap();
    println!("reading now");
    loop {
        for record in reader.next(Duration::from_secs(1)).await.unwrap() {
            println!("read {}", text(&record));
        }
    }
}

pub async fn another_process_reads_what_serve_appends<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, PARTITIONS).await;
    let mut child = Helper::start(&case, "read");
    child.next("reading ").unwrap();
    for i in 0..10 {
        log.append(vec![case.record("in", &format!("k{i}"), &i.to_string())]).await.unwrap();
        assert_eq!(child.next("read ").unwrap(), i.to_string());
    }
}

/// Appends five values and ends.
async fn publish<B: Backend>(case: Case<B>) {
    let log = case.backend.beside().await;
    for i in 0..5 {
        log.append(vec![case.record("in", "k", &i.to_string())]).await.unwrap();
    }
    println!("published all");
}

pub async fn another_process_appends_what_serve_consumes<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, PARTITIONS).await;
    let mut member = case.member(&*log).await;
    member.until_held(PARTITIONS as usize).await;
    let mut child = Helper::start(&case, "publish");
    member.until_records(5).await;
    assert_eq!(member.values(), ["0", "1", "2", "3", "4"]);
    child.next("published ").unwrap();
    member.commit_held().await;
}
