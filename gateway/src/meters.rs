//! What the gateway measures, in words.

use metrics::{Unit::Count, Unit::Seconds, describe_counter, describe_gauge, describe_histogram};

/// Gives each metric of this crate its HELP text. To be called once a recorder is installed.
pub fn describe_metrics() {
    describe_counter!("breakdown_events_total", Count, "Events that were decided, by type.");
    describe_counter!(
        "breakdown_decided_actions_total",
        Count,
        "Actions that the policy in force decided, by action and rule."
    );
    describe_counter!("breakdown_timers_total", Count, "Timers that were decided.");
    describe_counter!(
        "breakdown_notes_total",
        Count,
        "Why a rule did not do what it might have, by note: condition_error, unresolved, suppressed, capped, duplicate, stale, too_old, old_answer, ..."
    );
    describe_counter!(
        "breakdown_capped_actions_total",
        Count,
        "Actions that were not made because their issue had had its actions of the hour (limits.actions_per_issue)."
    );
    describe_counter!(
        "breakdown_dead_letters_total",
        Count,
        "Records of issues and outcomes that could not be read, by reason; each is a dead letter."
    );
    describe_counter!(
        "breakdown_shadow_actions_total",
        Count,
        "Actions that the policy on trial decided, by action and rule; nothing of them is done."
    );
    describe_counter!("breakdown_shadow_notes_total", Count, "Notes of the policy on trial, by note.");
    describe_gauge!(
        "breakdown_policy_info",
        Count,
        "1 for a policy, by the first 12 digits of its hash, that decides some partition of this process; 0 for one that did."
    );
    describe_gauge!("breakdown_shadow_policy_info", Count, "The same for a policy on trial.");
    describe_gauge!(
        "breakdown_shadow_given_up",
        Count,
        "1 while the policy on trial is left out because steps with something of it failed."
    );
    describe_counter!(
        "breakdown_shadow_unreadable_total",
        Count,
        "Records of a policy on trial on gateway-state that could not be read and were dropped."
    );
    describe_counter!(
        "breakdown_gateway_steps_total",
        Count,
        "Atomic steps of the gateway, by result: committed or failed."
    );
    describe_histogram!(
        "breakdown_gateway_step_seconds",
        Seconds,
        "Time to commit one step of the gateway, in seconds."
    );
    describe_gauge!(
        "breakdown_stalled_timers",
        Count,
        "Timers of partitions held here and not behind that are overdue by more than a minute."
    );
    describe_counter!(
        "breakdown_stalled_timers_total",
        Count,
        "Timers that were noted as overdue by more than a minute, each once."
    );
}
