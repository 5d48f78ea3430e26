//! A night at a glance.

use axum::extract::{Path, State};
use axum::response::Response;
use jiff::civil::Date;

use super::App;
use super::error::Problem;
use super::query::NoParameters;

/// What stands for the date of the night in which it is now.
const CURRENT: &str = "current";

/// `GET /v1/nights/{date}`
pub(super) async fn show(
    State(app): State<App>,
    Path(date): Path<String>,
    _: NoParameters,
) -> Result<Response, Problem> {
    let date = if date == CURRENT { None } else { Some(read(&date)?) };
    app.shown(move |engine| engine.night(date)).await
}

fn read(date: &str) -> Result<Date, Problem> {
    let read = Some(date).filter(|date| date.len() == "2026-11-26".len()).and_then(|date| date.parse::<Date>().ok());
    let read = read.filter(|date| (1..9_999).contains(&date.year()));
    read.ok_or_else(|| {
        let detail = "a night is named by the date on which it ends, such as `2026-11-26`, or `current`";
        Problem::bad_request(detail)
    })
}
