//! What outlives every process of a test.

use calendar_mock::CalendarMock;
use serde_json::Value;
use tokio::{net::TcpListener, process::Command};

use crate::program::{Serve, breakdown, run, tail};

/// A log, a calendar that outlives every process, and a project of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub brokers: Option<String>,
    pub project: String,
    pub calendar: CalendarMock,
    base: String,
}

impl World {
    pub async fn new(name: &str, brokers: Option<String>) -> Self {
        let calendar = CalendarMock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        tokio::spawn(calendar_mock::serve(listener, calendar.clone(), std::future::pending()));
        let project = format!("{name}-{}", uuid::Uuid::new_v4().simple());
        Self { dir: tempfile::tempdir().unwrap(), brokers, project, calendar, base }
    }

    pub fn configure<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("CALENDAR_API_BASE", &self.base)
            .env("PROJECT_ID", &self.project)
            .env("RUST_LOG", "error");
        if let Some(brokers) = &self.brokers {
            command.env("REDPANDA_BROKERS", brokers);
        }
        command
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = breakdown();
        self.configure(&mut command).args(arguments).arg("--data-dir").arg(self.dir.path());
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        run(&mut self.command(arguments)).await
    }

    pub async fn start(&self) -> Serve {
        Serve::start(self.dir.path(), |command| self.configure(command)).await
    }

    /// Values of this project.
    pub async fn on(&self, topic: &str) -> Vec<Value> {
        let values =
            tail(topic, |command| self.configure(command).arg("--data-dir").arg(self.dir.path())).await;
        values.into_iter().filter(|value| value["project_id"] == self.project.as_str()).collect()
    }
}
