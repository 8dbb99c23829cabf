//! What is to be said of a decision as a whole: why nobody was asked, what became of an answer, what follows up an earlier action.

use chrono::{DateTime, Utc};
use events::{Action, ActionKind, Earlier, EventType, IssueEvent, NoAnswer};

use super::shown;
use crate::{Decision, Input, Note, State, state::SEEN_AFTER};

/// Of an input that was decided with this state before; `asked`: whether any rule was.
pub(super) fn of_input(state: &State, input: &Input<'_>, asked: bool, decision: &Decision) -> Vec<String> {
    let mut remarks = Vec::new();
    match input {
        Input::Event { event, .. } => of_event(event, asked, &decision.notes, &mut remarks),
        Input::Timer(_) => {}
        Input::Outcome(_) => remarks.push("outcomes change the project's risk and run no rule".into()),
    }
    remarks.extend(decision.notes.iter().filter_map(of_note));
    if let Input::Event { event, .. } = input {
        remarks.extend(counts(state, event, decision));
    }
    remarks.extend(decision.actions.iter().filter_map(followed_up));
    remarks
}

fn of_event(event: &IssueEvent, asked: bool, notes: &[Note], remarks: &mut Vec<String>) {
    if let Some(why) = &event.no_answer {
        remarks.push(format!("its comment looks like an answer, and is none: {}", no_answer(why)));
    }
    if event.by_us && asked {
        let remark =
            "this was done by our own account: it fires no rule but those that ask for `event.by_us`";
        remarks.push(remark.into());
    }
    let is_told = notes.iter().any(|note| !matches!(note, Note::Stale { .. }));
    if asked || is_told {
        return;
    }
    if event.swept {
        remarks.push(
            "no rule was asked: a sweep found the issue as it was known, or as it had been before".into(),
        );
    } else if event.event_type == EventType::MilestoneUpdated && notes.is_empty() {
        remarks.push(
            "no rule was asked: it moves the date of no open issue that is known to follow the milestone"
                .into(),
        );
    }
}

/// Why a comment is no answer, for whoever wrote it.
fn no_answer(why: &NoAnswer) -> String {
    match why {
        NoAnswer::WithinLine => "the word stands within a line; begin a line with it".into(),
        NoAnswer::RunsOn => "more follows the word: only after a command, which begins with `/`, may text follow, behind white space".into(),
        NoAnswer::InCode => {
            "the word is code there (a fence, `{code}`, or four spaces in front of it)".into()
        }
        NoAnswer::Quoted => "the word is quoted".into(),
        NoAnswer::Hidden => "the word stands in an HTML comment, which nobody sees".into(),
        NoAnswer::Cancelled => "it says `cancel`, and an answer cannot be taken back".into(),
        NoAnswer::NotNew => {
            "only a new comment counts; this one was edited or deleted, or came with another change".into()
        }
        NoAnswer::Stranger => {
            "who wrote it is no owner, member or collaborator of the repository, nor assigned to the issue"
                .into()
        }
        NoAnswer::Machine => "a bot or an app wrote it".into(),
        NoAnswer::Ours => "our own account wrote it".into(),
        NoAnswer::Nobody => "nobody is said to have written it".into(),
        NoAnswer::Other(word) => format!("{}, says the receiver, of another version", shown::bare(word)),
    }
}

/// Whether it is an answer that counts, and whether it is the first.
fn counts(state: &State, event: &IssueEvent, decision: &Decision) -> Option<String> {
    let not = |note: &Note| {
        matches!(
            note,
            Note::Duplicate { .. } | Note::Deleted { .. } | Note::OldAnswer { .. } | Note::EarlyAnswer { .. }
        )
    };
    if event.event_type != EventType::IssueAcknowledged || event.by_us || decision.notes.iter().any(not) {
        return None;
    }
    let calls = |action: &Action| action.action == ActionKind::EscalateOwner;
    if decision.actions.iter().any(calls) {
        return Some("the answer counts, and a rule has escalated by it, which asks for another".into());
    }
    let before = state.issue(&event.project_id, &event.issue_ref).and_then(|issue| issue.acknowledged());
    Some(match before {
        None => "the answer counts: the issue is acknowledged".into(),
        Some(first) => format!(
            "the answer counts; the issue was acknowledged already, by {} at {}",
            first.by.as_deref().map_or_else(|| "somebody".into(), shown::bare),
            shown::time(first.at)
        ),
    })
}

/// What a note says of the input as a whole; those of a rule are told there.
fn of_note(note: &Note) -> Option<String> {
    Some(match note {
        Note::Duplicate { of } => {
            format!(
                "no rule was asked: it had counted already, by its id or its payload ({})",
                shown::quoted(of)
            )
        }
        Note::Stale { issue_ref, at, known_at } if is_milestone(issue_ref) => format!(
            "it comes late and changes nothing: it is of {}, and what is known of the milestone is of {}",
            instant(*at),
            instant(*known_at)
        ),
        Note::Stale { at, known_at, .. } => format!(
            "it comes late: it is of {} (updated_at), and what is known of the issue is of {}; it only fills in what was unknown",
            instant(*at),
            instant(*known_at)
        ),
        Note::TooOld { at, came_at, .. } => format!(
            "no rule was asked: it is older than what is known of the issue, and came {}; it only fills in what was unknown",
            too_late(*at, *came_at)
        ),
        Note::OldAnswer { at, came_at, .. } => {
            format!("the answer does not count, and no rule was asked: it came {}", too_late(*at, *came_at))
        }
        Note::Deleted { .. } => "no rule was asked: the issue is deleted".into(),
        Note::Missed { rule, count, .. } => {
            format!(
                "the rule was not looked at: {count} of the repeats of `{rule}`, this one first, gave way to a later one"
            )
        }
        Note::EarlyAnswer { at, since, .. } => format!(
            "the answer does not count: it was given at {}, and the issue was escalated or reopened after that, at {}",
            shown::time(*at),
            shown::time(*since)
        ),
        Note::Unresolvable { rule, action_id, .. } => format!(
            "an earlier action of `{rule}` ({}) will not be acknowledged or resolved: the latest sixteen are",
            shown::cut(action_id)
        ),
        Note::Obsolete { rule, .. } => format!(
            "the rule was not looked at: the timer of `{rule}` is no longer set (the rule or the issue is gone, or the issue closed)"
        ),
        Note::ConditionError { .. }
        | Note::MoreConditionErrors { .. }
        | Note::Suppressed { .. }
        | Note::Capped { .. }
        | Note::Unresolved { .. } => return None,
    })
}

/// How late, and what the bound is.
fn too_late(at: DateTime<Utc>, came_at: DateTime<Utc>) -> String {
    format!(
        "at {}, {} days after its own time, {}; what comes {} days late or later could be a replay",
        shown::time(came_at),
        (came_at - at).num_days(),
        shown::time(at),
        SEEN_AFTER.num_days()
    )
}

fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "an unknown time".into(), shown::time)
}

/// GitHub's issues are `owner/name#5`, Jira's `KEY-5`; its milestones `owner/name/milestone/5`.
fn is_milestone(issue_ref: &str) -> bool {
    !issue_ref.contains('#') && issue_ref.contains("/milestone/")
}

/// What an action says of an earlier one.
fn followed_up(action: &Action) -> Option<String> {
    let of = Earlier::of(action)?;
    let (why, does) = match action.action {
        ActionKind::Acknowledge => ("somebody answered", "acknowledges"),
        _ => ("the issue is no longer open", "takes back"),
    };
    Some(format!(
        "{why}: {} for {} ({}) {does} {} of `{}` ({})",
        action.action,
        shown::bare(&action.target),
        action.event_id,
        of.action,
        shown::cut(action.rule.as_deref().unwrap_or_default()),
        shown::cut(&of.action_id),
    ))
}
