//! `bench wipe`: an empty broker without a restart, which would cost it what its compiler has learnt.

use std::time::{Duration, Instant};

use eventlog::{
    Log,
    kafka::{KafkaConfig, KafkaLog},
};
use events::topic;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};

use crate::{
    Result,
    log::{self, APPEND_TOPIC},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Brokers on this machine, host:port,…
    #[arg(long, value_name = "LIST")]
    brokers: String,
    /// Make them anew, empty, for a server that does not make them itself
    #[arg(long)]
    make: bool,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let local = |broker: &str| {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
        ["127.0.0.1", "localhost", "[::1]"].contains(&host)
    };
    if !args.brokers.split(',').all(local) {
        return Err(format!("{} is not on this machine: its topics stay", args.brokers).into());
    }
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &args.brokers).create()?;
    let topics: Vec<&str> = topic::ALL.into_iter().chain([APPEND_TOPIC]).collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    for deleted in client.delete_topics(&topics, &options).await? {
        match deleted {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(format!("cannot delete topic {topic}: {code}").into()),
        }
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let metadata = client.inner().fetch_metadata(None, PATIENCE)?;
        if !metadata.topics().iter().any(|left| topics.contains(&left.name())) {
            break;
        }
        if Instant::now() > until {
            return Err("the broker still has topics that it said were deleted".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if args.make {
        KafkaLog::new(KafkaConfig::new(&args.brokers))?.create_topics(&log::topics()).await?;
    }
    Ok(())
}
