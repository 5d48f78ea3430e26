//! The files of the pages: what is ours, and what others made, kept as it was got and held against its digest.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sortie_contract::digest::Digest;

use super::frame::Refused;

/// A file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// What is ours.
const OWN: [Asset; 2] = [
    Asset { name: "sortie.css", media_type: "text/css; charset=utf-8", bytes: include_bytes!("assets/sortie.css") },
    Asset { name: "icon.svg", media_type: "image/svg+xml", bytes: include_bytes!("assets/icon.svg") },
];

/// What others made, with where it is from.
const VENDORED: [(&str, Asset); 4] = [
    (
        "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
        // htmx.org 2.0.11, `dist/htmx.min.js`; 0BSD.
        Asset { name: "htmx.min.js", media_type: SCRIPT, bytes: include_bytes!("assets/htmx.min.js") },
    ),
    (
        "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
        // htmx-ext-sse 2.2.4, `dist/sse.min.js`; 0BSD.
        Asset { name: "htmx-ext-sse.min.js", media_type: SCRIPT, bytes: include_bytes!("assets/htmx-ext-sse.min.js") },
    ),
    (
        "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
        Asset { name: "htmx.LICENSE", media_type: TEXT, bytes: include_bytes!("assets/htmx.LICENSE") },
    ),
    (
        "a17d224ce9afdc21ec9491b76a2f5d036d19aa641ac4f85ca29c21f9f7e54fdf",
        Asset { name: "htmx-ext-sse.LICENSE", media_type: TEXT, bytes: include_bytes!("assets/htmx-ext-sse.LICENSE") },
    ),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

fn find(name: &str) -> Option<&'static Asset> {
    static OWN_ONES: &[Asset] = &OWN;
    static OTHERS: &[(&str, Asset)] = &VENDORED;
    OWN_ONES.iter().chain(OTHERS.iter().map(|(_, asset)| asset)).find(|asset| asset.name == name)
}

/// Where a file of that name is: the path changes with what is in it, so that a browser may keep it.
pub(super) fn path(name: &str) -> String {
    let version = find(name).map(version).unwrap_or_default();
    format!("/assets/{name}?v={version}")
}

fn version(asset: &Asset) -> String {
    Digest::of(asset.bytes).to_string()[..12].to_owned()
}

/// `GET /assets/{name}`: open to everybody, as the page on which one signs in needs them.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = find(&name) else {
        return Refused::missing("There is no such file.").into_response();
    };
    let tag = format!("\"{}\"", version(asset));
    let common =
        [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|known| known == tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, asset.media_type)], asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_is_as_it_was_got() {
        for (digest, asset) in &VENDORED {
            assert_eq!(Digest::of(asset.bytes).to_string(), *digest, "{}", asset.name);
        }
    }

    #[test]
    fn each_script_comes_with_its_licence() {
        for (_, script) in VENDORED.iter().filter(|(_, asset)| asset.media_type == SCRIPT) {
            let licence = format!("{}.LICENSE", script.name.trim_end_matches(".min.js"));
            assert!(find(&licence).is_some(), "{licence}");
        }
    }
}
