//! What the executor measures, in words.

use metrics::{Unit::Count, Unit::Seconds, describe_counter, describe_gauge, describe_histogram};

/// Gives each metric of this crate its HELP text. To be called once a recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        "breakdown_attempts_total",
        Count,
        "Calls that reached a target's code, by target and verdict: done, retry, reject."
    );
    describe_histogram!(
        "breakdown_attempt_seconds",
        Seconds,
        "Time of one call of a target, in seconds, by target."
    );
    describe_counter!(
        "breakdown_parked_retries_total",
        Count,
        "Attempts after which an action was put aside until its next one, by target (of a route all its targets, joined by +)."
    );
    describe_gauge!(
        "breakdown_breaker_state",
        "How a target's circuit breaker stands, by target: 0 closed, 1 half open (one attempt probes), 2 open (none is made)."
    );
    describe_counter!(
        "breakdown_breaker_openings_total",
        Count,
        "How often a target failed so many times in a row that it was left alone for a while, by target."
    );
    describe_counter!(
        "breakdown_breaker_rejections_total",
        Count,
        "Attempts that were not made since the target's breaker was not closed, by target."
    );
    describe_gauge!(
        "breakdown_pending",
        Count,
        "Actions of partitions held here that have no outcome yet, running and parked, by target; without those that pauses hold back \
         (breakdown_held_back)."
    );
    describe_gauge!(
        "breakdown_deferred",
        Count,
        "Actions of partitions held here that are taken up later, by target: as many as may be are pending there (breakdown_pending is without \
         them)."
    );
    describe_gauge!(
        "breakdown_paused_projects",
        Count,
        "Pauses in force in partitions held here: one for each project that is paused by name, and one more where all are."
    );
    describe_gauge!(
        "breakdown_held_back",
        Count,
        "Actions of partitions held here that have no outcome yet and wait because their project is paused; breakdown_pending is without \
         them."
    );
    describe_counter!(
        "breakdown_outcomes_total",
        Count,
        "Actions that ended, by action and ack; without dry runs."
    );
    describe_counter!(
        "breakdown_dry_runs_total",
        Count,
        "Actions that were rehearsed only, by action: neither done nor failed."
    );
    describe_counter!(
        "breakdown_withdrawn_total",
        Count,
        "Redriven actions that nobody needed any more, by action: neither done nor failed."
    );
    describe_counter!(
        "breakdown_duplicate_actions_total",
        Count,
        "Actions that stood on the log again and were not carried out again."
    );
    describe_counter!(
        "breakdown_executor_dead_letters_total",
        Count,
        "Actions that became dead letters, by reason: unreadable, wrong_key, undeliverable, gone."
    );
    describe_gauge!(
        "breakdown_stalled_retries",
        Count,
        "Actions held here whose retry is overdue by more than a minute, that are past the time to give up by as much and \
         have not ended, or that are deferred though their target has had room for as long."
    );
    describe_counter!(
        "breakdown_stalled_retries_total",
        Count,
        "Actions that were noted as such, each once."
    );
}
