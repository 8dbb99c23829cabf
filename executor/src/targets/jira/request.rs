//! What is sent: which issue, and text as a document (Cloud) or as wiki text without wiki in it (Data Center).

use events::{Action, Person, Recipients};
use serde_json::{Value, json};

use super::config::Edition;
use crate::{message::Message, targets::marker::marker};

/// What wiki text could take for more than itself.
const WIKI: &str = "{}[]|*_-+^~?!#()&@:;,<>";

/// The key in `jira:HOST/KEY-7`, where the host is this one.
pub(super) fn key(action: &Action, host: &str) -> Option<String> {
    let (of, key) = action.issue_ref.as_deref()?.strip_prefix("jira:")?.split_once('/')?;
    let (project, number) = key.rsplit_once('-')?;
    let plain = (1..=255).contains(&project.len())
        && project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && (1..=18).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit());
    (plain && of.eq_ignore_ascii_case(host)).then(|| key.to_owned())
}

/// The people with an account, and the names of those who have none in the policy.
pub(crate) fn accounts(to: &Recipients) -> (Vec<String>, Vec<String>) {
    let (mut accounts, mut without) = (Vec::new(), Vec::new());
    for Person { name, jira, .. } in &to.people {
        match jira.as_ref().filter(|account| is_account(account)) {
            Some(account) if accounts.contains(account) => {}
            Some(account) => accounts.push(account.clone()),
            None => without.push(name.clone()),
        }
    }
    (accounts, without)
}

fn is_account(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'@'))
}

/// Whom to assign.
pub(super) fn assignee(edition: Edition, account: &str) -> Value {
    match edition {
        Edition::Cloud => json!({ "accountId": account }),
        Edition::DataCenter => json!({ "name": account }),
    }
}

/// The body of a comment: the people it concerns are mentioned, the rest is text. Its last line is the marker by which a
/// retry finds it.
pub(super) fn comment(edition: Edition, action: &Action) -> Option<Value> {
    let message = Message::of(action)?;
    let said = [message.what, message.why].into_iter().filter(|text| !text.is_empty());
    let said = said.collect::<Vec<_>>().join(" · ");
    let (accounts, marker) =
        (accounts(&Recipients::of(action).unwrap_or_default()).0, marker(&action.event_id));
    Some(match edition {
        Edition::Cloud => {
            let mut line: Vec<Value> = Vec::new();
            for account in accounts.iter().take(10) {
                line.push(json!({ "type": "mention", "attrs": { "id": account } }));
                line.push(json!({ "type": "text", "text": " " }));
            }
            line.push(json!({ "type": "text", "text": said }));
            let own = json!([{ "type": "text", "text": marker }]);
            json!({ "type": "doc", "version": 1, "content": [
                { "type": "paragraph", "content": line }, { "type": "paragraph", "content": own },
            ] })
        }
        Edition::DataCenter => {
            let mentions: String = accounts.iter().take(10).map(|name| format!("[~{name}] ")).collect();
            Value::String(format!("{mentions}{}\n\n{{{{{marker}}}}}", plain(&said)))
        }
    })
}

/// `text` with whatever means something in wiki text as a character reference, which means only itself.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c == '\\' || WIKI.contains(c) => out.push_str(&format!("&#{};", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// Whether a comment's body has this marker, in whichever form the body is.
pub(super) fn is_of(body: &Value, action_id: &str) -> bool {
    let marker = marker(action_id);
    match body {
        Value::String(wiki) => wiki.contains(&format!("{{{{{marker}}}}}")),
        Value::Array(nodes) => nodes.iter().any(|node| is_of(node, action_id)),
        Value::Object(node) if node.get("type").is_some_and(|of| of == "text") => {
            node.get("text").is_some_and(|text| *text == marker)
        }
        Value::Object(node) => node.get("content").is_some_and(|content| is_of(content, action_id)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiki_text_has_no_wiki_in_it() {
        assert_eq!(plain("a {color:red}b"), "a &#123;color&#58;red&#125;b");
        assert_eq!(
            plain("[~admin] http://x \\\\ *b*"),
            "&#91;&#126;admin&#93; http&#58;//x &#92;&#92; &#42;b&#42;"
        );
    }

    #[test]
    fn an_issue_is_this_sites() {
        let key = |issue_ref: &str| {
            let action = json!({
                "event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "owner:bo",
                "rationale": "", "source_ref": "", "issue_ref": issue_ref,
            });
            key(&serde_json::from_value(action).expect("an action"), "acme.atlassian.net")
        };
        assert_eq!(key("jira:acme.atlassian.net/OPS-7"), Some("OPS-7".into()));
        assert_eq!(key("jira:Acme.Atlassian.net/OPS-7"), Some("OPS-7".into()));
        for bad in [
            "jira:other.net/OPS-7",
            "jira:acme.atlassian.net/OPS",
            "jira:acme.atlassian.net/../OPS-7",
            "jira:acme.atlassian.net/OPS-",
            "jira:acme.atlassian.net/O%2FPS-7",
            "github:o/r#1",
            "",
        ] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }
}
