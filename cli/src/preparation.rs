//! Making the topics: before anything runs or, where deliveries can be spooled meanwhile, as soon as the broker is there.

use std::{sync::Arc, time::Duration};

use eventlog::{Log, LogError, TopicSpec};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::Failure;

/// How long a start that can do without the topics waits for them: meanwhile nobody takes deliveries.
const START_WAIT: Duration = Duration::from_secs(2);
/// Between two tries.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The topics, made or yet to be made.
pub(crate) struct Preparation {
    log: Arc<dyn Log>,
    topics: Vec<TopicSpec>,
    made: watch::Sender<bool>,
}

impl Preparation {
    /// Makes the topics. With `spools`, a broker that is away is no reason not to start.
    pub(crate) async fn begin(
        log: Arc<dyn Log>,
        topics: Vec<TopicSpec>,
        spools: bool,
    ) -> Result<Self, Failure> {
        let made = if spools {
            match timeout(START_WAIT, log.create_topics(&topics)).await {
                Ok(Ok(())) => true,
                Ok(Err(LogError::Refused(why))) => return Err(LogError::Refused(why).into()),
                Ok(Err(_)) | Err(_) => {
                    warn!(
                        "the broker does not answer: deliveries are taken, and the other roles begin when it does"
                    );
                    false
                }
            }
        } else {
            log.create_topics(&topics).await?;
            true
        };
        Ok(Self { log, topics, made: watch::Sender::new(made) })
    }

    /// True once the topics are there.
    pub(crate) fn made(&self) -> watch::Receiver<bool> {
        self.made.subscribe()
    }

    /// Goes on trying until told to stop. Ends early where the topics can never be made.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), LogError> {
        let until_made = async {
            while !*self.made.borrow() {
                match self.log.create_topics(&self.topics).await {
                    Ok(()) => {
                        info!("the broker answers: all topics are there");
                        self.made.send_replace(true);
                    }
                    Err(error @ (LogError::Refused(_) | LogError::Unfit(_))) => return Err(error),
                    Err(LogError::Unavailable(_) | LogError::Lost(_)) => sleep(RETRY_AFTER).await,
                }
            }
            Ok(())
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            made = until_made => made?,
        }
        stop.cancelled().await;
        Ok(())
    }
}

/// Runs a role once the topics are there.
pub(crate) async fn once_made<E>(
    mut made: watch::Receiver<bool>,
    stop: CancellationToken,
    role: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        made = made.wait_for(|made| *made) => if made.is_err() {
            // Nobody is left to make them: the process ends because of that.
            return Ok(());
        }
    }
    role.await
}
