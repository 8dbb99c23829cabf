//! Who we are at Jira: `GET myself`, and `GET mypermissions` for what the actions need.

use std::collections::BTreeMap;

use events::ActionKind;
use reqwest::Method;
use serde::Deserialize;

use super::{Jira, response::Account};
use crate::{Introduction, Verdict, http::PAGE, introduction::told};

/// One of us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Myself {
    #[serde(flatten)]
    account: Account,
    #[serde(default)]
    display_name: String,
    #[serde(default = "yes")]
    active: bool,
}

#[derive(Deserialize)]
struct Permissions {
    permissions: BTreeMap<String, Permission>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    have_permission: bool,
}

fn yes() -> bool {
    true
}

impl Jira {
    /// The permissions that an action needs.
    fn needs(&self, kind: &ActionKind) -> Vec<&'static str> {
        let labels = !self.config.label.is_empty();
        let mut needs = match kind {
            ActionKind::AssignOwner => vec!["ASSIGN_ISSUES"],
            ActionKind::EscalateOwner | ActionKind::Resolve if labels => vec!["EDIT_ISSUES"],
            _ => Vec::new(),
        };
        if self.config.transitions.contains_key(kind.as_str()) {
            needs.push("TRANSITION_ISSUES");
        }
        if self.says(kind) {
            needs.push("ADD_COMMENTS");
        }
        needs
    }

    async fn myself(&self) -> Result<Myself, Verdict> {
        let reply = self.call(self.api.request(Method::GET, self.rest(&["myself"]))).await?;
        let nobody = reply.retry(None, "without saying who we are");
        let me: Myself = reply.readable(PAGE).await?;
        if me.account.name().is_some() { Ok(me) } else { Err(nobody) }
    }

    /// The account whose comments are ours.
    pub(super) async fn account(&self) -> Result<Account, Verdict> {
        self.myself().await.map(|me| me.account)
    }

    pub(super) async fn introduced(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        let me = self.myself().await?;
        let id = me.account.name().unwrap_or_default();
        let mut known = Introduction::of(&format!("{} ({})", told(&me.display_name), told(id)))
            .need(me.active, "the account is deactivated: let the site's administrators activate it");

        let mut needed: BTreeMap<&str, Vec<&str>> = BTreeMap::from([("BROWSE_PROJECTS", Vec::new())]);
        for kind in kinds {
            for permission in self.needs(kind) {
                needed.entry(permission).or_default().push(kind.as_str());
            }
        }
        let mut url = self.rest(&["mypermissions"]);
        let keys: Vec<&str> = needed.keys().copied().collect();
        url.query_pairs_mut().append_pair("permissions", &keys.join(","));
        let found: Permissions = self.call(self.api.request(Method::GET, url)).await?.readable(PAGE).await?;
        for (key, of) in needed {
            match found.permissions.get(key).map(|found| found.have_permission) {
                Some(true) => known = known.may([key]),
                Some(false) => {
                    let of = if of.is_empty() { "everything".to_owned() } else { of.join(", ") };
                    let lacks =
                        "the account has the permission in no project: give it to the account's role there";
                    known = known.need(false, format!("{key}, for {of}: {lacks}"));
                }
                None => known = known.note(format!("Jira does not say whether we have {key}")),
            }
        }
        Ok(known.note("a permission that is there is there in at least one project, perhaps not in all"))
    }
}
