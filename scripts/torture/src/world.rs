//! The processes under test, the calendar that outlives them, and what each of them is told.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use eventlog::{
    Log,
    embedded::EmbeddedLog,
    kafka::{KafkaConfig, KafkaLog},
};
use reqwest::Client;
use tokio::{process::Command, time::Instant};

use crate::{
    Result,
    broker::Broker,
    clock::SystemClock,
    faults::LogKind,
    letters::{PROJECTS, jira_key, project_id, provider, repository},
    process::Member,
};

/// What both providers sign with.
pub(crate) const SECRET: &str = "the secret of this run";
/// How long a process may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// How many processes faults are drawn for: the first so many of [`World::members`].
pub(crate) fn processes(log: LogKind) -> usize {
    match log {
        LogKind::Embedded => 1,
        LogKind::Kafka => 5,
    }
}

/// Everything that runs.
pub(crate) struct World {
    /// The processes that faults befall; the first one has the receivers.
    pub(crate) members: Vec<Member>,
    /// calendar-mock. It keeps its record in memory, so nothing befalls it but what it is asked for.
    pub(crate) calendar: Member,
    /// The broker, where there is one.
    pub(crate) broker: Option<Broker>,
    /// Speaks HTTP to all of them.
    pub(crate) client: Client,
    program: PathBuf,
    directory: PathBuf,
}

impl World {
    /// Starts everything, a broker of so many nodes with it, and waits until it is ready. All files are made in `directory`.
    pub(crate) async fn start(
        log: LogKind,
        nodes: u16,
        program: &Path,
        scripts: &Path,
        directory: &Path,
    ) -> Result<Self> {
        std::fs::write(directory.join("breakdown.toml"), configuration())?;
        std::fs::write(directory.join("policy.yaml"), crate::POLICY)?;
        let client = executor::http_client(&"http://127.0.0.1".parse()?, Duration::from_secs(15))?;
        let any = "127.0.0.1:0";
        let calendar = ["serve", "--roles", "calendar-mock", "--calendar-listen", any, "--admin-listen", any];
        let calendar = Member::start("calendar", program, directory, &calendar, &[]);
        let broker = match log {
            LogKind::Embedded => None,
            LogKind::Kafka => {
                Some(Broker::start(&scripts.join("kafka.sh"), &directory.join("kafka"), nodes).await?)
            }
        };
        let (program, directory) = (program.to_owned(), directory.to_owned());
        let mut world = Self { members: Vec::new(), calendar, broker, client, program, directory };
        world.ready(&world.calendar).await?;
        let base = world.calendar_base()?;
        let brokers = world.broker.as_ref().map(Broker::address).unwrap_or_default();
        let variables = [
            ("CALENDAR_API_BASE", base.as_str()),
            ("REDPANDA_BROKERS", &brokers),
            ("GITHUB_WEBHOOK_SECRET", SECRET),
            ("JIRA_WEBHOOK_SECRET", SECRET),
            ("RUST_LOG", "info"),
        ];
        let roles: &[(&str, &str)] = match log {
            LogKind::Embedded => &[("all", "webhooks,gateway,executor")],
            LogKind::Kafka => &[
                ("webhooks", "webhooks"),
                ("gateway-1", "gateway"),
                ("gateway-2", "gateway"),
                ("executor-1", "executor"),
                ("executor-2", "executor"),
            ],
        };
        for (place, (name, roles)) in roles.iter().enumerate() {
            let arguments = [
                "serve",
                "--roles",
                roles,
                "--data-dir",
                name,
                "--policy",
                "policy.yaml",
                "--webhooks-listen",
                any,
                "--admin-listen",
                any,
            ];
            world.members.push(Member::start(name, &world.program, &world.directory, &arguments, &variables));
            // The first one makes the topics.
            if place == 0 {
                world.ready(&world.members[0]).await?;
            }
        }
        world.all_ready().await?;
        Ok(world)
    }

    /// Waits until every process is ready.
    pub(crate) async fn all_ready(&self) -> Result<()> {
        for member in &self.members {
            self.ready(member).await?;
        }
        Ok(())
    }

    async fn ready(&self, member: &Member) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            if let Some(admin) = member.addresses().admin
                && let Ok(answer) = self.client.get(format!("{admin}/health/ready")).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = self.directory.join(&member.name).with_extension("log");
        Err(format!("{} was not ready within {} s: {}", member.name, READY_WITHIN.as_secs(), log.display())
            .into())
    }

    /// Where calendar-mock's API is.
    pub(crate) fn calendar_base(&self) -> Result<String> {
        self.calendar.addresses().calendar.ok_or_else(|| "calendar-mock told no address".into())
    }

    /// The log, read beside those who hold it.
    pub(crate) fn log(&self) -> Result<Arc<dyn Log>> {
        Ok(match &self.broker {
            Some(broker) => Arc::new(KafkaLog::new(KafkaConfig::new(broker.address()))?),
            None => Arc::new(EmbeddedLog::open(self.directory.join("all"), Arc::new(SystemClock))?),
        })
    }

    /// Runs `breakdown` with these arguments beside the processes; whether it succeeded. What it said is in commands.log.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<bool> {
        let log = OpenOptions::new().create(true).append(true).open(self.directory.join("commands.log"))?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--data-dir", "all"])
            .current_dir(&self.directory)
            .env("REDPANDA_BROKERS", self.broker.as_ref().map(Broker::address).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let ended = tokio::time::timeout(COMMAND_WITHIN, command.status()).await;
        Ok(ended.is_ok_and(|status| status.is_ok_and(|status| status.success())))
    }

    /// The admin listeners of the processes that have a gateway.
    pub(crate) fn gateways(&self) -> Vec<String> {
        let gateways =
            self.members.iter().filter(|member| member.name == "all" || member.name.starts_with("gateway"));
        gateways.filter_map(|member| member.addresses().admin).collect()
    }

    /// Tells every process to drain and waits for it. Says which ones did not end as they should.
    pub(crate) async fn stop(self) -> Result<Vec<String>> {
        let mut unclean = Vec::new();
        let ends = self.members.into_iter().map(async |member| (member.name.clone(), member.stop().await));
        for (name, code) in futures::future::join_all(ends).await {
            match code? {
                Some(0) => {}
                Some(code) => unclean.push(format!("{name} ended with exit code {code} when told to stop")),
                None => unclean.push(format!("{name} did not stop within its time")),
            }
        }
        self.calendar.stop().await?;
        if let Some(broker) = self.broker {
            broker.down().await?;
        }
        Ok(unclean)
    }
}

/// The projects, and patience beyond every fault: what fails here fails for another reason.
fn configuration() -> String {
    let mut text = String::from("[executor]\ngive_up_after = \"2h\"\n");
    for project in 0..PROJECTS {
        text += &match provider(project) {
            webhooks::Provider::Github => {
                format!("[projects.{}]\nrepositories = [\"{}\"]\n", project_id(project), repository(project))
            }
            _ => {
                format!("[projects.{}]\njira = [\"{}\"]\n", project_id(project), jira_key(project))
            }
        };
    }
    text
}
