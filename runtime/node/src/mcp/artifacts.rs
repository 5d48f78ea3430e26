//! Artifacts for agents: a tool that reads them piece by piece, and resources.

use axum::body::to_bytes;
use axum::http::{Method, header};
use serde_json::{Map, Value, json};
use sortie_mcp::serve::{Answer, Body, Content, Contents, Fault, Template};

use super::api::{self, Api, Ask, Trouble};
use super::{Service, tools};

/// Most bytes of a piece, and how many unless a call says it. A model reads them all.
const PIECE_MAX: u64 = 256 << 10;
const PIECE: u64 = 32 << 10;

/// Most bytes of an artifact that is read whole, as a resource.
const WHOLE_MAX: u64 = 1 << 20;

/// What the addresses of artifacts begin with.
const SCHEME: &str = "sortie://missions/";

pub(super) fn template() -> Template {
    Template {
        address: format!("{SCHEME}{{mission_id}}/artifacts/{{+name}}"),
        name: "artifact".to_owned(),
        description: format!("An artifact of a mission, of up to {WHOLE_MAX} bytes; read_artifact reads longer ones"),
        media_type: None,
    }
}

pub(super) fn input() -> Map<String, Value> {
    tools::object(json!({
        "type": "object",
        "properties": {
            "mission_id": {"type": "string"},
            "name": {"type": "string", "description": "The artifact's name, as list_artifacts has it."},
            "offset": {"type": "integer", "minimum": 0, "default": 0, "description": "The first byte: the `next_offset` of the piece before."},
            "length": {"type": "integer", "minimum": 1, "maximum": PIECE_MAX, "default": PIECE, "description": "Most bytes of the piece."},
        },
        "required": ["mission_id", "name"],
        "additionalProperties": false,
    }))
}

pub(super) fn output() -> Map<String, Value> {
    tools::object(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "media_type": {"type": "string"},
            "bytes": {"type": "integer", "description": "Of the whole artifact."},
            "sha256": {"type": "string", "description": "Of the whole artifact, in hex."},
            "offset": {"type": "integer"},
            "next_offset": {"type": ["integer", "null"], "description": "Where the next piece begins; null at the end."},
        },
        "required": ["name", "media_type", "bytes", "sha256", "offset", "next_offset"],
    }))
}

/// A piece of an artifact.
struct Piece {
    media_type: String,
    /// Of the whole artifact.
    total: u64,
    sha256: String,
    bytes: Vec<u8>,
}

impl<A: Api> Service<A> {
    /// A piece of an artifact, and the piece's place.
    pub(super) async fn read_artifact(
        &self,
        caller: &A::Caller,
        mut arguments: Map<String, Value>,
    ) -> Result<Answer, Trouble> {
        let mission = tools::text(&mut arguments, "mission_id")?;
        let name = tools::text(&mut arguments, "name")?;
        let mut number = |key: &str, default: u64, least: u64, most: u64| match arguments.remove(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| Trouble::Arguments(format!("`{key}` must be a number from {least} to {most}"))),
        };
        let offset = number("offset", 0, 0, u64::MAX >> 1)?;
        let length = number("length", PIECE, 1, PIECE_MAX)?;
        if let Some(other) = arguments.keys().next() {
            return Err(Trouble::Arguments(format!("there is no argument `{}`", tools::clip(other))));
        }
        let mut piece = self.piece(caller, &mission, &name, offset, length).await?;
        let address = address(&mission, &name);
        let is_last = offset + piece.bytes.len() as u64 >= piece.total;
        if !is_last {
            whole_characters(&mut piece.bytes);
        }
        let next = offset + piece.bytes.len() as u64;
        let data = json!({
            "name": name, "media_type": piece.media_type, "bytes": piece.total, "sha256": piece.sha256, "offset": offset,
            "next_offset": if next < piece.total { json!(next) } else { Value::Null },
        });
        let content = match body(piece.bytes) {
            Body::Text(text) => Content::Text(text),
            body @ Body::Bytes(_) => Content::Resource(Contents { address, media_type: piece.media_type, body }),
        };
        Ok(Answer { content: vec![content], data: Some(data), is_error: false })
    }

    /// What there is at an address of an artifact.
    pub(super) async fn artifact_at(&self, caller: &A::Caller, address: &str) -> Result<Contents, Fault> {
        let unknown = || {
            Fault::unknown(format!("there is no resource `{}`: {} has them", tools::clip(address), template().address))
        };
        let (mission, name) = named(address).ok_or_else(unknown)?;
        let piece = self.piece(caller, &mission, &name, 0, WHOLE_MAX).await.map_err(Fault::from)?;
        if piece.total > WHOLE_MAX {
            let told = format!("it has {} bytes: read_artifact reads it piece by piece", piece.total);
            return Err(Fault::invalid(told));
        }
        Ok(Contents { address: address.to_owned(), media_type: piece.media_type, body: body(piece.bytes) })
    }

    async fn piece(
        &self,
        caller: &A::Caller,
        mission: &str,
        name: &str,
        offset: u64,
        length: u64,
    ) -> Result<Piece, Trouble> {
        let path = ["v1", "missions", mission, "artifacts"].into_iter().chain(name.split('/'));
        let last = offset.saturating_add(length - 1);
        let ask = Ask::new(Method::GET, path).with_header(header::RANGE, format!("bytes={offset}-{last}"));
        let response = match api::good(&self.api, caller, ask.clone()).await {
            // Of nothing there is no part.
            Err(trouble) if offset == 0 && trouble.code() == Some("range_not_satisfiable") => {
                let ask = Ask { headers: Vec::new(), ..ask };
                api::good(&self.api, caller, ask).await?
            }
            response => response?,
        };
        let (head, content) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let total = text(header::CONTENT_RANGE).rsplit_once('/').and_then(|(_, total)| total.parse().ok());
        let (media_type, sha256) =
            (text(header::CONTENT_TYPE).to_owned(), text(header::ETAG).trim_matches('"').to_owned());
        let most = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = to_bytes(content, most).await;
        let bytes = bytes.map_err(|error| Trouble::Away(format!("the artifact broke off: {error}")))?;
        let total = total.unwrap_or(bytes.len() as u64);
        Ok(Piece { media_type, total, sha256, bytes: bytes.to_vec() })
    }
}

/// A piece that is cut within a character ends before it. One that is no text stays as it is.
fn whole_characters(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        bytes.truncate(error.valid_up_to());
    }
}

fn body(bytes: Vec<u8>) -> Body {
    match String::from_utf8(bytes) {
        Ok(text) => Body::Text(text),
        Err(error) => Body::Bytes(error.into_bytes()),
    }
}

fn address(mission: &str, name: &str) -> String {
    let base = url::Url::parse("sortie://missions").expect("a URL");
    let path = [mission, "artifacts"].into_iter().chain(name.split('/'));
    Ask::new(Method::GET, path).url(&base).to_string()
}

/// The mission and the name of an artifact's address.
fn named(address: &str) -> Option<(String, String)> {
    let (mission, name) = address.strip_prefix(SCHEME)?.split_once("/artifacts/")?;
    let open = |text: &str| {
        // What is escaped in an address is as in a form, but for the plus.
        let pairs = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    let (mission, name) = (open(mission)?, open(name)?);
    (!mission.is_empty() && !name.is_empty()).then_some((mission, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_what_it_was_made_of() {
        for (mission, name, written) in [
            ("m-1", "report.md", "sortie://missions/m-1/artifacts/report.md"),
            ("s:20260101T000000Z", "a/b c.md", "sortie://missions/s:20260101T000000Z/artifacts/a/b%20c.md"),
            ("m", "1+1&2=50%.md", "sortie://missions/m/artifacts/1+1&2=50%25.md"),
        ] {
            assert_eq!(address(mission, name), written);
            assert_eq!(named(written), Some((mission.to_owned(), name.to_owned())), "{written}");
        }
        for other in
            ["", "sortie://missions/m", "sortie://missions//artifacts/a", "sortie://missions/m/artifacts/", "file:///a"]
        {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn a_cut_text_ends_with_a_whole_character() {
        for (bytes, expected) in [
            ("aß".as_bytes().to_vec(), "aß".as_bytes().to_vec()),
            (b"a\xc3".to_vec(), b"a".to_vec()),
            // No text at all.
            (b"\xc3".to_vec(), b"\xc3".to_vec()),
            (b"\xff\xc3".to_vec(), b"\xff\xc3".to_vec()),
        ] {
            let mut cut = bytes.clone();
            whole_characters(&mut cut);
            assert_eq!(cut, expected, "{bytes:?}");
        }
    }
}
