//! The artifacts of a mission: what it left, shown as what it is (Markdown, a patch, an image, a text), and to download.
//!
//! What a mission wrote is never a page of this node. A text is shown within one of ours, as text or as the little that [`markdown`] lets
//! through; an image only where its bytes are those of a picture without scripts; everything else is a download that no browser opens here.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::diff;
use super::door::Viewer;
use super::frame::{Page, Refused};
use super::markdown::{self, Around};
use super::text::{block, bytes, cell, path, plain, str, with_query};
use crate::http::error::Problem;
use crate::mcp::Ask;

/// Bytes of an artifact that a page shows.
const SHOWN_MAX: usize = 256 << 10;
/// Images that the page of a mission shows at once; each of at most so many bytes.
const IMAGES_MAX: usize = 12;
const IMAGE_BYTES_MAX: u64 = 8 << 20;

/// Pictures that hold no scripts and name no addresses: their type, how their names end, and how their bytes begin. `????` is any.
const PICTURES: [(&str, &[&str], &[u8]); 4] = [
    ("image/png", &[".png"], b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", &[".jpg", ".jpeg"], b"\xff\xd8\xff"),
    ("image/gif", &[".gif"], b"GIF8"),
    ("image/webp", &[".webp"], b"RIFF????WEBP"),
];

/// The type of a picture that begins so.
fn picture(begins: &[u8]) -> Option<&'static str> {
    let fits = |signs: &[u8]| {
        begins.len() >= signs.len() && signs.iter().zip(begins).all(|(sign, byte)| *sign == b'?' || sign == byte)
    };
    PICTURES.iter().find(|(_, _, signs)| fits(signs)).map(|(kind, ..)| *kind)
}

/// Whether something of that name may be a picture.
pub(super) fn is_image(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PICTURES.iter().any(|(_, ends, _)| ends.iter().any(|end| name.ends_with(end)))
}

fn is_text(artifact: &Value) -> bool {
    let (media_type, name) = (str(artifact, "media_type"), str(artifact, "name"));
    let ends = [".md", ".txt", ".json", ".jsonl", ".patch", ".diff", ".csv", ".toml", ".yaml", ".yml", ".log"];
    media_type.starts_with("text/")
        || media_type.contains("json")
        || media_type.contains("xml")
        || ends.iter().any(|end| name.ends_with(end))
}

fn is_markdown(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".md") || name.ends_with(".markdown")
}

/// The artifacts of a mission, on its page.
pub(super) fn listed(mission: &Value) -> Markup {
    let id = str(mission, "mission_id");
    let artifacts = mission["artifacts"].as_array().map_or(&[][..], Vec::as_slice);
    let is_shown = |artifact: &&Value| {
        is_image(str(artifact, "name")) && artifact["bytes"].as_u64().is_some_and(|bytes| bytes <= IMAGE_BYTES_MAX)
    };
    let images: Vec<&Value> = artifacts.iter().filter(is_shown).take(IMAGES_MAX).collect();
    html! {
        @if !artifacts.is_empty() {
            section aria-labelledby="artifacts" {
                h2 id="artifacts" { "Artifacts" }
                div class="wide" tabindex="0" role="group" aria-label="Artifacts" {
                    table {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" { "Size" } th scope="col" { "Get" } } }
                        tbody {
                            @for artifact in artifacts {
                                @let name = str(artifact, "name");
                                tr {
                                    th scope="row" {
                                        @if is_text(artifact) || is_image(name) { a href=(below(&["missions", id, "files"], name)) { (plain(name)) } } @else { (plain(name)) }
                                    }
                                    td data-label="Type" { (cell(&artifact["media_type"])) }
                                    td class="num" data-label="Size" { (bytes(&artifact["bytes"])) }
                                    td { a href=(below(&["missions", id, "download"], name)) download { "Download" span class="sr" { " " (plain(name)) } } }
                                }
                            }
                        }
                    }
                }
                @if !images.is_empty() {
                    ul class="pictures" {
                        @for name in images.iter().map(|image| str(image, "name")) {
                            li {
                                a href=(below(&["missions", id, "files"], name)) aria-label=(plain(name)) {
                                    img src=(below(&["missions", id, "images"], name)) alt=(plain(name)) loading="lazy";
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The path of an artifact: the steps of its name are steps of the path.
pub(super) fn below(steps: &[&str], name: &str) -> String {
    let steps: Vec<&str> = steps.iter().copied().chain(name.split('/')).collect();
    path(&steps)
}

fn artifact(id: &str, name: &str) -> Ask {
    let steps = ["v1", "missions", id, "artifacts"].into_iter().chain(name.split('/'));
    Ask::new(axum::http::Method::GET, steps)
}

/// How an artifact is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileQuery {
    /// `text`: as it was written.
    r#as: String,
}

/// `GET /missions/{id}/files/{name}`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Path((id, name)): Path<(String, String)>,
    Read(query): Read<FileQuery>,
) -> Result<Response, Refused> {
    let own = below(&["missions", &id, "files"], &name);
    let (shown, other) = if is_image(&name) {
        // Whether it is there is told here, and not by a picture that is missing.
        let list = web.get(&viewer, &["v1", "missions", &id, "artifacts"]).await?;
        if !items(&list).iter().any(|artifact| str(artifact, "name") == name) {
            return Err(Refused::missing("There is no such artifact of this mission.").seen_by(&viewer));
        }
        let image =
            html! { p { img class="picture" src=(below(&["missions", &id, "images"], &name)) alt=(plain(&name)); } };
        (image, None)
    } else {
        let Beginning { text, is_part } = web.beginning(&viewer, &id, &name).await?;
        let as_text =
            html! { pre class="text" tabindex="0" role="region" aria-label="Text of the artifact" { (block(&text)) } };
        let (shown, other) = match () {
            () if query.r#as == "text" => (as_text, Some((own.clone(), "Show it as what it is"))),
            () if name.ends_with(".patch") || name.ends_with(".diff") => {
                (diff::patch(&text), Some((with_query(&own, &[("as", "text")]), "Show its text")))
            }
            () if is_markdown(&name) => {
                let list = web.get(&viewer, &["v1", "missions", &id, "artifacts"]).await?;
                let names: Vec<&str> = items(&list).iter().map(|artifact| str(artifact, "name")).collect();
                let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                let (of, own_name) = (id.clone(), name.clone());
                // A large one takes its time.
                let rendered = tokio::task::spawn_blocking(move || {
                    markdown::rendered(&text, &Around::new(&of, &own_name, names.iter().map(String::as_str)))
                });
                let rendered = rendered
                    .await
                    .map_err(|error| Refused::problem(Some(&viewer), &Problem::task_failed(&error).body()))?;
                let shown = html! { article class="markdown" { (PreEscaped(rendered)) } };
                (shown, Some((with_query(&own, &[("as", "text")]), "Show its text")))
            }
            () => (as_text, None),
        };
        (html! { @if is_part { p class="notice" { "Only its beginning is shown." } } (shown) }, other)
    };
    let main = html! {
        h1 { (plain(&name)) }
        p {
            "Of " a href=(path(&["missions", &id])) { (plain(&id)) } ". "
            a href=(below(&["missions", &id, "download"], &name)) download { "Download" }
            @if let Some((address, words)) = other { " · " a href=(address) { (words) } }
        }
        (shown)
    };
    Ok(Page { title: &name, at: "/missions", main }.shown(&web, &viewer))
}

/// The beginning of an artifact, as a text.
struct Beginning {
    text: String,
    is_part: bool,
}

impl Web {
    async fn beginning(&self, viewer: &Viewer, id: &str, name: &str) -> Result<Beginning, Refused> {
        let ask = artifact(id, name).with_header(header::RANGE, format!("bytes=0-{}", SHOWN_MAX - 1));
        let (parts, body) = match self.send(viewer, ask).await {
            Ok(response) => response.into_parts(),
            // An empty one has no part.
            Err(refused) if refused.code == "range_not_satisfiable" => {
                self.send(viewer, artifact(id, name)).await?.into_parts()
            }
            Err(refused) => return Err(refused),
        };
        let range = parts.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let is_part = range.is_some_and(|range| {
            let total = range.rsplit('/').next().and_then(|total| total.parse::<usize>().ok());
            total.is_some_and(|total| total > SHOWN_MAX)
        });
        let read = axum::body::to_bytes(body, SHOWN_MAX + 1).await;
        let read =
            read.map_err(|error| Refused::bad(&format!("The artifact cannot be read: {error}")).seen_by(viewer))?;
        Ok(Beginning { text: String::from_utf8_lossy(&read).into_owned(), is_part })
    }
}

/// `GET /missions/{id}/images/{name}`: the bytes of a picture, as that and as nothing else.
pub(super) async fn image(
    viewer: Viewer,
    State(web): State<Web>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let response = web.send(&viewer, artifact(&id, &name)).await?;
    let length = response.headers().get(header::CONTENT_LENGTH).cloned();
    let mut body = response.into_body().into_data_stream();
    // What its bytes say counts, whatever it is called.
    let mut begins = BytesMut::new();
    while begins.len() < 16
        && let Some(piece) = body.next().await
    {
        let piece = piece.map_err(|error| Refused::bad(&format!("The artifact cannot be read: {error}")))?;
        begins.extend_from_slice(&piece);
    }
    let Some(kind) = picture(&begins) else {
        let said = "This artifact is no picture that is shown here: PNG, JPEG, GIF and WebP are. It can be downloaded.";
        return Err(Refused::bad(said).seen_by(&viewer));
    };
    let whole = stream::iter([Ok(begins.freeze())]).chain(body);
    let mut response = Body::from_stream(whole).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(response)
}

/// `GET /missions/{id}/download/{name}`: the bytes, which no browser opens as a page of this node.
pub(super) async fn download(
    viewer: Viewer,
    State(web): State<Web>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut ask = artifact(&id, &name);
    for known in [header::RANGE, header::IF_RANGE] {
        if let Some(value) = headers.get(&known).and_then(|value| value.to_str().ok()) {
            ask = ask.with_header(known, value);
        }
    }
    let mut response = web.send(&viewer, ask).await?;
    let saved = name.rsplit('/').next().unwrap_or_default();
    let ascii: String =
        saved.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{ascii}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    let none_of_ours = [
        // Whatever the plugin called it: a script of ours has another type, and nothing else counts as one.
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    for (name, value) in none_of_ours {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_bytes_say() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\x00\x01\x02\x03WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x00\x01\x02\x03WAVE", None),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"<html>", None),
            (b"\x89PN", None),
            (b"", None),
        ] {
            assert_eq!(picture(bytes), expected, "{bytes:?}");
        }
        for (name, expected) in [("a.PNG", true), ("a/b.jpeg", true), ("a.svg", false), ("png", false)] {
            assert_eq!(is_image(name), expected, "{name}");
        }
    }
}
