//! What credentials look like, where whoever gives them out has said so. One of another form was mixed up or cut off: it is refused before it
//! is needed, and nothing of it is told. What has no such form (a password, the address of an incoming webhook) is taken as it is.

/// A published form.
pub(crate) struct Form {
    is: fn(&str) -> bool,
    /// What is said of a text of another form.
    otherwise: &'static str,
}

impl Form {
    /// What is wrong with a text that has not this form.
    pub(crate) fn fault(&self, text: &str) -> Option<&'static str> {
        (!(self.is)(text)).then_some(self.otherwise)
    }
}

/// The key of an integration, by <https://developer.pagerduty.com/docs/send-alert-event>: 32 characters.
pub(crate) const ROUTING_KEY: Form = Form {
    is: |key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric()),
    otherwise: "this is no integration key of Events API v2, which has 32 letters and digits",
};

/// By <https://docs.slack.dev/authentication/tokens>; those that expire have `xoxe.` before them. With an app's own (`xapp-`) nothing can be posted.
pub(crate) const SLACK_TOKEN: Form = Form {
    is: |token| {
        ["xoxb-", "xoxp-"].iter().any(|begins| token.trim_start_matches("xoxe.").starts_with(begins))
            && is_token(token)
    },
    otherwise: "this is no bot's token, which begins with xoxb- and has no spaces or quotes",
};

/// Whatever goes out as a bearer's token, by RFC 6750, section 2.1.
pub(crate) const TOKEN: Form = Form {
    is: is_token,
    otherwise: "this is no token, which has letters, digits and - . _ ~ + / = only, no spaces or quotes",
};

// Atlassian's have `=` in the middle, too.
fn is_token(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mixed_up_or_cut_off_is_told_from_what_fits() {
        let key = "R028DIE06SNKNO6V5ACSLRV7Y0TUVG7T";
        for (form, fine) in [
            (&ROUTING_KEY, key),
            (&SLACK_TOKEN, "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"),
            (&SLACK_TOKEN, "xoxe.xoxb-1-MQ"),
            (&TOKEN, "github_pat_11ABC_x"),
            (&TOKEN, "ATATT3xFfGF0_-=C0FFEE"),
        ] {
            assert_eq!(form.fault(fine), None, "{fine}");
        }
        for (form, wrong) in [
            (&ROUTING_KEY, &key[1..]),
            (&ROUTING_KEY, "R028DIE0-SNKNO6V5ACSLRV7Y0TUVG7T"),
            (&ROUTING_KEY, "${PAGERDUTY_ROUTING_KEY_OF_TEAM}"),
            (&SLACK_TOKEN, "xapp-1-A0"),
            (&SLACK_TOKEN, "\"xoxb-1\""),
            (&SLACK_TOKEN, "xoxb-1 xoxb-2"),
            (&SLACK_TOKEN, "https://hooks.slack.com/services/T0/B0/x"),
            (&TOKEN, "Bearer ghp_1"),
            (&TOKEN, "ghp_1\nghp_2"),
            (&TOKEN, "ghp_…"),
        ] {
            assert!(form.fault(wrong).is_some_and(|fault| !fault.contains(wrong)), "{wrong}");
        }
    }
}
