//! One guarantee broken on purpose, to show that its checker can fail.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// An append is answered, and nothing was written.
    AckBeforeAppend,
    /// An append goes to any partition.
    AnyPartition,
    /// A delivery under its old id becomes an event with a new one, and its payload is not recognised.
    NewIdentity,
    /// Every delivery is signed right.
    BelievesForgeries,
    /// The receivers have another secret.
    OtherSecret,
    /// Comments are no longer what the rules read.
    DeafPolicy,
    /// The log refuses a step for good.
    RefusesSteps,
    /// A step writes its records, and not how far the inputs were consumed.
    ForgetsOffsets,
    /// A step consumes, and writes no actions.
    ForgetsActions,
    /// A step consumes and acts, and does not write the gateway's state.
    ForgetsState,
    /// A step of somebody who lost his partitions is written all the same.
    Unfenced,
    /// Each action is written twice.
    ActionsTwice,
    /// Each outcome is written twice.
    OutcomesTwice,
    /// No outcome is written.
    ForgetsOutcomes,
    /// What was polled comes in another order.
    Reversed,
    /// What is restored lacks something.
    RestoresLess,
    /// The executor's steps are answered, and not made.
    StepsInMemoryOnly,
    /// Each call of a target carries another key.
    NewKeys,
    /// A target says that it is done, and did nothing.
    DoesNothing,
    /// The pager says that it is done, and acknowledges and resolves nothing.
    DeafPager,
    /// To the executors, what follows another action up stands behind everything on `actions`.
    FollowUpsLast,
    /// The log never says that its end is reached.
    NeverAtEnd,
    /// The executors do not hear what is said on `control`.
    DeafToControl,
    /// What is restored says nothing of pauses.
    RestoresNoPauses,
    /// The log says at once that the end of `control` is reached.
    AtEndAtOnce,
    /// What is redriven stands there as if it were new.
    RedrivesAsNew,
    /// The executors do not see that something was redriven.
    DeafToRedrives,
    /// The outcome of what was redriven counts beside the one before.
    CountsBoth,
    /// Members that join write something.
    WritesAtRest,
    /// What the gateways show is that of dead ones.
    ShowsTheDead,
    /// Reading leaves out the last record.
    ReadsLess,
}

impl Sabotage {
    /// Each of them, and the checker that is to find it.
    pub const ALL: [(Self, &str); 31] = [
        (Self::AckBeforeAppend, "lost-write"),
        (Self::AnyPartition, "out-of-order"),
        (Self::NewIdentity, "counted-twice"),
        (Self::BelievesForgeries, "acted-on-refused"),
        (Self::OtherSecret, "refused-signed"),
        (Self::DeafPolicy, "missing-action"),
        (Self::RefusesSteps, "ended"),
        (Self::ForgetsOffsets, "torn-step"),
        (Self::ForgetsActions, "other-actions"),
        (Self::ForgetsState, "other-state"),
        (Self::Unfenced, "torn-step"),
        (Self::ActionsTwice, "duplicate-action"),
        (Self::OutcomesTwice, "duplicate-outcome"),
        (Self::ForgetsOutcomes, "missing-outcome"),
        (Self::Reversed, "other-state"),
        (Self::RestoresLess, "other-state"),
        (Self::StepsInMemoryOnly, "groundless-effect"),
        (Self::NewKeys, "duplicate-effect"),
        (Self::DoesNothing, "missing-effect"),
        (Self::DeafPager, "other-alert"),
        (Self::FollowUpsLast, "overtaking-effect"),
        (Self::NeverAtEnd, "unsettled"),
        (Self::DeafToControl, "other-pause"),
        (Self::RestoresNoPauses, "begun-while-paused"),
        (Self::AtEndAtOnce, "begun-while-paused"),
        (Self::RedrivesAsNew, "duplicate-action"),
        (Self::DeafToRedrives, "missing-outcome"),
        (Self::CountsBoth, "other-risk"),
        (Self::WritesAtRest, "wrote-at-rest"),
        (Self::ShowsTheDead, "unseen"),
        (Self::ReadsLess, "other-log"),
    ];
}
