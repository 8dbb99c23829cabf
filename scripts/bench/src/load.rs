//! `bench load`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    Result, closed_loop,
    log::run_number,
    measured::{self, extend},
    open_loop::{self, Plan},
    payload::Payload,
    requests::{Requests, Target},
};

/// What `load` and `actions` have in common.
#[derive(clap::Args)]
pub(crate) struct Sending {
    /// Where to: http://host:port/path
    #[arg(long)]
    pub(crate) url: String,
    /// The secret to sign with
    #[arg(long)]
    pub(crate) secret: String,
    /// A payload of an issues event; its issue number is made different
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: PathBuf,
    /// Connections, kept alive
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// How long to measure
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long to send before that
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Process whose CPU time to measure
    #[arg(long, value_name = "PID")]
    pub(crate) cpu_of: Option<u32>,
    /// Name of the result
    #[arg(long)]
    pub(crate) label: Option<String>,
}

impl Sending {
    pub(crate) fn spans(&self) -> Result<(Duration, Duration)> {
        Ok((Duration::try_from_secs_f64(self.warmup)?, Duration::try_from_secs_f64(self.seconds)?))
    }

    /// The signed requests; each of `distinct` bodies is another issue.
    pub(crate) fn requests(&self, distinct: u64) -> Result<(Target, Arc<Requests>)> {
        let target = Target::parse(&self.url)?;
        let payload = Payload::read(&self.payload)?;
        let requests = Requests::new(&target, &self.secret, &payload, distinct, run_number())?;
        Ok((target, Arc::new(requests)))
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sending: Sending,
    /// Requests a second, each sent when it is due; without it, as many as go through
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Without --rate: how many bodies are signed beforehand and then sent again, under new delivery ids. With it, every
    /// request has a body of its own.
    #[arg(long, default_value_t = 65_536)]
    distinct: u64,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let Args { sending, rate, distinct } = args;
    let (warmup, length) = sending.spans()?;
    let (tally, taken) = match rate {
        None => {
            let (target, requests) = sending.requests(distinct)?;
            let spans = (warmup, length);
            closed_loop::run(&target.address, requests, sending.connections, spans, sending.cpu_of).await?
        }
        Some(rate) => {
            let plan = Plan::new(rate, warmup, length);
            let (target, requests) = sending.requests(plan.total)?;
            open_loop::run(&target.address, requests, sending.connections, plan, sending.cpu_of, |_| ())
                .await?
        }
    };
    let mut line = measured::line(tally, &taken);
    extend(&mut line, json!({"connections": sending.connections, "rate": rate}));
    measured::print(sending.label.as_deref(), line);
    Ok(())
}
