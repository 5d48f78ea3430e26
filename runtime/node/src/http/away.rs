//! While the database that keeps the missions is away: who asks is told to come back, and no thread waits for it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::error::Problem;

/// What is told then.
pub(super) const STORE_AWAY: &str = "store_away";

/// Lets a request through, unless the log could not be read for it.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.engine.log().is_away() { problem().into_response() } else { next.run(request).await }
}

pub(super) fn problem() -> Problem {
    Problem::unavailable(
        STORE_AWAY,
        "the database that keeps the missions is away; nothing that was accepted is lost, and it is tried again and again",
    )
}
