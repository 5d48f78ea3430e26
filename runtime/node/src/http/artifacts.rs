//! Artifacts over HTTP: the index, and the bytes with their digest as `ETag` and ranges (RFC 9110).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::App;
use super::error::Problem;
use super::query::NoParameters;
use sortie_contract::MissionNo;
use sortie_contract::digest::Digest;
use sortie_engine::ArtifactsOf;
use sortie_engine::look;
use sortie_engine::shown::Page;
use sortie_engine::views::Fold;

/// `GET /v1/missions/{id}/artifacts`
pub(super) async fn index(
    State(app): State<App>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    app.shown(move |engine| engine.view(no, |fold| Ok(Page::whole(look::artifacts(&fold.mission))))).await
}

/// `GET /v1/missions/{id}/artifacts/{name}`
pub(super) async fn bytes(
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    _: NoParameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let no = app.mission(id).await?;
    let found = app.reading(move |engine| {
        let named = |fold: &Fold| {
            let mut artifacts = fold.mission.artifacts().iter();
            let artifact = artifacts.find(|artifact| artifact.name.as_str() == name).cloned();
            Ok(artifact.map(|artifact| (artifact, engine.artifacts_of(no, fold.mission.envelope()))))
        };
        engine.view(no, named)
    });
    let (artifact, its) = found.await?.ok_or_else(|| Problem::not_found("such artifact of this mission"))?;
    let etag = format!("\"{}\"", artifact.sha256);
    let common = [
        (header::ETAG, etag.clone()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        // Content of a mission is data: a browser must not take it for a page of this node.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    let known = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| tags.to_str().is_ok_and(|tags| names(tags, &etag))) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let mut file = opened(&app, no, its, artifact.sha256).await?;
    let total = artifact.bytes;
    let current = known(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = known(header::RANGE).filter(|_| current).and_then(|text| Range::parse(text, total));
    let media_type = [(header::CONTENT_TYPE, artifact.media_type.clone())];
    match range {
        Some(Range::Unsatisfiable) => {
            let detail = format!("the artifact has {total} bytes, and none of them is in this range");
            let refused = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail);
            Ok((common, [(header::CONTENT_RANGE, format!("bytes */{total}"))], refused).into_response())
        }
        Some(Range::Part { first, last }) => {
            file.seek(std::io::SeekFrom::Start(first)).await.map_err(|error| Problem::internal(&error))?;
            let length = last - first + 1;
            let part = [
                (header::CONTENT_RANGE, format!("bytes {first}-{last}/{total}")),
                (header::CONTENT_LENGTH, length.to_string()),
            ];
            let body = Body::from_stream(ReaderStream::new(file.take(length)));
            Ok((StatusCode::PARTIAL_CONTENT, common, media_type, part, body).into_response())
        }
        None => {
            let whole = [(header::CONTENT_LENGTH, total.to_string())];
            Ok((common, media_type, whole, Body::from_stream(ReaderStream::new(file))).into_response())
        }
    }
}

/// The bytes as a file: where they lie, or, of what is in a store elsewhere, a copy that is gone when it is sent.
async fn opened(app: &App, no: MissionNo, its: ArtifactsOf, sha256: Digest) -> Result<tokio::fs::File, Problem> {
    let folder = app.artifacts.clone();
    let open = move || match its.place()? {
        Some((store, place)) => store.fetch(place, &sha256),
        None => folder.fetch(no, &sha256).map_err(|error| its.unread(&sha256, error)),
    };
    let opened = tokio::task::spawn_blocking(open).await.map_err(|error| Problem::task_failed(&error))?;
    opened.map(tokio::fs::File::from_std).map_err(|error| Problem::artifact(&error))
}

/// Whether a list of entity tags names this one. Compared weakly, as `If-None-Match` is (RFC 9110, section 13.1.2): a cache
/// that made a strong tag weak still holds the same bytes.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// A range of bytes, both ends included.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part { first: u64, last: u64 },
    Unsatisfiable,
}

impl Range {
    /// The range of a `Range` header. `None` where the whole is to be sent: not bytes, several ranges, or not in form
    /// (RFC 9110, section 14.2, lets a server ignore those).
    fn parse(text: &str, total: u64) -> Option<Self> {
        let spec = text.strip_prefix("bytes=")?.trim();
        let (first, last) = spec.split_once('-').filter(|_| !spec.contains(','))?;
        let (first, last) = match (first, last) {
            ("", suffix) => {
                let suffix: u64 = suffix.parse().ok()?;
                (
                    total.saturating_sub(suffix),
                    if suffix == 0 { return Some(Self::Unsatisfiable) } else { total.checked_sub(1)? },
                )
            }
            (first, "") => (first.parse().ok()?, total.saturating_sub(1)),
            (first, last) => {
                let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
                if last < first {
                    return None;
                }
                (first, last.min(total.saturating_sub(1)))
            }
        };
        Some(if first < total { Self::Part { first, last } } else { Self::Unsatisfiable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        for (tags, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("W/\"b\"", false),
            ("a", false),
            ("w/\"a\"", false),
            ("", false),
        ] {
            assert_eq!(names(tags, "\"a\""), expected, "{tags}");
        }
    }

    #[test]
    fn ranges() {
        let part = |first, last| Some(Range::Part { first, last });
        for (text, expected) in [
            ("bytes=0-3", part(0, 3)),
            ("bytes=5-", part(5, 9)),
            ("bytes=-4", part(6, 9)),
            ("bytes=-40", part(0, 9)),
            ("bytes=8-100", part(8, 9)),
            ("bytes=10-", Some(Range::Unsatisfiable)),
            ("bytes=-0", Some(Range::Unsatisfiable)),
            ("bytes=3-1", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(Range::parse(text, 10), expected, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Some(Range::Unsatisfiable));
    }
}
