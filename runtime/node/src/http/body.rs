//! Bodies of requests: bounded in length and in the time that they may take.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use futures_util::StreamExt as _;
use serde_json::Value;
use sortie_contract::Mistake;
use sortie_contract::envelope::read_strictly;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::error::Problem;

/// How long a body may take: a megabyte over a slow line.
const TIME: Duration = Duration::from_secs(30);

/// A body, or the problem that says why there is none.
pub(crate) struct Body(pub(crate) Bytes);

impl FromRequest<App> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        whole(request, app.body_bytes).await.map(Self)
    }
}

/// The whole of a body that has at most so many bytes.
pub(crate) async fn whole(request: Request, limit: usize) -> Result<Bytes, Problem> {
    read(request, limit, TIME).await.map_err(|error| match error {
        Unread::TooLarge => too_large(limit),
        error => error.into(),
    })
}

/// The JSON of a body, and what is wrong with it though it can be read: as strict as an envelope, because of two equal keys in a
/// decision one says the contrary of the other. `form` says what it must look like.
pub(super) fn json(body: &[u8], form: &str) -> Result<(Value, Vec<Mistake>), Problem> {
    let unread = |why: &str| Problem::bad_request(format!("the body must be {form}: {why}"));
    let text = std::str::from_utf8(body).map_err(|error| unread(&error.to_string()))?;
    read_strictly(text).map_err(|mistake| unread(&mistake.detail))
}

/// The answer to a body over the limit of the configuration.
pub(super) fn too_large(limit: usize) -> Problem {
    let detail = format!("an envelope, as any body of this interface, has at most {limit} bytes (`limits.body_bytes`)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    Broken(axum::Error),
}

impl From<Unread> for Problem {
    fn from(error: Unread) -> Self {
        match error {
            Unread::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large"),
            Unread::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took too long to arrive"),
            Unread::Broken(error) => Self::bad_request(format!("the body broke off: {error}")),
        }
    }
}

/// Reads a body of at most `limit` bytes. One that says beforehand that it is larger is not read at all.
pub(super) async fn read(request: Request, limit: usize, time: Duration) -> Result<Bytes, Unread> {
    let mut chunks = Chunks::of(request, limit, time)?;
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await? {
        // The most frequent body comes at once.
        if chunks.declared == Some(chunk.len()) {
            return Ok(chunk);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// A body, piece by piece: bounded as a whole.
pub(super) struct Chunks {
    /// Let go of when too much came.
    stream: Option<BodyDataStream>,
    declared: Option<usize>,
    left: usize,
    deadline: Instant,
}

impl Chunks {
    /// Of a body of at most `limit` bytes that may take so long.
    pub(super) fn of(request: Request, limit: usize, time: Duration) -> Result<Self, Unread> {
        let declared = request.headers().get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|declared: usize| declared > limit) {
            return Err(Unread::TooLarge);
        }
        let stream = request.into_body().into_data_stream();
        Ok(Self { stream: Some(stream), declared, left: limit, deadline: Instant::now() + time })
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Unread> {
        let Some(stream) = &mut self.stream else { return Err(Unread::TooLarge) };
        match timeout_at(self.deadline, stream.next()).await {
            Ok(Some(Ok(chunk))) if chunk.len() > self.left => {
                self.stream = None;
                Err(Unread::TooLarge)
            }
            Ok(Some(Ok(chunk))) => {
                self.left -= chunk.len();
                Ok(Some(chunk))
            }
            Ok(Some(Err(error))) => Err(Unread::Broken(error)),
            Ok(None) => Ok(None),
            Err(_) => Err(Unread::TooSlow),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn request(declared: Option<&str>, chunks: Vec<&'static str>, ends: bool) -> Request {
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let end = stream::once(async move {
            if !ends {
                std::future::pending::<()>().await;
            }
            Ok("")
        });
        let mut request = Request::new(axum::body::Body::from_stream(chunks.chain(end)));
        if let Some(declared) = declared {
            request.headers_mut().insert(header::CONTENT_LENGTH, declared.parse().expect("a header"));
        }
        request
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_in_length_and_time() {
        for (declared, chunks, ends, expected) in [
            (None, vec![], true, "\"\""),
            (None, vec!["ab", "cde"], true, "\"abcde\""),
            (Some("5"), vec!["abcde"], true, "\"abcde\""),
            (Some("5"), vec!["ab", "cde"], true, "\"abcde\""),
            (None, vec!["abcde", "f"], true, "TooLarge"),
            // Said to be too large: nothing is waited for.
            (Some("6"), vec![], false, "TooLarge"),
            (None, vec!["ab"], false, "TooSlow"),
        ] {
            let label = format!("{declared:?} {chunks:?}");
            let begun = Instant::now();
            let said = match read(request(declared, chunks, ends), 5, TIME).await {
                Ok(body) => format!("{:?}", String::from_utf8_lossy(&body)),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(said, expected, "{label}");
            assert_eq!(begun.elapsed() >= TIME, expected == "TooSlow", "{label}");
        }
    }
}
