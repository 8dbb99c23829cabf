//! Secrets that can be recognised, through all that the program does with them; and then they are looked for wherever it speaks.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::{fs, path::Path};

use program::{Serve, breakdown, client, run, until};
use webhooks::{Provider, Secrets, sign};

/// Each secret has this in it.
const CANARY: &str = "c4n4ry";
const GITHUB: &str = "c4n4ry-github-9f31";
const RETIRED: &str = "c4n4ry-retired-77aa";
const JIRA: &str = "c4n4ry-jira-20bd";
const TOKEN: &str = "c4n4ry-token-e1c4";
const GITHUB_API: &str = "c4n4ry-githubtoken-b1f0";
const JIRA_API: &str = "c4n4ry-jiratoken-3e77";
const PASSWORD: &str = "c4n4ry-password-5d60";
/// One that reads as a number.
const NUMBER: &str = "4815162342108";

/// Fails where a secret can be read, as it is, as the bytes of a list, in hex or in base64.
#[track_caller]
fn tells_nothing(what: &str, said: &[u8]) {
    let bytes = |list: &str| list.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Base64 of the same three bytes, at each of the three places in a group.
    let base64 = ["YzRuNHJ5", "M0bjRye", "jNG40cn"];
    let forms = [CANARY.to_owned(), NUMBER.to_owned(), bytes(CANARY), hex(CANARY)];
    for form in forms.iter().map(String::as_str).chain(base64) {
        let Some(at) = said.windows(form.len()).position(|part| part.eq_ignore_ascii_case(form.as_bytes()))
        else {
            continue;
        };
        let around = &said[at.saturating_sub(200)..(at + 60).min(said.len())];
        panic!("{what} tells a secret: …{}…", String::from_utf8_lossy(around));
    }
}

#[test]
fn a_secret_would_be_found() {
    for said in [format!("x{TOKEN}"), NUMBER.into(), format!("{:?}", GITHUB.as_bytes()), "C4N4RY".into()] {
        std::panic::catch_unwind(|| tells_nothing("a test", said.as_bytes())).unwrap_err();
    }
    for pad in ["", "a", "ab"] {
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{pad}{TOKEN}"));
        std::panic::catch_unwind(|| tells_nothing("a test", encoded.as_bytes())).unwrap_err();
    }
    tells_nothing("a test", b"nothing of the kind");
}

/// An API that takes no token, so that there is something to complain about; its address.
async fn unfriendly() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async |headers: axum::http::HeaderMap| {
        assert!(headers.contains_key("authorization"));
        axum::http::StatusCode::UNAUTHORIZED
    });
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// What is swept there, as the sections `[github]` and `[jira]` end.
fn sweeps(github: &str, jira: &str, api: &str) -> String {
    format!(
        "[github]\n{github}api_base = \"{api}\"\nhooks = [{{ organisation = \"acme\", id = 1 }}]\n\
         [jira]\n{jira}api_base = \"{api}\"\nemail = \"me@example.com\"\nsweep_after = \"0s\"\n\
         [webhooks]\nsweep_every = \"1s\"\n"
    )
}

/// The text of every answer, status first.
async fn ask(request: reqwest::RequestBuilder) -> (u16, Vec<u8>) {
    let answer = request.send().await.unwrap();
    let mut said = format!("{:?} {:?}", answer.status(), answer.headers()).into_bytes();
    let status = answer.status().as_u16();
    said.extend(answer.bytes().await.unwrap());
    (status, said)
}

fn delivery(origin: &str, provider: Provider, secret: &str, body: &str) -> reqwest::RequestBuilder {
    let headers = sign(provider, &Secrets::parse(secret).unwrap(), "issues", "d-1", body.as_bytes());
    let request = client().post(format!("{origin}{}", provider.path())).body(body.to_owned());
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn whatever_is_sent_tells_nothing(serve: &Serve) {
    let payload = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/deliveries/github-issue-opened-p0.json"),
    )
    .unwrap();
    let send = |provider, secret, body: &str| delivery(&serve.webhooks, provider, secret, body);
    let url = format!("{}/github/issues", serve.webhooks);
    let get = |origin: &str, path: &str| client().get(format!("{origin}{path}"));
    let requests = [
        (202, send(Provider::Github, GITHUB, &payload)),
        (202, send(Provider::Github, RETIRED, &payload)),
        (400, send(Provider::Jira, JIRA, "{")),
        (400, send(Provider::Github, GITHUB, "[1]")),
        (401, send(Provider::Github, JIRA, &payload)),
        (401, client().post(&url).body("{}")),
        (401, client().post(&url).header("x-hub-signature-256", "sha256=").body("{}")),
        (415, send(Provider::Github, GITHUB, &payload).header("content-encoding", "gzip")),
        (404, get(&serve.webhooks, "/nothing")),
        (401, get(&serve.admin, "/api/projects")),
        (200, get(&serve.admin, "/api/projects").bearer_auth(TOKEN)),
        (401, get(&serve.admin, "/api/projects").bearer_auth(format!("{TOKEN}?"))),
        (404, get(&serve.admin, "/nothing").bearer_auth(TOKEN)),
        // Whoever mixes things up sends a secret itself, also to where it does not belong.
        (401, client().post(&url).header("x-hub-signature-256", GITHUB).body("{}")),
        (401, client().post(&url).bearer_auth(TOKEN).header("x-hub-signature-256", TOKEN).body(GITHUB)),
        (404, get(&serve.webhooks, "/api/projects").bearer_auth(TOKEN)),
        (401, get(&serve.admin, "/api/projects").header("authorization", GITHUB)),
    ];
    for (place, (expected, request)) in requests.into_iter().enumerate() {
        let (status, said) = ask(request).await;
        assert_eq!(status, expected, "request {place}: {}", String::from_utf8_lossy(&said));
        tells_nothing("an answer", &said);
    }
    until("outcomes are counted", async || {
        let (_, said) = ask(get(&serve.admin, "/metrics")).await;
        String::from_utf8_lossy(&said).contains("breakdown_outcomes_total")
    })
    .await;
    until("the tokens were sent and refused", async || {
        let (_, said) = ask(get(&serve.admin, "/health")).await;
        String::from_utf8_lossy(&said).matches("answered 401").count() == 2
    })
    .await;
    for origin in [&serve.webhooks, &serve.admin] {
        for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
            tells_nothing(path, &ask(get(origin, path)).await.1);
        }
    }
}

/// Serves with `configure`, at the most talkative level, and looks through everything that is left of it.
async fn serve_and_look(
    configure: impl FnOnce(&mut tokio::process::Command) -> &mut tokio::process::Command,
) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("stderr");
    let data = dir.path().join("data");
    let serve = Serve::start(&data, |command| {
        configure(command.env("RUST_LOG", "trace").stderr(fs::File::create(&log).unwrap()))
    })
    .await;
    whatever_is_sent_tells_nothing(&serve).await;
    serve.stop().await;
    let said = fs::read(&log).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("TRACE"), "the log was to be talkative");
    tells_nothing("the log", &said);
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        tells_nothing(&path.display().to_string(), &fs::read(&path).unwrap());
    }
}

#[tokio::test]
async fn no_secret_of_the_environment_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), sweeps("", "", &unfriendly().await)).unwrap();
    serve_and_look(|command| {
        command
            .env("GITHUB_WEBHOOK_SECRET", format!("{GITHUB},{RETIRED}"))
            .env("JIRA_WEBHOOK_SECRET", JIRA)
            .env("GITHUB_TOKEN", GITHUB_API)
            .env("JIRA_TOKEN", JIRA_API)
            .env("BREAKDOWN_ADMIN_TOKEN", TOKEN)
            .env("REDPANDA_SASL_USERNAME", "somebody")
            .env("REDPANDA_SASL_PASSWORD", PASSWORD)
            .arg("--config")
            .arg(file.path())
    })
    .await;
}

#[tokio::test]
async fn no_secret_of_the_file_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let github = format!("webhook_secret = \"{GITHUB},{RETIRED}\"\ntoken = \"{GITHUB_API}\"\n");
    let jira = format!("webhook_secret = \"{JIRA}\"\ntoken = \"{JIRA_API}\"\n");
    let text = format!(
        "{}[admin]\ntoken = \"{TOKEN}\"\n\
         [redpanda]\nsasl_username = \"somebody\"\nsasl_password = \"{PASSWORD}\"\n",
        sweeps(&github, &jira, &unfriendly().await)
    );
    fs::write(file.path(), text).unwrap();
    serve_and_look(|command| {
        command
            .env_remove("GITHUB_WEBHOOK_SECRET")
            .env_remove("JIRA_WEBHOOK_SECRET")
            .arg("--config")
            .arg(file.path())
    })
    .await;
}

/// Somewhere that takes whatever is sent and says that the credential is not valid.
async fn refusing() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let refuse = || async { (axum::http::StatusCode::UNAUTHORIZED, "{\"message\": \"Bad credentials\"}") };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(refuse)).await });
    base
}

#[tokio::test]
async fn no_credential_of_a_target_is_told() {
    let (base, dir) = (refusing().await, tempfile::tempdir().unwrap());
    let hook = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{TOKEN}-long-enough"));
    fs::write(dir.path().join("hooks"), format!("{base}/services/{PASSWORD}")).unwrap();
    // As long as a routing key.
    fs::write(dir.path().join("key"), format!("{CANARY}{:026}", 0)).unwrap();
    let text = format!(
        "[targets.chat]\nkind = \"slack\"\ntoken = {{ env = \"CHAT\" }}\nchannel = \"C0ALL\"\nbase = \"{base}\"\n\
         [targets.hooks]\nkind = \"slack\"\nwebhook_url = {{ file = \"{dir}/hooks\" }}\n\
         [targets.pager]\nkind = \"pagerduty\"\nservice = \"s\"\nservices = {{ s = {{ file = \"{dir}/key\" }} }}\nbase = \"{base}\"\n\
         [targets.code]\nkind = \"github\"\ntoken = {{ env = \"CODE\" }}\nbase = \"{base}\"\n\
         [targets.audit]\nkind = \"webhook\"\nsecret = {{ env = \"AUDIT\" }}\nurl = \"{base}\"\n\
         [targets.google]\nkind = \"google-calendar\"\ntoken = {{ env = \"CODE\" }}\nbase = \"{base}\"\n\
         [targets.dav]\nkind = \"caldav\"\nuser = \"u\"\npassword = {{ env = \"CHAT\" }}\nbase = \"{base}\"\ncalendar = \"/c/\"\n\
         [[routes]]\naction = \"escalate_owner\"\ntargets = [\"chat\", \"hooks\", \"pager\", \"code\", \"audit\"]\n\
         [[routes]]\naction = \"schedule_unblocker\"\ntargets = [\"google\", \"dav\"]\n",
        dir = dir.path().display(),
    );
    fs::write(dir.path().join("breakdown.toml"), sweeps("", "", &unfriendly().await) + &text).unwrap();
    serve_and_look(|command| {
        command
            .env("GITHUB_WEBHOOK_SECRET", format!("{GITHUB},{RETIRED}"))
            .env("JIRA_WEBHOOK_SECRET", JIRA)
            .env("BREAKDOWN_ADMIN_TOKEN", TOKEN)
            .env("GITHUB_TOKEN", GITHUB_API)
            .env("JIRA_TOKEN", JIRA_API)
            .env("CHAT", format!("xoxb-{TOKEN}"))
            .env("CODE", PASSWORD)
            .env("AUDIT", format!("whsec_{hook}"))
            .arg("--config")
            .arg(dir.path().join("breakdown.toml"))
    })
    .await;
}

#[tokio::test]
async fn no_mistake_in_the_configuration_tells_a_secret() {
    let (file, key) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(key.path(), TOKEN).unwrap();
    let key = key.path().display();
    for text in [
        format!("[github]\nwebhook_secret = {GITHUB}\n"),
        format!("[github]\nwebhook_secret = \"{GITHUB}\n"),
        format!("[github]\nwebhook_secret = \"{GITHUB}\" x\n"),
        format!("[github]\nwebhook_secret = [\"{GITHUB}\"]\n"),
        format!("[github]\nwebhook_secret = {{ {GITHUB} = 1 }}\n"),
        format!("[github]\nwebhook_secret = {NUMBER}\n"),
        format!("[github]\nwebhook_secret = \"{GITHUB}\"\nwebhook_secret = \"{RETIRED}\"\n"),
        format!("[github]\nwebhook_secrets = \"{GITHUB}\"\n"),
        format!("github = \"{GITHUB}\"\n"),
        format!("[github]\ntoken = {GITHUB_API}\n"),
        format!("[github]\ntoken = [\"{GITHUB_API}\"]\n"),
        format!("[github]\ntoken = {NUMBER}\n"),
        format!(
            "[github]\ntoken = \"{GITHUB_API}\"\napi_base = \"http://elsewhere\"\nhooks = [{{ app = true }}]\n"
        ),
        format!("[github]\napi_base = \"https://me:{GITHUB_API}@:x\"\nhooks = [{{ app = true }}]\n"),
        format!(
            "[github]\ntoken = \"x\"\napi_base = \"https://me:{GITHUB_API}@h\"\nhooks = [{{ organisation = \"a\", id = 1 }}]\n"
        ),
        format!("[jira]\ntoken = {{ {JIRA_API} = 1 }}\n"),
        format!("[jira]\napi_base = \"https://me:{JIRA_API}@h\"\ntoken = \"x\"\n"),
        format!("[admin]\ntoken = {NUMBER}\n"),
        format!("[admin]\ntoken = {NUMBER}.5\n"),
        format!("admin = \"{TOKEN}\"\n"),
        format!("[redpanda]\nbrokers = \"b:9\"\nsasl_password = \"{PASSWORD}\"\n"),
        format!("[redpanda]\nbrokers = \"b:9\"\nsasl_password = {NUMBER}\n"),
        format!("[redpanda]\ntls = \"{PASSWORD}\"\n"),
        format!("[github]\nwebhook_secret = \"{GITHUB},,{RETIRED}\"\n"),
        format!("[calendar]\napi_base = \"http://me:{PASSWORD}@127.0.0.1:9/api\"\n"),
        format!("[calendar]\napi_base = \"http://me:{PASSWORD}@:9\"\n"),
        format!("[executor]\nproxy = \"ftp://me:{PASSWORD}@proxy.test\"\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = \"{TOKEN}\"\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {NUMBER}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ env = \"{TOKEN}\" }}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ env = {NUMBER} }}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ file = \"{TOKEN}\" }}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ {TOKEN} = \"x\" }}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ {TOKEN} = {NUMBER} }}\n"),
        format!("[targets.x]\nkind = \"{TOKEN}\"\n"),
        // Of another form than its kind.
        format!("[targets.x]\nkind = \"pagerduty\"\nservices = {{ s = {{ file = \"{key}\" }} }}\n"),
        format!("[targets.x]\nkind = \"slack\"\ntoken = {{ file = \"{key}\" }}\n"),
        format!("[targets.x]\nkind = \"webhook\"\nurl = \"https://h\"\nsecret = {{ file = \"{key}\" }}\n"),
        format!(
            "[targets.x]\nkind = \"webhook\"\nurl = \"http://me:{PASSWORD}@127.0.0.1/\"\nsecret = {{ env = \"X\" }}\n"
        ),
        format!("[targets.x]\nkind = \"pagerduty\"\nservices = {{ s = \"{PASSWORD}\" }}\n"),
        format!("[targets.x]\nkind = \"caldav\"\npassword = \"{PASSWORD}\"\n"),
        format!("[targets.x]\nkind = \"google-calendar\"\nservice_account = \"{PASSWORD}\"\n"),
    ] {
        fs::write(file.path(), &text).unwrap();
        let mut command = breakdown();
        command.env_remove("GITHUB_WEBHOOK_SECRET").env("RUST_LOG", "trace");
        if text.contains(GITHUB_API) || text.contains(JIRA_API) {
            // So that there is nothing else to complain about.
            command.env("GITHUB_WEBHOOK_SECRET", GITHUB);
        }
        let data = tempfile::tempdir().unwrap();
        command.args([
            "serve",
            "--webhooks-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        let (out, err, code) = run(command.arg(data.path()).arg("--config").arg(file.path())).await;
        assert_eq!(code, 2, "{text}{err}");
        tells_nothing(&text.replace(CANARY, "…"), format!("{out}{err}").as_bytes());
    }
}
