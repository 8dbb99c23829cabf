//! What the receivers measure, in words.

use metrics::{
    Unit::Bytes, Unit::Count, Unit::Seconds, describe_counter, describe_gauge, describe_histogram,
};

/// Gives each metric of this crate its HELP text. To be called once a recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        "breakdown_deliveries_total",
        Count,
        "Webhook deliveries that were answered, by provider, status and reason."
    );
    describe_histogram!(
        "breakdown_delivery_seconds",
        Seconds,
        "Time from a delivery's head to its answer, in seconds, by provider."
    );
    describe_gauge!("breakdown_connections", Count, "Open connections, by listener.");
    describe_counter!(
        "breakdown_connections_cut_total",
        Count,
        "Connections that we closed, by listener and reason; gave_way when all places were taken."
    );
    describe_gauge!(
        "breakdown_spool_records",
        Count,
        "Records on this machine's disk that wait for the broker."
    );
    describe_gauge!("breakdown_spool_bytes", Bytes, "Their keys, values and headers, in bytes.");
    describe_gauge!(
        "breakdown_spool_oldest_seconds",
        Seconds,
        "How long the oldest of them has waited, in seconds; 0 when none waits."
    );
    describe_counter!("breakdown_spooled_total", Count, "Deliveries that were acknowledged from the disk.");
    describe_counter!("breakdown_forwarded_total", Count, "Records that the broker then took.");
    describe_counter!(
        "breakdown_spool_unfit_total",
        Count,
        "Records in the spool that the broker will never take."
    );
    describe_counter!(
        "breakdown_swept_deliveries_total",
        Count,
        "Deliveries that a sweep looked at, by provider and result: taken, known, ignored, unreadable, redelivered, gone, lost."
    );
    describe_counter!(
        "breakdown_sweeps_total",
        Count,
        "Sweeps, by provider and result: done, refused (somebody has to do something), away."
    );
    describe_gauge!(
        "breakdown_swept_at_timestamp_seconds",
        Seconds,
        "When a source was last swept whole, in seconds since 1970."
    );
    describe_histogram!("breakdown_sweep_seconds", Seconds, "Time of one sweep, waits included, in seconds.");
    describe_counter!(
        "breakdown_sweep_waits_total",
        Count,
        "How often a sweep waited for a provider's limit of requests."
    );
}
