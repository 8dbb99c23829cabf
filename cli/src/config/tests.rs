//! What wins over what, and what is refused.

use std::io::Write;

use super::*;

fn load(text: &str, vars: &[(&str, &str)], flags: Flags) -> Result<Settings, Failure> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let flags = Flags { config: Some(file.path().to_owned()), ..flags };
    Settings::load(&flags, |name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = "data_dir = \"f\"\nshadow = \"f.yaml\"\n[listen]\nadmin = \"127.0.0.1:1\"\n";
    let vars = [("BREAKDOWN_DATA_DIR", "e"), ("PROJECT_ID", "")];
    let flags = Flags { data_dir: Some("x".into()), shadow: Some("x.yaml".into()), ..Flags::default() };
    let all = load(file, &vars, flags).unwrap();
    assert_eq!(all.shadow, Some("x.yaml".into()));
    assert_eq!(all.data_dir, PathBuf::from("x"));
    assert_eq!(all.project_id, "alpha", "an empty variable counts as unset");
    let no_flag = load(file, &vars, Flags::default()).unwrap();
    assert_eq!(no_flag.data_dir, PathBuf::from("e"));
    let file_only = load(file, &[], Flags::default()).unwrap();
    assert_eq!(file_only.data_dir, PathBuf::from("f"));
    assert_eq!(file_only.shadow, Some("f.yaml".into()));
    assert_eq!(file_only.admin_listen, Address { at: "127.0.0.1:1".parse().unwrap(), chosen: true });
    assert_eq!(file_only.webhooks_listen.at.port(), 7000);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_without_its_text() {
    let error =
        load("data_dir = \"d\"\nsekrit = \"hunter2\"\n", &[], Flags::default()).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("sekrit"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn the_example_shows_every_key_and_holds_the_defaults() {
    let example = include_str!("../../../breakdown.example.toml");
    // With the comment marks taken off, the example is a whole configuration.
    let plain: String = example
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') => Some(format!("{rest}\n")),
            // A key, and no sentence with one in it.
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', ':'])) => {
                Some(format!("{rest}\n"))
            }
            Some(_) => None,
            None => Some(format!("{line}\n")),
        })
        .collect();
    let settings = load(&plain, &[], Flags::default()).unwrap();
    let defaults = load("", &[], Flags::default()).unwrap();
    assert_eq!(settings.data_dir, defaults.data_dir);
    assert_eq!(settings.retention["actions"].age, defaults.retention["actions"].age);
    assert_eq!(settings.give_up_after, defaults.give_up_after);
    assert_eq!(settings.accounts, Accounts::new(["breakdown[bot]"], ["5b10a2844c20165700ede21g"]));
    assert_eq!(settings.partitions, defaults.partitions);
    assert_eq!(settings.spool_max_bytes, defaults.spool_max_bytes);
    assert_eq!(
        settings.targets.keys().collect::<Vec<_>>(),
        ["audit", "chat", "code", "dav", "google", "pager", "tracker"]
    );
    assert_eq!(settings.routes[0].targets.len(), 5);
    assert_eq!(settings.routes[1].otherwise, ["chat"]);
    let unchanged = load(example, &[], Flags::default()).unwrap();
    assert!(unchanged.targets.is_empty() && unchanged.routes.is_empty());
    assert!(settings.sweeps.is_some() && defaults.sweeps.is_none());
    assert!(settings.redpanda.is_some() && settings.projects.contains_key("alpha"));
    for key in [
        "data_dir",
        "policy",
        "shadow",
        "project_id",
        "webhooks",
        "admin",
        "calendar",
        "token",
        "partitions",
        "retention",
        "retention_bytes",
        "spool_max_bytes",
        "brokers",
        "sasl_username",
        "sasl_password",
        "sasl_mechanism",
        "tls",
        "ca_cert",
        "webhook_secret",
        "api_base",
        "give_up_after",
        "repositories",
        "jira",
        "time_zone",
        "allow_private",
        "proxy",
        "webhook_url",
        "app",
        "sweep_every",
        "hooks",
        "app_id",
        "private_key_file",
        "email",
        "sweep_after",
        "service_account",
        "subject",
        "send_updates",
        "horizon_days",
        "organizer",
        "otherwise",
    ] {
        assert!(example.contains(&format!("{key} = ")), "{key} is missing");
    }
}

#[test]
fn half_a_login_and_nonsense_are_refused() {
    let refused = |vars: &[(&str, &str)]| load("", vars, Flags::default()).unwrap_err().to_string();
    let broker = ("REDPANDA_BROKERS", "b:9092");
    assert!(refused(&[broker, ("REDPANDA_SASL_USERNAME", "u")]).contains("REDPANDA_SASL_PASSWORD"));
    assert!(refused(&[broker, ("REDPANDA_TLS", "yes please")]).contains("REDPANDA_TLS"));
    assert!(refused(&[broker, ("REDPANDA_CA_CERT", "/ca.pem")]).contains("REDPANDA_TLS=true"));
    assert!(refused(&[("BREAKDOWN_ADMIN_LISTEN", "here")]).contains("BREAKDOWN_ADMIN_LISTEN"));
    let login = [("REDPANDA_SASL_USERNAME", "u"), ("REDPANDA_SASL_PASSWORD", "p")];
    let plain = [broker, login[0], login[1], ("REDPANDA_SASL_MECHANISM", "plain")];
    assert!(refused(&plain).contains("REDPANDA_TLS=true"));
    let error = load("[log]\nretention = \"0s\"\n", &[], Flags::default()).unwrap_err().to_string();
    assert!(error.contains("at least 7d"), "{error}");
    assert!(refused(&[("PROJECT_ID", "a/b")]).contains("project id"));
}

#[test]
fn a_demo_reaches_nothing_real_unless_told_to() {
    let vars = [
        ("REDPANDA_BROKERS", "prod:9092"),
        ("CALENDAR_API_BASE", "https://calendar.example.com"),
        ("BREAKDOWN_DATA_DIR", "/var/lib/breakdown"),
        ("BREAKDOWN_POLICY", "mine.yaml"),
    ];
    let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let demo = Settings::load(&Flags { demo: true, ..Flags::default() }, env).unwrap();
    assert!(demo.redpanda.is_none() && demo.calendar_api_base.is_none() && !demo.data_dir_chosen);
    assert_eq!(demo.policy, Some("mine.yaml".into()));
    let flags = Flags { demo: true, brokers: Some("127.0.0.1:19092".into()), ..Flags::default() };
    assert!(Settings::load(&flags, env).unwrap().redpanda.is_some());
}

#[test]
fn secrets_do_not_show() {
    let vars = [
        ("GITHUB_WEBHOOK_SECRET", "canary"),
        ("JIRA_WEBHOOK_SECRET", "canary"),
        ("BREAKDOWN_ADMIN_TOKEN", "canary"),
        ("GITHUB_TOKEN", "canary"),
        ("JIRA_TOKEN", "canary"),
        ("REDPANDA_BROKERS", "b:9"),
        ("REDPANDA_SASL_USERNAME", "somebody"),
        ("REDPANDA_SASL_PASSWORD", "canary"),
    ];
    let sweeps = |github: &str, jira: &str| {
        format!(
            "[github]\n{github}hooks = [{{ organisation = \"acme\", id = 1 }}]\n\
             [jira]\n{jira}api_base = \"https://example.atlassian.net\"\n"
        )
    };
    let file = sweeps(
        "webhook_secret = \"canary\"\ntoken = \"canary\"\n",
        "webhook_secret = \"canary\"\ntoken = \"canary\"\n",
    ) + "[admin]\ntoken = \"canary\"\n\
         [redpanda]\nbrokers = \"b:9\"\nsasl_username = \"somebody\"\nsasl_password = \"canary\"\n";
    let file = file.as_str();
    for (file, vars) in [(sweeps("", "").as_str(), &vars[..]), (file, &[])] {
        let settings = load(file, vars, Flags::default()).unwrap();
        let config = settings.sweeps.as_ref().unwrap().config().unwrap();
        let tokens = [config.github.unwrap().token.unwrap(), config.jira.unwrap().token];
        assert!(tokens.iter().all(|token| token.expose_secret() == "canary"));
        let told = settings.redpanda.as_ref().and_then(|redpanda| redpanda.sasl.as_ref()).unwrap();
        assert_eq!(
            (settings.admin_token.as_ref().unwrap().expose_secret(), told.1.expose_secret()),
            ("canary", "canary")
        );
        assert!(!format!("{settings:?}").contains("canary"));
    }
    let file: File = toml::from_str(file).unwrap();
    assert!(!format!("{file:?}").contains("canary"));
}

#[test]
fn what_is_swept_is_checked() {
    let github = |hooks: &str| load(&format!("[github]\nhooks = [{hooks}]\n"), &[], Flags::default());
    for good in [
        "{ repository = \"acme/checkout\", id = 12 }",
        "{ organisation = \"acme\", id = 12 }, { app = true }",
    ] {
        assert!(github(good).unwrap().sweeps.is_some(), "{good}");
    }
    for (bad, says) in [
        ("{ repository = \"acme/checkout\" }", "`repository` and `id`"),
        ("{ repository = \"acme/checkout\", organisation = \"acme\", id = 1 }", "`repository` and `id`"),
        ("{ app = true, id = 1 }", "`app = true` alone"),
        ("{ repository = \"checkout\", id = 1 }", "write owner/repo"),
        ("{ repository = \"acme/../orgs\", id = 1 }", "write owner/repo"),
        ("{ repository = \"acme/..\", id = 1 }", "write owner/repo"),
        ("{ organisation = \"a/b\", id = 1 }", "no organisation"),
    ] {
        let error = github(bad).unwrap_err().to_string();
        assert!(error.starts_with("github.hooks: ") && error.contains(says), "{error}");
    }
    for (text, says) in [
        ("[jira]\napi_base = \"https://j.example.com\"\n", "set JIRA_TOKEN"),
        ("[jira]\napi_base = \"j\"\ntoken = \"t\"\n", "jira.api_base is no address"),
        (
            "[jira]\napi_base = \"https://j\"\ntoken = \"t\"\n[projects.a]\njira = [\"A\\\") OR (\"]\n",
            "no key of a Jira project",
        ),
        ("[github]\napp_id = \"1\"\n", "set both or none"),
        ("[webhooks]\nsweep_every = \"0s\"\n", "at least 1s"),
    ] {
        let error = load(text, &[], Flags::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(
        load("", &[("GITHUB_TOKEN", "t"), ("JIRA_TOKEN", "t")], Flags::default()).unwrap().sweeps.is_none()
    );
}

#[test]
fn what_would_be_swept_and_is_not_is_told() {
    let told = |text: &str| load(text, &[("GITHUB_TOKEN", "t")], Flags::default()).unwrap().unswept;
    assert!(told("").is_empty() && told("[github]\ntoken = \"\"\n").is_empty());
    let github = told("[github]\ntoken = \"c4n4ry\"\n");
    assert!(github.len() == 1 && github[0].contains("add [[github.hooks]]"), "{github:?}");
    let jira = told("[jira]\ntoken = \"c4n4ry\"\n");
    assert!(jira.len() == 1 && jira[0].contains("add api_base"), "{jira:?}");
    assert!(told("[github]\ntoken = \"t\"\nhooks = [{ organisation = \"acme\", id = 1 }]\n").is_empty());
    assert!(told("[jira]\ntoken = \"t\"\napi_base = \"https://j.example\"\n").is_empty());
}

#[test]
fn a_value_of_the_wrong_kind_is_told_with_its_path_and_without_its_text() {
    for (text, says) in [
        (
            "[[github.hooks]]\nrepository = \"a/b\"\nid = \"c4n4ry\"\n",
            "line 3: github.hooks.id: what stands here is not a whole number from 0 on",
        ),
        (
            "[github]\nhooks = [{ repository = \"a/b\", id = \"c4n4ry\" }]\n",
            "line 2: github.hooks.id: what stands here is not a whole number from 0 on",
        ),
        ("[redpanda]\ntls = \"c4n4ry\"\n", "line 2: redpanda.tls: what stands here is not true or false"),
        ("data_dir = 7\n", "line 1: data_dir: what stands here is not a string"),
        (
            "[webhooks]\ntrusted_proxies = \"c4n4ry\"\n",
            "webhooks.trusted_proxies: what stands here is not a list",
        ),
        (
            "[webhooks]\ntrusted_proxies = [\"token = \", 7]\n",
            "line 2: webhooks.trusted_proxies: what stands here is not a string",
        ),
        ("github = \"c4n4ry\"\n", "github: what stands here is not a table"),
        ("targets = 7\n", "targets: what stands here is not a table"),
        ("[targets]\nchat = \"c4n4ry\"\n", "line 2: targets.chat: what stands here is not a table"),
        (
            "[targets.chat]\nkind = \"slack\"\ntoken = \"c4n4ry\"\n",
            "line 3: targets.chat.token: what stands here is not a table",
        ),
        (
            "[targets.chat]\nkind = \"slack\"\ntoken = { c4n4ry = 7 }\n",
            "line 3: targets.chat.token: say where it is: { env = \"NAME\" }",
        ),
        (
            "[targets.chat]\nkind = \"slack\"\nhistory = \"c4n4ry\"\n",
            "line 3: targets.chat.history: what stands here is not true or false",
        ),
        ("[targets.chat]\nkind = \"c4n4ry\"\n", "line 2: targets.chat.kind: there is no such kind of target"),
        ("[targets.chat]\nkind = 7\n", "line 2: targets.chat.kind: there is no such kind of target"),
        ("[targets.chat]\n", "line 1: targets.chat: it has no kind; write one of caldav, github"),
        ("[target.chat]\n", "unknown field `target`, expected one of"),
        ("[[routes]]\naction = 7\n", "line 2: routes.action: what stands here is not a string"),
        ("[[routes]]\naction = \"post_nudge\"\n", "line 1: routes: missing field `targets`"),
    ] {
        let error = load(text, &[], Flags::default()).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("c4n4ry"), "{text}: {error}");
    }
}

#[test]
fn a_number_that_is_none_is_told_with_what_it_may_be() {
    let pager = "[targets.pager]\nkind = \"pagerduty\"\nservices = {}\n";
    let google = "[targets.g]\nkind = \"google-calendar\"\ntoken = { env = \"T\" }\n";
    let per_second =
        "line 4: targets.pager.limits.per_second: what stands here is not a whole number from 1 to 10000";
    for (text, says) in [
        (format!("{pager}limits = {{ per_second = -1 }}\n"), per_second),
        (format!("{pager}limits = {{ per_second = 0.5 }}\n"), per_second),
        (format!("{pager}limits = {{ per_second = \"10\" }}\n"), per_second),
        (
            format!("{pager}[targets.pager.limits]\nconcurrency = 257\n"),
            "line 5: targets.pager.limits.concurrency: what stands here is not a whole number from 1 to 256",
        ),
        (
            format!("{pager}limits = {{ timeout_seconds = 0 }}\n"),
            "targets.pager.limits.timeout_seconds: what stands here is not a whole number from 1 to 60",
        ),
        (
            format!("{google}horizon_days = 61\n"),
            "line 4: targets.g.horizon_days: what stands here is not a whole number from 1 to 60",
        ),
        (
            "[log]\npartitions = -1\n".into(),
            "line 2: log.partitions: what stands here is not a whole number from 1 to 1024",
        ),
        (
            "[log]\nretention_bytes = 0\n".into(),
            "line 2: log.retention_bytes: what stands here is not a whole number from 1 on",
        ),
        (
            "[log.topics.issues]\nretention_bytes = 1.5\n".into(),
            "line 2: log.topics.issues.retention_bytes: what stands here is not a whole number from 1 on",
        ),
        (
            "[log]\nspool_max_bytes = -1\n".into(),
            "line 2: log.spool_max_bytes: what stands here is not a whole number from 0 on",
        ),
    ] {
        let error = load(&text, &[], Flags::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let text =
        format!("{pager}limits = {{ per_second = 10000, concurrency = 1 }}\n[log]\npartitions = 1024\n");
    assert_eq!(load(&text, &[], Flags::default()).unwrap().partitions, 1024);
}

#[test]
fn the_mistakes_of_all_targets_are_told_at_once() {
    let text = "[targets.a]\nkind = \"fax\"\n[targets.b]\nkind = \"slack\"\nlimits = { per_second = 0 }\n\
                [targets.c]\nkind = \"webhook\"\n[log]\npartitions = 0\n";
    let error = load(text, &[], Flags::default()).unwrap_err().to_string();
    let (head, told) = error.split_once('\n').unwrap();
    assert!(head.ends_with(" has 4 mistakes; breakdown.example.toml shows every key"), "{error}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "  line 9: log.partitions: what stands here is not a whole number from 1 to 1024",
            "  line 2: targets.a.kind: there is no such kind of target; write one of caldav, github, google-calendar, jira, pagerduty, \
             slack, webhook",
            "  line 5: targets.b.limits.per_second: what stands here is not a whole number from 1 to 10000",
            "  line 6: targets.c: missing field `url`",
        ]
    );
}

#[test]
fn an_empty_secret_counts_as_none() {
    let settings =
        load("[admin]\ntoken = \"\"\n[jira]\nwebhook_secret = \"\"\n", &[], Flags::default()).unwrap();
    assert!(settings.admin_token.is_none() && settings.jira_secret.is_none());
}

#[test]
fn networks_are_read_and_addresses_stand_for_themselves() {
    let file = "[webhooks]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::1\"]\n[github]\nallow_networks = [\"192.0.2.7\"]\n";
    let senders = load(file, &[], Flags::default()).unwrap().senders;
    let shown = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&senders.trusted_proxies), ["10.0.0.0/8", "fd00::1/128"]);
    assert_eq!(shown(&senders.github.unwrap()), ["192.0.2.7/32"]);
    assert!(senders.jira.is_none());
    for (section, key) in
        [("webhooks", "trusted_proxies"), ("github", "allow_networks"), ("jira", "allow_networks")]
    {
        let failure =
            load(&format!("[{section}]\n{key} = [\"github-meta\"]\n"), &[], Flags::default()).unwrap_err();
        assert!(failure.to_string().starts_with(&format!("{section}.{key}: ")), "{failure}");
    }
}

#[test]
fn an_account_has_a_name() {
    let error = load("[accounts]\njira = [\"a\", \" \"]\n", &[], Flags::default()).unwrap_err().to_string();
    assert!(error.contains("accounts.jira"), "{error}");
}
