//! Topic names. Anything that came from outside is never a topic name.

/// Issue events, keyed by project.
pub const ISSUES: &str = "issues";
/// Decided actions, keyed by project.
pub const ACTIONS: &str = "actions";
/// What became of each action, keyed by project.
pub const OUTCOMES: &str = "outcomes";
/// What could not be read or delivered, and what became of it since.
pub const DEAD_LETTERS: &str = "dead-letters";
/// Which policy held from which offsets.
pub const POLICIES: &str = "policies";
/// What operators tell the executors, keyed by project.
pub const CONTROL: &str = "control";
/// Decisions of a policy on trial; nothing executes them.
pub const ACTIONS_SHADOW: &str = "actions-shadow";
/// The gateway's changelog (compacted, private).
pub const GATEWAY_STATE: &str = "gateway-state";
/// The executor's changelog (compacted, private).
pub const EXECUTOR_STATE: &str = "executor-state";
/// How far each sweep for what never arrived has come (compacted, private).
pub const SWEEPS: &str = "sweeps";

/// Topics that are kept for ever: they are few records, and explain the others.
pub const KEPT: [&str; 2] = [POLICIES, CONTROL];
/// Topics of which only the newest record per key matters.
pub const COMPACTED: [&str; 3] = [GATEWAY_STATE, EXECUTOR_STATE, SWEEPS];
/// Every topic.
pub const ALL: [&str; 10] = [
    ISSUES,
    ACTIONS,
    OUTCOMES,
    DEAD_LETTERS,
    POLICIES,
    CONTROL,
    ACTIONS_SHADOW,
    GATEWAY_STATE,
    EXECUTOR_STATE,
    SWEEPS,
];
