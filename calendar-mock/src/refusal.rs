//! Why a request did not get its true answer, and how faults end one.

use std::{future::pending, time::Duration};

use axum::response::{IntoResponse, Response};

use crate::{
    CalendarMock, Collection, Fault, Kind, fault, google, problem::Problem, server::CloseConnection,
};

/// Why a request did not get its true answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    Problem(Problem),
    Google(google::Error),
    Close,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<google::Error> for Refusal {
    fn from(error: google::Error) -> Self {
        Self::Google(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Google(error) => error.into_response(),
            Self::Close => {
                let mut response = Problem::new(500, "the connection was to be closed").into_response();
                response.extensions_mut().insert(CloseConnection);
                response
            }
        }
    }
}

/// Lets a request end as the fault says, in the shape that its API gives a refusal; returns when it is to go on.
pub(crate) async fn end<R: Into<Refusal>>(fault: &Fault, shaped: fn(&Fault) -> R) -> Result<(), Refusal> {
    match fault.kind {
        Kind::Delay => Ok(()),
        Kind::Hang => pending().await,
        Kind::Close => Err(Refusal::Close),
        Kind::Status => Err(shaped(fault).into()),
    }
}

/// Does the work of a request to `collection`, unless it meets a fault that comes before the work, or one after.
pub(crate) async fn work<T, R: Into<Refusal>>(
    mock: &CalendarMock,
    collection: Collection,
    shaped: fn(&Fault) -> R,
    work: impl FnOnce() -> T,
) -> Result<T, Refusal> {
    let fault = fault::take(&mut mock.lock().faults, collection);
    if let Some(fault) = &fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if !fault.after_work {
            end(fault, shaped).await?;
        }
    }
    let done = work();
    if let Some(fault) = fault.filter(|fault| fault.after_work) {
        end(&fault, shaped).await?;
    }
    Ok(done)
}
