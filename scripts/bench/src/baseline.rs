//! `bench baseline`: axum handlers to compare with. They do what they say and nothing durable.
#![allow(dead_code, reason = "the payload's fields are parsed for what it costs")]

use std::{borrow::Cow, hint::black_box, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Result, signature::Key};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the handler does
    #[arg(long)]
    handler: Handler,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The secret to verify with
    #[arg(long, default_value = "bench")]
    secret: String,
    /// One thread without work stealing, instead of a worker for each core that the process may use (as `serve` has)
    #[arg(long)]
    pub(crate) single: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Handler {
    /// Reads the whole body.
    Read,
    /// Reads it, verifies its signature and parses the fields that an event is made of.
    Verify,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let handler = match args.handler {
        Handler::Read => post(read),
        Handler::Verify => post(verify).with_state(Arc::new(Key::new(&args.secret)?)),
    };
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    println!("  webhooks   http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/github/issues", handler)).await?;
    Ok(())
}

/// As long as the answer of the receiver.
fn accepted() -> Response {
    let body: Value = json!({"event_id": "gh-00000000000000000000000000000000", "topic": "issues", "partition": 0, "offset": 123456});
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn read(body: Bytes) -> Response {
    black_box(&body);
    accepted()
}

async fn verify(State(key): State<Arc<Key>>, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers.get("x-hub-signature-256");
    if !signature.is_some_and(|signature| key.verify(signature.as_bytes(), &body)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match serde_json::from_slice::<Payload<'_>>(&body) {
        Ok(payload) => {
            black_box(&payload);
            accepted()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// A string of the payload: borrowed from it unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What an event is made of. The fields are parsed for their cost; nobody reads them.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    issue: Issue<'a>,
    label: Option<Label<'a>>,
    assignee: Option<User<'a>>,
    milestone: Option<Milestone<'a>>,
    repository: Repository<'a>,
    sender: User<'a>,
}

#[derive(Deserialize)]
struct Issue<'a> {
    number: u64,
    #[serde(borrow)]
    title: Text<'a>,
    html_url: Text<'a>,
    state: Text<'a>,
    labels: Vec<Label<'a>>,
    assignee: Option<User<'a>>,
    assignees: Vec<User<'a>>,
    milestone: Option<Milestone<'a>>,
    created_at: Text<'a>,
    updated_at: Text<'a>,
}

#[derive(Deserialize)]
struct Label<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    login: Text<'a>,
}

#[derive(Deserialize)]
struct Milestone<'a> {
    number: u64,
    #[serde(borrow)]
    due_on: Option<Text<'a>>,
    html_url: Text<'a>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Text<'a>,
    html_url: Text<'a>,
}
