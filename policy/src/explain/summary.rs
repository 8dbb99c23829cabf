//! What came of a decision, in a line.

use super::{Became, NotAsked, Occasion, OfRule, shown};

/// How many rules are named.
const MAX_RULES: usize = 5;

/// What came of the rules that were asked on an occasion: of those that held, what became of each, in file order.
pub(super) fn of_rules(rules: &[OfRule], occasion: Occasion) -> String {
    let mut parts: Vec<_> = rules.iter().filter_map(|rule| of_rule(rule, occasion)).collect();
    if parts.is_empty() {
        return match occasion {
            Occasion::Event | Occasion::NoEvent
                if rules.iter().any(|rule| rule.not_asked == Some(NotAsked::Closed)) =>
            {
                "the issue is not open, and no rule for such issues holds".into()
            }
            Occasion::Event => "no rule holds".into(),
            Occasion::NoEvent => "no rule that does without an event holds".into(),
            Occasion::LateEvent => "no rule that reads `event` holds".into(),
            Occasion::Timer => "the rule that set the timer does not hold".into(),
        };
    }
    let more = parts.len().saturating_sub(MAX_RULES);
    parts.truncate(MAX_RULES);
    if more > 0 {
        parts.push(format!("and {more} more rules"));
    }
    parts.join("; ")
}

fn of_rule(rule: &OfRule, occasion: Occasion) -> Option<String> {
    let id = &rule.id;
    Some(match rule.became.as_ref()? {
        Became::Fired { actions, .. } => {
            let targets: Vec<_> =
                actions.iter().map(|it| format!("{} for {}", it.action, shown::bare(&it.target))).collect();
            let verb = if occasion == Occasion::NoEvent { "would fire" } else { "fired" };
            format!("`{id}` {verb}: {}", targets.join(", "))
        }
        Became::Capped { most, until } => {
            format!(
                "`{id}` fired, but the issue has had its {most} actions of the hour until {}",
                shown::time(*until)
            )
        }
        Became::Unresolved => format!("`{id}` holds, but there is nobody to turn to"),
        Became::Suppressed { until, .. } => {
            format!("`{id}` holds, but is suppressed by its cooldown until {}", shown::time(*until))
        }
        Became::DecidedAlready => format!("`{id}` decides the issue already, so it does not fire again"),
        Became::AtDone { at } => {
            format!("`{id}` holds, but its `at` ({}) counted already", shown::time(*at))
        }
        Became::ByUs => {
            format!("`{id}` decides the issue from here on, in silence: our own account did this")
        }
        Became::NoLongerDue => format!("the timer of `{id}` no longer counts"),
    })
}
