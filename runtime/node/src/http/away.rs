//! While the database that keeps the missions is away: who asks is told to come back, and who was asking when it went does not wait for it.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::error::Problem;
use sortie_engine::Engine;

/// What is told then.
pub(super) const STORE_AWAY: &str = "store_away";

/// How often it is looked whether it has gone, while somebody waits for an answer.
const LOOK: Duration = Duration::from_millis(100);

/// Lets a request through, unless the log could not be read for it. One that only reads is given up when the database goes meanwhile; what
/// changes something is on its way, and its end is told.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.engine.log().is_away() {
        return problem().into_response();
    }
    let only_reads = [Method::GET, Method::HEAD].contains(request.method());
    let answer = next.run(request);
    if !only_reads {
        return answer.await;
    }
    unless(&app.engine, async { Ok(answer.await) }).await.unwrap_or_else(Problem::into_response)
}

/// What comes of `reading`, unless the database goes away before that.
pub(super) async fn unless<T>(
    engine: &Engine,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let goes = async {
        loop {
            engine.ambient().sleep(LOOK).await;
            if engine.log().is_away() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        read = reading => read,
        () = goes => Err(problem()),
    }
}

pub(super) fn problem() -> Problem {
    Problem::unavailable(
        STORE_AWAY,
        "the database that keeps the missions is away; nothing that was accepted is lost, and it is tried again and again",
    )
}
