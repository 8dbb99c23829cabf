//! `breakdown serve` as a child process: from its start until it is ready.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{Result, connection::Connection, log::Which};

/// How long a start may take: a member of a group may have to wait until another one's session is over.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// The `serve` that a bench starts.
#[derive(clap::Args)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) log: Which,
    /// The program `breakdown`
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "samples/policy.yaml")]
    pub(crate) policy: PathBuf,
    /// Where the server runs
    #[arg(long, value_name = "DIR", default_value = "target")]
    work_dir: PathBuf,
}

impl Program {
    /// A directory of its own to run in.
    pub(crate) fn dir(&self) -> Result<tempfile::TempDir> {
        Ok(tempfile::Builder::new().prefix("serve-").tempdir_in(&self.work_dir)?)
    }

    /// Starts receivers and gateway there.
    pub(crate) async fn start(&self, dir: &Path) -> Result<Server> {
        self.start_roles(dir, "webhooks,gateway").await
    }

    /// Starts these roles there.
    pub(crate) async fn start_roles(&self, dir: &Path, roles: &str) -> Result<Server> {
        let program =
            self.program.canonicalize().map_err(|error| format!("no {}: {error}", self.program.display()))?;
        // The receivers' spool wants a directory on a broker, too.
        let mut arguments = self.log.flags()?;
        arguments.extend(["--roles".into(), roles.into()]);
        arguments.extend(["--policy".into(), self.policy.canonicalize()?.into()]);
        Server::start(&program, dir, &arguments).await
    }
}

/// A running `serve`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// When it was started.
    pub(crate) began: Instant,
    admin: String,
    /// Must not be closed while it runs.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts `program serve ARGUMENTS` in `dir` on ports of its own, and waits until it has told where it listens.
    ///
    /// Standard error goes to `serve.err` there.
    pub(crate) async fn start(program: &Path, dir: &Path, arguments: &[OsString]) -> Result<Self> {
        let complaints = std::fs::File::create(dir.join("serve.err"))?;
        let began = Instant::now();
        let mut child = Command::new(program)
            .arg("serve")
            .args(["--webhooks-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(arguments)
            // No breakdown.toml of somebody else is read.
            .current_dir(dir)
            .env_clear()
            .env("GITHUB_WEBHOOK_SECRET", "bench")
            .env("JIRA_WEBHOOK_SECRET", "bench")
            .stdout(Stdio::piped())
            .stderr(complaints)
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("the server's output is not piped")?;
        let mut output = BufReader::new(output).lines();
        let listens = tokio::time::timeout(PATIENCE, admin(&mut output)).await;
        let admin = listens
            .map_err(|_| format!("serve says no address after {} s", PATIENCE.as_secs()))?
            .map_err(|error| format!("{error}: see {}", dir.join("serve.err").display()))?;
        Ok(Self { child, began, admin, _output: output })
    }

    /// Waits until `/health/ready` is 200.
    pub(crate) async fn ready(&self) -> Result<Instant> {
        let request = format!("GET /health/ready HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin);
        let mut connection = Connection::open(&self.admin).await?;
        let ask = async {
            while connection.exchange(request.as_bytes()).await?.status != 200 {
                tokio::time::sleep(ASK_EVERY).await;
            }
            Ok::<_, std::io::Error>(Instant::now())
        };
        let ready = tokio::time::timeout(PATIENCE, ask).await;
        Ok(ready.map_err(|_| format!("not ready after {} s", PATIENCE.as_secs()))??)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| "the server has ended".into())
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and waits until it is gone: it leaves its groups.
    pub(crate) async fn drain(mut self) -> Result<()> {
        let asked = Command::new("kill").arg(self.id()?.to_string()).status().await?;
        if !asked.success() {
            return Err("the server cannot be asked to stop".into());
        }
        tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(|_| "the server does not stop")??;
        Ok(())
    }
}

/// The address of the admin listener, `host:port`.
async fn admin(output: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    loop {
        let line = output.next_line().await?.ok_or("the server ended before it listened")?;
        let Some(rest) = line.trim_start().strip_prefix("admin ") else { continue };
        let origin = rest.trim_start().split(' ').next().unwrap_or_default();
        return Ok(origin.strip_prefix("http://").ok_or("an admin address without http://")?.to_owned());
    }
}
