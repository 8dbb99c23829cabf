//! Whom a target would find, asked of the configuration alone: before anything runs, and without its credentials.

use events::{ActionKind, Recipients};

use super::{Kind, TargetConfig, github, jira, meeting, pagerduty, slack};

/// Why a target would refuse every action for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfound {
    /// What they lack, as a part of a sentence: ``has no `slack` ``.
    pub lacks: String,
    /// Why the target cannot do without it, as another: `has no default channel`.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

impl TargetConfig {
    /// Why this target, `[targets.NAME]`, would refuse every action of a kind for these people; none where it would find them, or
    /// needs nobody.
    pub fn would_not_find(&self, name: &str, kind: &ActionKind, to: &Recipients) -> Option<Unfound> {
        let lacks = |key: &str, why: &str, or: &str| Unfound {
            lacks: format!("has no `{key}`"),
            why: why.to_owned(),
            hint: format!("say it under `people` or `teams`{or}"),
        };
        let assigns = *kind == ActionKind::AssignOwner;
        match &self.0 {
            Kind::Github(_) if assigns && github::logins(to).0.is_empty() => {
                Some(lacks("github", "assigns by login", ""))
            }
            Kind::Jira(_) if assigns && jira::accounts(to).0.is_empty() => {
                Some(lacks("jira", "assigns by account", ""))
            }
            Kind::Slack(config)
                if config.token.is_some() && slack::addresses(to, config.channel.as_deref()).is_empty() =>
            {
                let or = format!(", or set targets.{name}.channel");
                Some(lacks("slack", "has no default channel", &or))
            }
            Kind::Caldav(_) | Kind::Google(_)
                if *kind == ActionKind::ScheduleUnblocker && meeting::is_without_calendar(to) =>
            {
                Some(lacks("calendar", "books only where all whom it concerns have one", ""))
            }
            Kind::Pagerduty(config) => match pagerduty::service(to, config.service.as_deref()) {
                None => {
                    let or = format!(", or set targets.{name}.service");
                    Some(lacks("pagerduty", "has no default service", &or))
                }
                Some(service) if !config.services.contains_key(&service) => Some(Unfound {
                    lacks: format!("has the `pagerduty` {service:?}"),
                    why: "has no such service".to_owned(),
                    hint: format!("name it under targets.{name}.services, or another in the policy"),
                }),
                Some(_) => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn who_cannot_be_found_is_told_and_what_to_do() {
        let token = json!({ "env": "T" });
        let gh = json!({ "kind": "github", "token": token });
        let jira = json!({ "kind": "jira", "base": "https://h", "edition": "cloud", "token": token });
        let bot = json!({ "kind": "slack", "token": token });
        let with_channel = json!({ "kind": "slack", "token": token, "channel": "C1" });
        let hook = json!({ "kind": "slack", "webhook_url": token });
        let pager = json!({ "kind": "pagerduty", "services": { "triage": token } });
        let with_service =
            json!({ "kind": "pagerduty", "services": { "triage": token }, "service": "triage" });
        let webhook = json!({ "kind": "webhook", "url": "https://h", "secret": token });
        let ann = json!({ "people": [{ "name": "ann" }] });
        let known = json!({ "people": [{ "name": "ann", "github": "ann", "jira": "5b", "slack": "U1", "pagerduty": "triage" }] });
        let team = json!({ "people": [{ "name": "ann" }], "team": { "name": "t", "slack": "C2", "pagerduty": "moon" } });
        let google = json!({ "kind": "google-calendar", "token": token });
        let met = json!({ "people": [{ "name": "ann", "calendar": "ann@x.test" }] });
        let cases: [(&Value, &str, &Value, Option<&str>); 21] = [
            (&google, "schedule_unblocker", &met, None),
            (&google, "schedule_unblocker", &ann, Some("has no `calendar`")),
            (&google, "schedule_unblocker", &team, Some("has no `calendar`")),
            (&google, "resolve", &ann, None),
            (&gh, "assign_owner", &ann, Some("has no `github`")),
            (&gh, "assign_owner", &known, None),
            (&gh, "escalate_owner", &ann, None),
            (&jira, "assign_owner", &ann, Some("has no `jira`")),
            (&jira, "assign_owner", &known, None),
            (&jira, "post_nudge", &ann, None),
            (&bot, "post_nudge", &ann, Some("has no `slack`")),
            (&bot, "post_nudge", &known, None),
            (&bot, "post_nudge", &team, None),
            (&with_channel, "post_nudge", &ann, None),
            (&hook, "post_nudge", &ann, None),
            (&pager, "escalate_owner", &ann, Some("has no `pagerduty`")),
            (&pager, "escalate_owner", &known, None),
            (&pager, "escalate_owner", &team, Some("has the `pagerduty` \"moon\"")),
            (&with_service, "escalate_owner", &ann, None),
            (&with_service, "escalate_owner", &team, Some("has the `pagerduty` \"moon\"")),
            (&webhook, "assign_owner", &ann, None),
        ];
        for (said, kind, to, lacks) in cases {
            let mut table = said.clone();
            let tool = table.as_object_mut().and_then(|table| table.remove("kind")).expect("a kind");
            let target = TargetConfig::read(tool.as_str().expect("a word"), table);
            let target = target.expect("a kind").expect("a target");
            let to: Recipients = serde_json::from_value(to.clone()).expect("recipients");
            let unfound = target.would_not_find("x", &kind.into(), &to);
            assert_eq!(unfound.map(|unfound| unfound.lacks).as_deref(), lacks, "{said} {kind} {to:?}");
        }
    }
}
