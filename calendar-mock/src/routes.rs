//! The routes, and how a thing is made.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    BASE, CalendarMock, Collection, Fault, Kind, Meeting, Nudge, Stored, body,
    body::Checked,
    fault, google,
    problem::Problem,
    refusal::{Refusal, end, work},
    store::{Begun, Store},
};

/// The API under [`BASE`] and the health routes. [`Kind::Close`] needs [`crate::serve`]; under another server such a
/// request gets a 500.
pub fn router(mock: CalendarMock) -> Router {
    let api = Router::new()
        .route("/meetings", post(make::<Meeting>).get(list::<Meeting>))
        .route("/meetings/{id}", get(one::<Meeting>).delete(remove::<Meeting>))
        .route("/calendars/{id}", put(google::calendar))
        .route("/nudges", post(make::<Nudge>).get(list::<Nudge>))
        .route("/nudges/{id}", get(one::<Nudge>))
        .route("/faults", get(faults).put(replace_faults).post(add_faults).delete(clear_faults));
    Router::new()
        .nest(BASE, api)
        .nest(google::BASE, google::router())
        .route("/health", get(healthy))
        .route("/health/live", get(healthy))
        .route("/health/ready", get(healthy))
        .fallback(async || Problem::new(404, "there is nothing here"))
        .method_not_allowed_fallback(async || Problem::new(405, "this route has other methods"))
        .layer(DefaultBodyLimit::max(body::MAX_BYTES))
        .with_state(mock)
}

async fn healthy() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// A thing that the API makes.
trait Resource: Checked + Clone + PartialEq + Serialize + Send + Sync + 'static {
    const COLLECTION: Collection;
    const PATH: &'static str;

    fn store(state: &mut crate::State) -> &mut Store<Self>;
}

impl Resource for Meeting {
    const COLLECTION: Collection = Collection::Meetings;
    const PATH: &'static str = "meetings";

    fn store(state: &mut crate::State) -> &mut Store<Self> {
        &mut state.meetings
    }
}

impl Resource for Nudge {
    const COLLECTION: Collection = Collection::Nudges;
    const PATH: &'static str = "nudges";

    fn store(state: &mut crate::State) -> &mut Store<Self> {
        &mut state.nudges
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    idempotency_key: Option<String>,
}

async fn list<T: Resource>(
    State(mock): State<CalendarMock>,
    Query(wanted): Query<Wanted>,
) -> Json<Vec<Stored<T>>> {
    let mut list = T::store(&mut mock.lock()).list();
    if wanted.idempotency_key.is_some() {
        list.retain(|stored| stored.idempotency_key == wanted.idempotency_key);
    }
    Json(list)
}

async fn remove<T: Resource>(
    State(mock): State<CalendarMock>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let delete = || T::store(&mut mock.lock()).delete(&id);
    match work(&mock, T::COLLECTION, Problem::of, delete).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(404, "there is none with this id").into()),
    }
}

async fn one<T: Resource>(
    State(mock): State<CalendarMock>,
    Path(id): Path<String>,
) -> Result<Json<Stored<T>>, Problem> {
    let found = T::store(&mut mock.lock()).get(&id);
    found.map(Json).ok_or_else(|| Problem::new(404, "there is none with this id"))
}

async fn make<T: Resource>(
    State(mock): State<CalendarMock>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let key = idempotency_key(&headers)?;
    let item: T = body::checked(&body::bytes(bytes)?)?;
    let fault = fault::take(&mut mock.lock().faults, T::COLLECTION);
    let begun = T::store(&mut mock.lock()).begin(key, &item);
    let running = match &begun {
        Begun::First => Some(Running { mock: &mock, key, item }),
        Begun::Made(_) => None,
        Begun::OtherBody => {
            return Err(Problem::new(422, "this Idempotency-Key was used with another body").into());
        }
        Begun::Running => {
            return Err(Problem::new(409, "the first request with this Idempotency-Key still runs").into());
        }
    };
    if let Some(fault) = &fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if !fault.after_work {
            // The key is given back first: nothing will be made.
            let running = running.filter(|_| fault.kind == Kind::Delay);
            end(fault, Problem::of).await?;
            return Ok(created(&finish(running, begun)?));
        }
    }
    let stored = finish(running, begun)?;
    if let Some(fault) = &fault {
        end(fault, Problem::of).await?;
    }
    Ok(created(&stored))
}

/// The first request of a key: gives the key back when it is dropped before it made anything.
struct Running<'a, T: Resource> {
    mock: &'a CalendarMock,
    key: Option<&'a str>,
    item: T,
}

impl<T: Resource> Drop for Running<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            T::store(&mut self.mock.lock()).abandon(key);
        }
    }
}

/// Makes the thing, or finds what was made before.
fn finish<T: Resource>(running: Option<Running<'_, T>>, begun: Begun<T>) -> Result<Stored<T>, Refusal> {
    match (running, begun) {
        (Some(running), _) => {
            Ok(T::store(&mut running.mock.lock()).finish(running.key, running.item.clone()))
        }
        (None, Begun::Made(stored)) => Ok(stored),
        (None, _) => Err(Problem::new(500, "nothing was made").into()),
    }
}

fn created<T: Resource>(stored: &Stored<T>) -> Response {
    let mut response = (StatusCode::CREATED, Json(stored)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("{BASE}/{}/{}", T::PATH, stored.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|k| (1..=255).contains(&k.len()) && values.next().is_none());
    key.map(Some).ok_or_else(|| {
        Problem::new(400, "Idempotency-Key must be one value of 1 to 255 printable ASCII characters")
    })
}

async fn faults(State(mock): State<CalendarMock>) -> Json<Vec<Fault>> {
    Json(mock.faults())
}

fn read_faults(bytes: Result<Bytes, BytesRejection>) -> Result<Vec<Fault>, Problem> {
    let shape = "faults are a list of {kind: status|hang|close|delay, status, retry_after, reason, delay_ms, after_work, on, times}";
    let faults: Vec<Fault> = body::json(&body::bytes(bytes)?, shape)?;
    match faults.iter().find_map(Fault::problem) {
        Some(problem) => Err(Problem::new(422, problem)),
        None => Ok(faults),
    }
}

async fn replace_faults(
    State(mock): State<CalendarMock>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Fault>>, Problem> {
    let faults = read_faults(bytes)?;
    mock.lock().faults.clone_from(&faults);
    Ok(Json(faults))
}

async fn add_faults(
    State(mock): State<CalendarMock>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Fault>>, Problem> {
    let more = read_faults(bytes)?;
    let faults = &mut mock.lock().faults;
    if faults.len() + more.len() > 10_000 {
        return Err(Problem::new(422, "at most 10000 faults may wait"));
    }
    faults.extend(more);
    Ok(Json(faults.clone()))
}

async fn clear_faults(State(mock): State<CalendarMock>) -> StatusCode {
    mock.clear_faults();
    StatusCode::NO_CONTENT
}
