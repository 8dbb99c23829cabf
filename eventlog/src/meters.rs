//! What the log measures, in words.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Gives each metric of this crate its HELP text. To be called once a recorder is installed.
pub fn describe_metrics() {
    describe_histogram!(
        "eventlog_commit_seconds",
        Unit::Seconds,
        "Embedded log: time of one transaction with its sync to disk, in seconds."
    );
    describe_counter!(
        "eventlog_appended_records_total",
        Unit::Count,
        "Embedded log: records that were written and synced."
    );
    describe_counter!(
        "eventlog_failed_commits_total",
        Unit::Count,
        "Embedded log: transactions that failed and were rolled back (a full disk, a file that was taken away)."
    );
    describe_gauge!(
        "breakdown_undecided_partitions",
        Unit::Count,
        "Broker: partitions, by group, that wait for a transaction which the broker has forgotten."
    );
}
