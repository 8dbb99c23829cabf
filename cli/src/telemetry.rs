//! Log lines to standard error, metrics to a Prometheus recorder.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge};
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
    describe();
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

/// Gives every metric its HELP text.
fn describe() {
    eventlog::describe_metrics();
    webhooks::describe_metrics();
    gateway::describe_metrics();
    executor::describe_metrics();
    describe_gauge!(
        "breakdown_lag_records",
        Unit::Count,
        "Offsets between a group and the end of a partition, by group, topic and partition; 0 at the end. Every process that has \
         a member of the group tells of all its partitions."
    );
    describe_gauge!(
        "breakdown_oldest_unprocessed_age_seconds",
        Unit::Seconds,
        "How long ago the log took the next record of a partition that a group has yet to process, in seconds; 0 at the end."
    );
    describe_counter!(
        "breakdown_retention_removed_records_total",
        Unit::Count,
        "Embedded log: records that were removed because [log] retention keeps them no longer."
    );
    describe_counter!(
        "breakdown_retention_removed_bytes_total",
        Unit::Bytes,
        "Embedded log: their keys, values and headers, in bytes."
    );
    describe_counter!(
        "breakdown_policy_reloads_total",
        Unit::Count,
        "Versions of the policy file that were read, by result: loaded, refused, unreadable."
    );
    describe_gauge!(
        "breakdown_policy_refused",
        Unit::Count,
        "1 while the policy file as it is does not decide: it has mistakes, or cannot be read."
    );
    describe_counter!(
        "breakdown_shadow_policy_reloads_total",
        Unit::Count,
        "The same as breakdown_policy_reloads_total, for the policy on trial."
    );
    describe_gauge!(
        "breakdown_shadow_policy_refused",
        Unit::Count,
        "The same as breakdown_policy_refused, for the policy on trial."
    );
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    /// The metrics that are named in the sources under a folder: in files that describe them, and in the others.
    fn named(folder: &Path, described: &mut BTreeSet<String>, used: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                named(&path, described, used);
                continue;
            }
            let describes = ["meters.rs", "telemetry.rs"].iter().any(|it| *it == name);
            let names = if describes { &mut *described } else { &mut *used };
            let text = fs::read_to_string(&path).unwrap();
            let words = text.split('"').filter(|word| {
                ["breakdown_", "eventlog_"]
                    .iter()
                    .any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            // The event type of Slack's message metadata is none.
            names.extend(words.filter(|word| !word.ends_with("_action")).map(str::to_owned));
        }
    }

    #[test]
    fn every_metric_is_described_and_documented() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (mut described, mut used) = (BTreeSet::new(), BTreeSet::new());
        for member in ["webhooks", "gateway", "executor", "eventlog", "cli"] {
            named(&root.join(member).join("src"), &mut described, &mut used);
        }
        assert!(used.len() > 30, "{used:?}");
        assert_eq!(used, described, "what is measured, and what has a HELP text");
        let docs = fs::read_to_string(root.join("docs/operations.md")).unwrap();
        let missing: Vec<_> = used
            .iter()
            .filter(|name| !docs.contains(&format!("| `{name}`")) && !docs.contains(&format!("| `{name}{{")))
            .collect();
        assert!(missing.is_empty(), "not in the table of docs/operations.md: {missing:?}");
    }
}
