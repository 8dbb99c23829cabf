//! An explanation as text.

use std::fmt::{self, Display, Formatter};

use super::{
    About, Became, ByLastEvent, Explanation, FiredAction, Node, NotAsked, Occasion, OfIssue, OfRule, Verdict,
    change, shown,
};

use crate::TimerKind;

/// Why a rule that reads `event` is not asked without one.
const NO_EVENT: &str = "it reads `event`, and there is none";
/// Why what we did fires nothing.
const BY_US: &str = "this was done by our own account; the rule does not ask for `event.by_us`";
/// How wide the text of a test is, before what it saw.
const TEST_WIDTH: usize = 44;

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::CannotBeSaid => "cannot be said",
        })
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = shown::time(self.now);
        match &self.about {
            About::Event { event_id, event_type, issue_ref } => writeln!(
                f,
                "event {} ({}) of {}",
                shown::bare(event_id),
                shown::bare(event_type),
                shown::bare(issue_ref)
            )?,
            About::Timer { id, rule, reason, issue_ref } => writeln!(
                f,
                "timer {id}: `{}` of rule `{rule}` for {}",
                reason.as_str(),
                shown::bare(issue_ref)
            )?,
            About::Outcome { event_id } => writeln!(f, "outcome {}", shown::bare(event_id))?,
            About::Issue { issue_ref } => writeln!(f, "issue {} as it is known", shown::bare(issue_ref))?,
        }
        writeln!(f, "now {time}, policy {}", self.policy_hash.get(..12).unwrap_or(&self.policy_hash))?;
        for remark in &self.remarks {
            writeln!(f, "{remark}")?;
        }
        for issue in &self.issues {
            self.issue(f, issue)?;
        }
        match self.more_issues {
            0 => Ok(()),
            more => writeln!(f, "\nissues that are concerned besides: {more}"),
        }
    }
}

impl Explanation {
    fn issue(&self, f: &mut Formatter<'_>, issue: &OfIssue) -> fmt::Result {
        write!(f, "\nissue {}", shown::bare(&issue.issue_ref))?;
        if let Some(title) = &issue.title {
            write!(f, " {}", shown::quoted(title))?;
        }
        writeln!(f, ", {}, project {}", issue.state, shown::bare(&issue.project_id))?;
        match issue.occasion {
            Occasion::Event => {}
            Occasion::LateEvent => writeln!(f, "a late event asks only the rules that read `event`")?,
            Occasion::NoEvent => writeln!(f, "looked at as if an event came now that says nothing new")?,
            Occasion::Timer => writeln!(f, "a timer asks only the rule that set it")?,
        }
        writeln!(f, "in short: {}", issue.summary)?;
        let would = matches!(self.about, About::Issue { .. });
        let below = issue.by_last_event.is_some();
        say_rules(f, &issue.rules, would, if below { "it reads `event`: see below" } else { NO_EVENT })?;
        if let Some(ByLastEvent { event_id, event_type, at, rules }) = &issue.by_last_event
            && !rules.is_empty()
        {
            writeln!(
                f,
                "\nthe rules that read `event`, as if the issue's last one came again now ({} {} of {})",
                shown::bare(event_type),
                shown::bare(event_id),
                shown::time(*at)
            )?;
            say_rules(f, rules, true, NO_EVENT)?;
        }
        match issue.unsearched {
            0 => {}
            1 => writeln!(f, "\nof one rule no smallest change (→) was looked for: --rule asks about one")?,
            count => writeln!(
                f,
                "\nof {count} rules no smallest change (→) was looked for: --rule asks about one of them"
            )?,
        }
        if !issue.timers.is_empty() {
            writeln!(f, "\nwill be looked at again")?;
        }
        for timer in &issue.timers {
            let why = timer.reason.as_str();
            writeln!(f, "  {} rule `{}` ({why})", shown::time(timer.due_at), timer.rule)?;
        }
        Ok(())
    }
}

/// `would`: nothing was done, it is only asked what would be. `no_event`: why a rule that reads `event` is not asked without one.
fn say_rules(f: &mut Formatter<'_>, rules: &[OfRule], would: bool, no_event: &str) -> fmt::Result {
    let mut left_out = 0;
    for rule in rules {
        let tells = rule.condition.is_some() || rule.what_if.is_some() || rule.became.is_some();
        if !tells && (rule.verdict.is_some() || rule.not_asked == Some(NotAsked::OtherTimer)) {
            left_out += 1;
            continue;
        }
        say_left_out(f, &mut left_out)?;
        say_rule(f, rule, would, no_event)?;
    }
    say_left_out(f, &mut left_out)
}

fn say_left_out(f: &mut Formatter<'_>, left_out: &mut usize) -> fmt::Result {
    match std::mem::take(left_out) {
        0 => Ok(()),
        1 => writeln!(f, "\n… one more rule, of which nothing became"),
        count => writeln!(f, "\n… {count} more rules, of which nothing became"),
    }
}

fn say_rule(f: &mut Formatter<'_>, rule: &OfRule, would: bool, no_event: &str) -> fmt::Result {
    write!(f, "\n{}. `{}` (line {}): ", rule.place, rule.id, rule.line)?;
    match &rule.not_asked {
        Some(why) => {
            write!(f, "not asked, {}", not_asked(why, no_event))?;
            if let Some(verdict) = rule.verdict {
                write!(f, "; its condition {verdict}")?;
            }
        }
        None => {
            match (&rule.became, rule.verdict) {
                (Some(became), _) => f.write_str(&became_what(became, rule, would))?,
                (None, Some(Verdict::CannotBeSaid)) => {
                    f.write_str("cannot be said, which counts as not holding")?
                }
                (None, Some(verdict)) => write!(f, "{verdict}")?,
                (None, None) => {}
            }
            if rule.ends_walk {
                f.write_str("; the rules below are not asked")?;
            }
        }
    }
    writeln!(f)?;
    if let Some(condition) = &rule.condition {
        say_node(f, condition, 1)?;
    }
    if let Some(what_if) = &rule.what_if {
        writeln!(f, "  → {}", change::in_words(what_if))?;
    }
    Ok(())
}

fn not_asked(why: &NotAsked, no_event: &str) -> String {
    match why {
        NotAsked::AboveDecided { rule } => format!("`{rule}` above decided"),
        NotAsked::Closed => "the issue is closed and the rule is for open ones".into(),
        NotAsked::Late => "the event is late and the rule does not read `event`".into(),
        NotAsked::OtherTimer => "the timer is another rule's".into(),
        NotAsked::NoEvent => no_event.to_owned(),
        NotAsked::ByUs => BY_US.to_owned(),
    }
}

fn became_what(became: &Became, rule: &OfRule, would: bool) -> String {
    match became {
        Became::Fired { actions, unresolved, capped } => {
            let said: Vec<_> = actions.iter().map(action).collect();
            let mut text = format!("{}: {}", if would { "would fire" } else { "fired" }, said.join(", "));
            if !unresolved.is_empty() {
                let places: Vec<_> = unresolved.iter().map(|place| (place + 1).to_string()).collect();
                text += &format!("; no target resolved for action {} of `then`", places.join(", "));
            }
            if !capped.is_empty() {
                let places: Vec<_> = capped.iter().map(|place| (place + 1).to_string()).collect();
                text += &format!("; over the cap of this hour: action {} of `then`", places.join(", "));
            }
            text
        }
        Became::Capped { most, until } => format!(
            "fired, but no action was made: the issue has had its {most} of the hour until {} (`limits`)",
            shown::time(*until)
        ),
        Became::Unresolved => "holds, but no target resolves, so there is no action".into(),
        Became::Suppressed { until, cooldown } => {
            let fired = rule.before.fired_at.map(|at| format!("; fired last at {}", shown::time(at)));
            format!(
                "holds, suppressed by its cooldown of {cooldown} until {}{}",
                shown::time(*until),
                fired.unwrap_or_default()
            )
        }
        Became::DecidedAlready => {
            let fired = rule.before.fired_at.map(|at| format!(" (fired last at {})", shown::time(at)));
            let repeats = rule.next_timer.as_ref().filter(|timer| timer.reason == TimerKind::Repeat);
            let repeats = repeats.map(|timer| format!("; repeats at {}", shown::time(timer.due_at)));
            format!(
                "holds, and decides the issue already{}{}; fires again when another rule has decided in between, or the issue is reopened{}",
                fired.unwrap_or_default(),
                repeats.unwrap_or_default(),
                if rule.before.at.is_some() { ", or `at` has another value" } else { "" }
            )
        }
        Became::AtDone { at } => {
            let repeats = rule.next_timer.as_ref().filter(|timer| timer.reason == TimerKind::Repeat);
            let repeats = repeats.map(|timer| format!("; repeats at {}", shown::time(timer.due_at)));
            format!(
                "holds, but its `at` {} counted already, and each value counts once{}; fires again for another value",
                shown::time(*at),
                repeats.unwrap_or_default()
            )
        }
        Became::ByUs => format!("holds, and decides the issue from here on in silence: {BY_US}"),
        Became::NoLongerDue => {
            "its timer no longer counts: `at` moved, it fired for this `at` already, or another rule decides the issue"
                .into()
        }
    }
}

fn action(action: &FiredAction) -> String {
    let id = action.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    format!("{} for {}{id}", action.action, shown::bare(&action.target))
}

fn say_node(f: &mut Formatter<'_>, node: &Node, depth: usize) -> fmt::Result {
    let margin = "  ".repeat(depth);
    let sign = match node.verdict {
        Verdict::Holds => "yes",
        Verdict::DoesNotHold => "no ",
        Verdict::CannotBeSaid => "?? ",
    };
    let is_test = node.parts.is_empty();
    match node.operator {
        Some(operator) if !is_test => write!(f, "{margin}{sign} {}", gloss(operator))?,
        _ => write!(f, "{margin}{sign} {}", node.text)?,
    }
    if is_test {
        let saw: Vec<_> = node.saw.iter().map(|saw| format!("{} = {}", saw.name, saw.value)).collect();
        let width = node.text.chars().count();
        if !saw.is_empty() {
            let gap = TEST_WIDTH.saturating_sub(width + 2 * depth).max(2);
            write!(f, "{}{}", " ".repeat(gap), saw.join(", "))?;
        }
        if let Some(error) = &node.error {
            write!(f, "  ({error})")?;
        }
    }
    if node.decides {
        f.write_str("  ← decides")?;
    }
    writeln!(f)?;
    for part in &node.parts {
        say_node(f, part, depth + 1)?;
    }
    for element in &node.elements {
        writeln!(f, "{margin}  for {}", element.value)?;
        say_node(f, &element.body, depth + 2)?;
    }
    match node.more_elements {
        0 => Ok(()),
        more => writeln!(f, "{margin}  and {more} more"),
    }
}

fn gloss(operator: &str) -> &str {
    match operator {
        "&&" => "all of (&&)",
        "||" => "any of (||)",
        "!" => "not (!)",
        "? :" => "if, then, else (? :)",
        other => other,
    }
}
