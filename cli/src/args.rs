//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flags;

/// Project coordination that reacts by itself: signed webhook in, action out, outcome on the log.
#[derive(Debug, Parser)]
#[command(name = "breakdown", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Configuration file [default: breakdown.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the embedded log [env: BREAKDOWN_DATA_DIR] [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Brokers, host:port,…; without them the embedded log [env: REDPANDA_BROKERS]
    #[arg(long, global = true, value_name = "LIST")]
    brokers: Option<String>,
}

impl Common {
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            brokers: self.brokers.clone(),
            ..Flags::default()
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run roles (webhooks, gateway, executor) in one process until SIGINT or SIGTERM, then drain
    Serve(Serve),
    /// Append issue events to the log, after checking them
    Publish(Publish),
    /// Send a webhook, signed as the provider would
    Deliver(Deliver),
    /// Print the records of a topic
    Tail(Tail),
    /// List topics with their partitions, first and end offsets
    Topics(Json),
    /// List consumer groups with committed offsets and lag
    Groups(Json),
    /// Print what is known of one issue
    Issue(Issue),
    /// Stop effects, of a project or of all; decisions go on, and their actions wait
    Pause(crate::commands::pause::Pause),
    /// Let effects go on that were paused
    Resume(crate::commands::pause::Pause),
    /// List, show and redrive what could not be read or delivered
    DeadLetters(crate::commands::dead_letters::DeadLetters),
    /// Check that the log is whole, that its state follows from it, and that it will go on being kept
    Doctor(Json),
    /// Look at what carries actions into the world
    Targets(crate::commands::targets::Targets),
    /// Work with policy files
    Policy(crate::commands::policy::Policy),
}

/// A job that a process of `serve` can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Receive webhooks.
    Webhooks,
    /// Decide.
    Gateway,
    /// Act.
    Executor,
    /// Stand in for a calendar and notification API.
    CalendarMock,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Roles of this process [default: all; calendar-mock only while CALENDAR_API_BASE is unset]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) roles: Vec<Role>,
    /// Send the sample deliveries through the real receivers and show what comes of them; breakdown.toml (policy, targets)
    /// is not read
    #[arg(long)]
    pub(crate) demo: bool,
    /// With --demo: stop when it is complete
    #[arg(long, requires = "demo")]
    pub(crate) exit: bool,
    /// Decide and record actions, but touch nothing outside
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Policy file [env: BREAKDOWN_POLICY] [default: built in, samples/policy.yaml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Policy file to try out: it decides the same events onto the topic actions-shadow, and nothing is done
    #[arg(long, value_name = "FILE")]
    shadow: Option<PathBuf>,
    /// Address of the webhook receivers [env: BREAKDOWN_WEBHOOKS_LISTEN] [default: 127.0.0.1:7000]
    #[arg(long, value_name = "ADDR")]
    webhooks_listen: Option<SocketAddr>,
    /// Address of health, metrics and admin API [env: BREAKDOWN_ADMIN_LISTEN] [default: 127.0.0.1:7100]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Address of calendar-mock [env: BREAKDOWN_CALENDAR_LISTEN] [default: 127.0.0.1:7300]
    #[arg(long, value_name = "ADDR")]
    calendar_listen: Option<SocketAddr>,
}

impl Serve {
    pub(crate) fn flags(&self, common: &Common) -> Flags {
        Flags {
            policy: self.policy.clone(),
            shadow: self.shadow.clone(),
            webhooks_listen: self.webhooks_listen,
            admin_listen: self.admin_listen,
            calendar_listen: self.calendar_listen,
            demo: self.demo,
            ..common.flags()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The topic: issues
    #[arg(long, default_value = events::topic::ISSUES)]
    pub(crate) topic: String,
    /// One event, a JSON array, or one event a line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print one JSON object an event
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProviderName {
    /// GitHub.
    Github,
    /// Jira.
    Jira,
    /// PagerDuty.
    Pagerduty,
}

#[derive(Debug, Args)]
pub(crate) struct Deliver {
    /// Whose webhook it is
    #[arg(long)]
    pub(crate) provider: ProviderName,
    /// The payload
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// GitHub's event name [default: by the payload: issue_comment, milestone, else issues]
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Where to [default: the provider's path where the configuration says that webhooks are received]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Variable that holds the secret [default: the provider's secret in the configuration]
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) secret_env: Option<String>,
    /// Delivery id; the same one again is the same delivery [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) delivery_id: Option<String>,
}

/// Where `tail` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The first record kept.
    Start,
    /// What comes from now on.
    End,
    /// This offset in every partition.
    Offset(u64),
}

fn parse_from(text: &str) -> Result<From, String> {
    match text {
        "start" => Ok(From::Start),
        "end" => Ok(From::End),
        offset => offset.parse().map(From::Offset).map_err(|_| "write start, end or an offset".into()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// The topic
    pub(crate) topic: String,
    /// Only the last N records
    #[arg(short, value_name = "N", conflicts_with = "from")]
    pub(crate) n: Option<usize>,
    /// Where to begin: start, end or an offset [default: start]
    #[arg(long, value_parser = parse_from)]
    pub(crate) from: Option<From>,
    /// Wait for what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// github:owner/repo#12 or jira:host/KEY-7
    #[arg(value_name = "REF")]
    pub(crate) issue_ref: String,
    /// How many of the newest actions to show; without it 10, in JSON all
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) newest: Option<usize>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
