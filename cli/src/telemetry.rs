//! Log lines to standard error, metrics to a Prometheus recorder.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::error::Failure;

const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Log lines go to standard error, from `level` on; `RUST_LOG` says otherwise.
pub(crate) fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell standard error that standard error cannot be written, and panic: a full disk must not end the process.
        .log_internal_errors(false);
    // Set already: a second command in one process, which only tests do.
    let _ = lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}

/// Installs the recorder behind the `metrics` macros; the handle renders the Prometheus text format.
pub(crate) fn record_metrics() -> Result<PrometheusHandle, Failure> {
    // From a tenth of a millisecond (an append) to half a minute (a target that hangs), in seconds.
    const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Failure::failed(format!("the metrics recorder cannot be installed: {error}")))?;
    // Samples are folded into their buckets here, so that memory does not grow when nobody scrapes.
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
