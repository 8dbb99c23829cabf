//! The contract suite on the embedded log, and what only the embedded log promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

#[macro_use]
mod contract;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use contract::Backend;
use eventlog::{
    Log, LogError, ManualClock,
    embedded::{EmbeddedLog, Snapshot},
};

const DIRECTORY: &str = "EVENTLOG_TEST_DIRECTORY";

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2025, 1, 2, 12, 0, 0).unwrap()
}

/// A data directory of its own; a child process is given its parent's.
struct Embedded {
    directory: PathBuf,
    clock: Arc<ManualClock>,
    _temporary: Option<tempfile::TempDir>,
}

#[async_trait]
impl Backend for Embedded {
    const PATIENCE: Duration = Duration::from_secs(25);
    const KILLS: usize = 15;

    async fn start() -> Result<Self, String> {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("data");
        Ok(Self { directory, clock: Arc::new(ManualClock::new(noon())), _temporary: Some(temporary) })
    }

    async fn serve(&self) -> Arc<dyn Log> {
        // A child that another test is about to start has a copy of the directory's lock until it is another program, and a call that
        // was given up ends on its own thread.
        let deadline = Instant::now() + Self::PATIENCE;
        loop {
            match EmbeddedLog::hold(&self.directory, self.clock.clone()) {
                Ok(log) => return Arc::new(log),
                Err(LogError::Refused(why)) if why.contains("in use") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn beside(&self) -> Arc<dyn Log> {
        Arc::new(EmbeddedLog::open(&self.directory, self.clock.clone()).unwrap())
    }

    fn clock(&self) -> Option<Arc<ManualClock>> {
        Some(self.clock.clone())
    }

    fn child_env(&self) -> Vec<(&'static str, String)> {
        vec![(DIRECTORY, self.directory.to_str().unwrap().to_owned())]
    }

    fn in_child() -> Self {
        let directory = std::env::var(DIRECTORY).unwrap().into();
        Self { directory, clock: Arc::new(ManualClock::new(noon())), _temporary: None }
    }
}

contract!(Embedded);

mod directory {
    //! What the data directory may be, and what is said when it is something else.

    use eventlog::{Keep, LogError, NewRecord, SubscriptionSpec, TopicSpec};
    use rusqlite::Connection;

    use super::*;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(noon()))
    }

    fn refusal(result: Result<EmbeddedLog, LogError>) -> String {
        match result {
            Err(LogError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn topic(name: &str) -> TopicSpec {
        TopicSpec {
            name: name.into(),
            partitions: 1,
            keep: if name == "state" { Keep::Newest } else { Keep::ALL },
        }
    }

    pub(super) fn record(value: Vec<u8>) -> NewRecord {
        NewRecord {
            topic: "in".into(),
            partition: None,
            key: "k".into(),
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn is_made_for_its_owner_alone_also_by_publish() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("new/data");
        let log = EmbeddedLog::open(&directory, clock()).unwrap();
        log.create_topics(&[topic("in")]).await.unwrap();
        log.append(vec![record(b"before the first serve".into())]).await.unwrap();
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let serve = EmbeddedLog::hold(&directory, clock()).unwrap();
        assert_eq!(serve.topics().await.unwrap()[0].partitions[0].end, 1);
    }

    #[tokio::test]
    async fn is_held_by_one_serve_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let first = EmbeddedLog::hold(temporary.path(), clock()).unwrap();
        let why = refusal(EmbeddedLog::hold(temporary.path(), clock()));
        let pid = std::process::id();
        assert!(why.contains(&format!("in use by another breakdown serve (pid {pid})")), "{why}");
        assert!(why.contains(temporary.path().to_str().unwrap()), "{why}");
        drop(first);
        EmbeddedLog::hold(temporary.path(), clock()).unwrap();
    }

    #[tokio::test]
    async fn is_held_until_readers_and_subscriptions_are_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::hold(temporary.path(), clock()).unwrap();
        log.create_topics(&[topic("in"), topic("state")]).await.unwrap();
        let spec =
            SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() };
        let subscription = log.subscribe(spec).await.unwrap();
        drop(log);
        refusal(EmbeddedLog::hold(temporary.path(), clock()));
        drop(subscription);
        EmbeddedLog::hold(temporary.path(), clock()).unwrap();
    }

    #[tokio::test]
    async fn whose_files_are_taken_away_acknowledges_nothing() {
        for name in ["log.db", "log.db-wal", "serve.lock"] {
            let temporary = tempfile::tempdir().unwrap();
            let (path, aside) = (temporary.path().join(name), temporary.path().join("aside"));
            let log = EmbeddedLog::hold(temporary.path(), clock()).unwrap();
            log.create_topics(&[topic("in")]).await.unwrap();
            std::fs::rename(&path, &aside).unwrap();
            for replaced in [false, true] {
                if replaced {
                    std::fs::write(&path, "another").unwrap();
                }
                let refused = log.append(vec![record(b"lost".into())]).await.unwrap_err();
                assert!(matches!(&refused, LogError::Unavailable(why) if why.contains(name)), "{refused}");
            }
            std::fs::rename(&aside, &path).unwrap();
            assert_eq!(log.append(vec![record(b"kept".into())]).await.unwrap()[0].offset, 0);
        }
    }

    /// What opening it says, in each way in which that can be done.
    fn refusals(directory: &std::path::Path, by_serve: bool) -> Vec<String> {
        let snapshot = match Snapshot::take(directory) {
            Err(LogError::Refused(why)) => why,
            other => panic!("{other:?}"),
        };
        let mut said = vec![snapshot, refusal(EmbeddedLog::open(directory, clock()))];
        if by_serve {
            said.push(refusal(EmbeddedLog::hold(directory, clock())));
        }
        said
    }

    #[tokio::test]
    async fn whose_log_is_taken_from_under_a_serve_is_not_made_anew_beside_it() {
        use std::os::unix::fs::MetadataExt;
        let temporary = tempfile::tempdir().unwrap();
        let [file, wal, aside] = ["log.db", "log.db-wal", "aside"].map(|name| temporary.path().join(name));
        let log = EmbeddedLog::hold(temporary.path(), clock()).unwrap();
        log.create_topics(&[topic("in")]).await.unwrap();
        log.append(vec![record(b"acknowledged".into())]).await.unwrap();
        let before = (std::fs::metadata(&wal).unwrap().ino(), std::fs::read(&wal).unwrap());
        std::fs::rename(&file, &aside).unwrap();
        for how in ["missing", "empty"] {
            if how == "empty" {
                std::fs::write(&file, "").unwrap();
            }
            for why in refusals(temporary.path(), false) {
                let says = format!(
                    "log.db is {how}, and its directory is held by another breakdown serve (pid {})",
                    std::process::id()
                );
                assert!(why.contains(&says) && why.contains("put it back"), "{why}");
            }
            assert_eq!((std::fs::metadata(&wal).unwrap().ino(), std::fs::read(&wal).unwrap()), before);
            assert_eq!(file.exists(), how == "empty");
        }
        // Nor where the write-ahead log went along.
        std::fs::remove_file(&file).unwrap();
        let wal_aside = temporary.path().join("wal aside");
        std::fs::rename(&wal, &wal_aside).unwrap();
        assert!(refusal(EmbeddedLog::open(temporary.path(), clock())).contains("is held by another"));
        assert!(!file.exists() && !wal.exists());
        std::fs::rename(&wal_aside, &wal).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        assert_eq!(log.append(vec![record(b"goes on".into())]).await.unwrap()[0].offset, 1);
        let beside = EmbeddedLog::open(temporary.path(), clock()).unwrap();
        assert_eq!(beside.topics().await.unwrap()[0].partitions[0].end, 2);
    }

    #[tokio::test]
    async fn with_a_write_ahead_log_alone_is_refused_and_left_alone() {
        let [live, dead] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let log = EmbeddedLog::hold(live.path(), clock()).unwrap();
        log.create_topics(&[topic("in")]).await.unwrap();
        log.append(vec![record(b"acknowledged".into())]).await.unwrap();
        // As a death leaves it.
        let [file, wal] = ["log.db", "log.db-wal"].map(|name| dead.path().join(name));
        std::fs::copy(live.path().join("log.db-wal"), &wal).unwrap();
        let before = std::fs::read(&wal).unwrap();
        for how in ["missing", "empty"] {
            if how == "empty" {
                std::fs::write(&file, "").unwrap();
            }
            for why in refusals(dead.path(), true) {
                assert!(why.contains(&format!("log.db is {how} beside its log.db-wal")), "{why}");
                assert!(why.contains("put it back, or move log.db-wal away to begin anew"), "{why}");
            }
            assert!(std::fs::read(&wal).unwrap() == before && file.exists() == (how == "empty"));
        }
        std::fs::copy(live.path().join("log.db"), &file).unwrap();
        let end = async |log: EmbeddedLog| log.topics().await.unwrap()[0].partitions[0].end;
        assert_eq!(end(EmbeddedLog::hold(dead.path(), clock()).unwrap()).await, 1);
        // The file alone is what a clean end leaves.
        while wal.exists() {
            tokio::task::yield_now().await;
        }
        assert_eq!(end(EmbeddedLog::hold(dead.path(), clock()).unwrap()).await, 1);
    }

    #[test]
    fn is_made_once_by_a_serve_and_others_that_start_at_the_same_time() {
        for _ in 0..20 {
            let temporary = tempfile::tempdir().unwrap();
            let barrier = std::sync::Barrier::new(5);
            std::thread::scope(|scope| {
                let open = |hold: bool| {
                    barrier.wait();
                    let log = if hold { EmbeddedLog::hold } else { EmbeddedLog::open };
                    log(temporary.path(), clock())
                };
                let started = [true, false, false, false, false].map(|hold| scope.spawn(move || open(hold)));
                let logs = started.map(|thread| thread.join().unwrap().unwrap());
                drop(logs);
            });
        }
    }

    #[tokio::test]
    async fn opened_beside_a_serve_cannot_join_a_group() {
        let temporary = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(temporary.path(), clock()).unwrap();
        log.create_topics(&[topic("in"), topic("state")]).await.unwrap();
        let spec =
            SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() };
        assert!(matches!(log.subscribe(spec).await.err(), Some(LogError::Refused(_))));
    }

    #[test]
    fn of_a_newer_version_is_refused_and_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        drop(EmbeddedLog::open(temporary.path(), clock()).unwrap());
        let file = temporary.path().join("log.db");
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let why = refusal(EmbeddedLog::open(temporary.path(), clock()));
        assert!(why.contains("newer breakdown (schema 7"), "{why}");
        let version =
            |c: Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap();
        assert_eq!(version(Connection::open(&file).unwrap()), 7);
    }

    #[test]
    fn of_another_program_is_refused_and_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("log.db");
        Connection::open(&file)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (x); PRAGMA journal_mode = delete")
            .unwrap();
        let before = std::fs::read(&file).unwrap();
        let why = refusal(EmbeddedLog::hold(temporary.path(), clock()));
        assert!(why.contains("another program"), "{why}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn with_an_empty_file_is_new() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("log.db"), "").unwrap();
        EmbeddedLog::open(temporary.path(), clock()).unwrap();
    }

    #[tokio::test]
    async fn with_a_damaged_file_is_refused_and_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("log.db");
        std::fs::write(&file, "this is not a database, and long enough to look like one".repeat(100))
            .unwrap();
        let before = std::fs::read(&file).unwrap();
        let why = refusal(EmbeddedLog::open(temporary.path(), clock()));
        assert!(why.contains("log.db is damaged, or not a log"), "{why}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[tokio::test]
    async fn with_damage_inside_the_file_is_told_when_it_is_met() {
        use std::os::unix::fs::FileExt;
        let temporary = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(temporary.path(), clock()).unwrap();
        log.create_topics(&[topic("in")]).await.unwrap();
        for _ in 0..50 {
            log.append(vec![record(vec![b'x'; 3_000])]).await.unwrap();
        }
        drop(log);
        let file = std::fs::OpenOptions::new().write(true).open(temporary.path().join("log.db")).unwrap();
        let pages = file.metadata().unwrap().len() / 4_096;
        for page in 20..pages {
            file.write_all_at(&[0xa5; 4_096], page * 4_096).unwrap();
        }
        drop(file);
        let log = EmbeddedLog::open(temporary.path(), clock()).unwrap();
        let mut reader = log.read("in", &[(0, 0)]).await.unwrap();
        let error = reader.next(Duration::ZERO).await.unwrap_err();
        assert!(matches!(&error, LogError::Refused(why) if why.contains("damaged")), "{error:?}");
    }

    #[test]
    fn that_cannot_be_made_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("file"), "").unwrap();
        let why = refusal(EmbeddedLog::open(temporary.path().join("file/data"), clock()));
        assert!(why.contains("cannot make the data directory"), "{why}");
    }
}

mod full_disk {
    //! A disk that is full, played by the limit on a file's size: the child starts under one and lifts it later.

    use std::process::Command;

    use eventlog::LogError;

    use super::*;

    #[test]
    fn is_said_and_writing_goes_on_when_there_is_room() {
        if Command::new("prlimit").arg("--version").output().is_err() {
            eprintln!(
                "skipped: is_said_and_writing_goes_on_when_there_is_room: there is no prlimit (util-linux) here"
            );
            return;
        }
        let temporary = tempfile::tempdir().unwrap();
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec prlimit --fsize=1000000:unlimited \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["full_disk::child", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, temporary.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("went on"), "{child:?}");
    }

    #[tokio::test]
    #[ignore = "the child process of the test above; does nothing by itself"]
    async fn child() {
        let Ok(directory) = std::env::var(DIRECTORY) else { return };
        let log = EmbeddedLog::open(directory, Arc::new(ManualClock::new(noon()))).unwrap();
        log.create_topics(&[super::directory::topic("in")]).await.unwrap();
        let mut written = 0;
        let error = loop {
            match log.append(vec![super::directory::record(vec![b'x'; 20_000])]).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 1_000, "the limit does not bind");
        };
        assert!(written > 0 && matches!(error, LogError::Unavailable(_)), "{written}: {error:?}");
        let again = log.append(vec![super::directory::record(vec![b'x'; 20_000])]).await;
        assert!(matches!(again, Err(LogError::Unavailable(_))), "{again:?}");
        let pid = std::process::id().to_string();
        assert!(
            Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status().unwrap().success()
        );
        let position =
            log.append(vec![super::directory::record(b"there is room again".into())]).await.unwrap()[0];
        assert_eq!(position.offset, written, "no offset was spent on what was rolled back");
        let mut reader = log.read("in", &[(0, 0)]).await.unwrap();
        let mut records = 0;
        while !reader.at_end().await.unwrap() {
            records += reader.next(Duration::from_secs(1)).await.unwrap().len() as u64;
        }
        assert_eq!(records, written + 1);
        println!("went on");
    }
}
