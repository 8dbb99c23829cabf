//! A hundred rules over the history's projects, labels and people, and a candidate in which some are changed.

use std::fmt::Write;

use super::{
    draw::Draw,
    world::{LABELS, PEOPLE, PRIORITIES, label, person, project},
};

const RULES: usize = 100;

/// The policy in force, and the candidate.
pub(super) fn policies(projects: usize) -> [String; 2] {
    let mut draw = Draw::new(0x9017c7);
    let rules: Vec<_> = (0..RULES).map(|number| rule(&mut draw, number, projects)).collect();
    [false, true].map(|changed| {
        let mut text = "version: 1\nteams:\n".to_owned();
        for team in 0..projects {
            let members: Vec<_> = (0..4).map(|member| person((team * 7 + member * 3) % PEOPLE)).collect();
            let _ = writeln!(text, "  team-{team}: {{ members: [{}] }}", members.join(", "));
        }
        text.push_str("rules:\n");
        for (number, rule) in rules.iter().enumerate() {
            text.push_str(&if changed { rule.changed(number) } else { rule.text() });
        }
        text
    })
}

#[derive(Clone)]
struct Rule {
    id: String,
    when: String,
    action: &'static str,
    target: String,
    /// What else the rule says: `at`, `repeat`, `cooldown`, `continue`.
    more: &'static str,
}

impl Rule {
    fn text(&self) -> String {
        let Self { id, when, action, target, more } = self;
        let duration = if *action == "schedule_unblocker" { ", duration: 15m" } else { "" };
        format!(
            "  - {{ id: {id}, when: '{when}', then: {{ action: {action}, target: {target}{duration} }}, {more}rationale: {id} holds }}\n"
        )
    }

    /// As the candidate has it: every tenth is for another person, and of the others every fifteenth is gone or loses its repeats.
    fn changed(&self, number: usize) -> String {
        match (number % 10, number % 15) {
            (3, _) => Self { target: "\"team:team-0\"".to_owned(), ..self.clone() }.text(),
            (_, 7) if self.more.is_empty() => String::new(),
            (_, 11) => self.text().replace("repeat: 24h, ", ""),
            _ => self.text(),
        }
    }
}

/// By kind as policies are: routing by project and label, urgency, what just happened, deadlines, ages, and a few that require
/// nothing that an index could know them by.
fn rule(draw: &mut Draw, number: usize, projects: usize) -> Rule {
    let owner = draw.below(projects);
    let project = project(owner);
    let (one, other) = (label(draw.skewed(LABELS)), label(draw.skewed(LABELS)));
    let somebody = person(draw.below(PEOPLE));
    let priority = PRIORITIES[draw.below(2)];
    let team = format!("\"team:team-{owner}\"");
    let (kind, when, action, target, more) = match number % 20 {
        0..4 => (
            "urgent",
            format!(
                r#"issue.project == "{project}" && "{one}" in issue.labels && issue.priority in ["{priority}", "Highest"]"#
            ),
            "escalate_owner",
            team,
            "",
        ),
        4..9 => (
            "route",
            format!(
                r#"issue.project == "{project}" && "{one}" in issue.labels && "{other}" in issue.labels"#
            ),
            "assign_owner",
            team,
            "",
        ),
        9..11 => (
            "labelled",
            format!(
                r#"event.type == "issue_updated" && "{one}" in event.labels_added && issue.project == "{project}""#
            ),
            "post_nudge",
            team,
            "cooldown: 24h, ",
        ),
        11..13 => (
            "comment",
            format!(
                r#"event.type == "issue_commented" && issue.project == "{project}" && issue.assignee == "{somebody}""#
            ),
            "post_nudge",
            "assignee".to_owned(),
            "cooldown: 8h, continue: true, ",
        ),
        13..15 => (
            "deadline",
            format!(r#"issue.project == "{project}" && issue.due_at != null && issue.due_at <= now"#),
            "schedule_unblocker",
            format!("[assignee, {team}]"),
            "at: issue.due_at, repeat: 24h, ",
        ),
        15..17 => (
            "area",
            format!(
                r#"issue.labels.exists(l, l.startsWith("area/")) && issue.priority == "{priority}" && "{one}" in issue.labels"#
            ),
            "post_nudge",
            team,
            "",
        ),
        17 => (
            "unowned",
            format!(
                r#"issue.project == "{project}" && issue.assignee == null && now - issue.created_at >= duration("72h")"#
            ),
            "post_nudge",
            team,
            "at: issue.created_at + duration(\"72h\"), continue: true, ",
        ),
        18 => (
            "both",
            format!(
                r#"issue.project == "{project}" && ("{one}" in issue.labels && "{other}" in issue.labels || issue.assignee == "{somebody}")"#
            ),
            "post_nudge",
            team,
            "",
        ),
        _ => (
            "free",
            format!(r#"issue.title.contains("outage {number}") && !("{one}" in issue.labels)"#),
            "escalate_owner",
            team,
            "",
        ),
    };
    // `at` holds quotes of its own, which a flow mapping takes only within others.
    let more = if more.contains('"') {
        "at: 'issue.created_at + duration(\"72h\")', continue: true, "
    } else {
        more
    };
    Rule { id: format!("{kind}-{number}"), when, action, target, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_policies_and_they_differ() {
        let loaded = policies(24)
            .map(|text| policy::load(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}")));
        assert_eq!(loaded[0].rules().count(), RULES);
        assert!(loaded[1].rules().count() > RULES - 10);
        assert_ne!(loaded[0].hash(), loaded[1].hash());
    }
}
