//! What a call's result is for whoever made it: one shape, whatever the server.
//!
//! `text` is all text of the answer, its blocks in lines of their own. `structured` is there where the server says it in JSON, too.
//! `content` is there where the answer has more than text: every block, in its order.
//!
//! | block | becomes |
//! | --- | --- |
//! | `text` | `{type: "text", text}` |
//! | `image`, `audio` | `{type, media_type, data}` (base64) |
//! | `resource` | `{type: "resource", uri, media_type?, text}`, or `data` in place of `text` |
//! | `resource_link` | `{type: "resource_link", uri, name?, title?, description?, media_type?, bytes?}` |
//! | any other | `{type, omitted}` |
//!
//! What is too large for a result is left out, and `omitted` says so in its place: a picture must not cost a mission the text beside it.

use serde_json::{Map, Value, json};
use sortie_contract::limit;
use sortie_contract::tool::CallError;
use sortie_egress::Redactor;

/// Largest base64 of one block that is kept, in bytes: four MiB of a picture. Models take less.
const DATA_BYTES_MAX: usize = 6 << 20;

/// Most that all of them together may take: there is room for the text beside them.
const DATA_BYTES_ALL: usize = DATA_BYTES_MAX;

const _: () = assert!(DATA_BYTES_ALL + limit::TEXT_BYTES_MAX < limit::CALL_BYTES_MAX);

/// Most blocks of one answer.
const BLOCKS_MAX: usize = 1_000;

/// What the structured content of an answer is called in a result.
pub(crate) const STRUCTURED: &str = "structured";

/// The result, or the error that the server says it is.
pub(crate) fn result(answer: &Value, veil: &Redactor) -> Result<Value, CallError> {
    let no_blocks = Vec::new();
    let blocks = answer["content"].as_array().unwrap_or(&no_blocks);
    let texts = blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
    let text = texts.collect::<Vec<_>>().join("\n");
    if answer["isError"] == true {
        let told = if text.trim().is_empty() { "the server says that it failed, and not why" } else { text.trim() };
        return Err(CallError::Failed(veil.clipped(told, limit::NOTE_BYTES_MAX)));
    }
    let mut result = Map::new();
    result.insert("text".to_owned(), text.into());
    if let Some(structured) = answer.get("structuredContent") {
        result.insert(STRUCTURED.to_owned(), structured.clone());
    }
    if blocks.iter().any(|block| block["type"] != "text") {
        let mut room = DATA_BYTES_ALL;
        let mut shown: Vec<Value> = blocks.iter().take(BLOCKS_MAX).map(|block| shown(block, &mut room)).collect();
        if blocks.len() > BLOCKS_MAX {
            shown.push(json!({"type": "omitted", "omitted": format!("{} more blocks", blocks.len() - BLOCKS_MAX)}));
        }
        result.insert("content".to_owned(), shown.into());
    }
    Ok(result.into())
}

fn shown(block: &Value, room: &mut usize) -> Value {
    let kind = block["type"].as_str().unwrap_or("unknown");
    let mut shown = Map::new();
    shown.insert("type".to_owned(), limit::clip(kind, limit::QUOTE_BYTES_MAX).into());
    match kind {
        "text" => take(&mut shown, block, &[("text", "text")]),
        "image" | "audio" => {
            take(&mut shown, block, &[("mimeType", "media_type")]);
            data(&mut shown, &block["data"], room);
        }
        "resource" => {
            let resource = &block["resource"];
            take(&mut shown, resource, &[("uri", "uri"), ("mimeType", "media_type"), ("text", "text")]);
            if resource.get("blob").is_some() {
                data(&mut shown, &resource["blob"], room);
            }
        }
        "resource_link" => {
            let keys = [
                ("uri", "uri"),
                ("name", "name"),
                ("title", "title"),
                ("description", "description"),
                ("mimeType", "media_type"),
            ];
            take(&mut shown, block, &keys);
            if let Some(bytes) = block["size"].as_u64() {
                shown.insert("bytes".to_owned(), bytes.into());
            }
        }
        _ => {
            shown.insert("omitted".to_owned(), "a block of a kind that this version does not know".into());
        }
    }
    shown.into()
}

/// Takes the texts of these keys, under their new names.
fn take(shown: &mut Map<String, Value>, block: &Value, keys: &[(&str, &str)]) {
    for (theirs, ours) in keys {
        if let Some(text) = block[*theirs].as_str() {
            shown.insert((*ours).to_owned(), text.into());
        }
    }
}

fn data(shown: &mut Map<String, Value>, data: &Value, room: &mut usize) {
    let Some(data) = data.as_str() else {
        shown.insert("omitted".to_owned(), "it holds no data".into());
        return;
    };
    if data.len() > *room {
        let told = format!("{} bytes of base64; a result holds {DATA_BYTES_ALL} in all", data.len());
        shown.insert("omitted".to_owned(), told.into());
        return;
    }
    *room -= data.len();
    shown.insert("data".to_owned(), data.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_has_one_shape() {
        for (answer, expected) in [
            (json!({}), json!({"text": ""})),
            (json!({"content": []}), json!({"text": ""})),
            (json!({"content": "nonsense"}), json!({"text": ""})),
            (
                json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
                json!({"text": "a\nb"}),
            ),
            (json!({"content": [], "structuredContent": {"n": 1}}), json!({"text": "", "structured": {"n": 1}})),
            (json!({"structuredContent": null}), json!({"text": "", "structured": null})),
            (
                json!({"content": [{"type": "text", "text": "a"},
                    {"type": "image", "mimeType": "image/png", "data": "AAAA"},
                    {"type": "resource", "resource": {"uri": "x:1", "mimeType": "text/plain", "text": "t"}},
                    {"type": "resource", "resource": {"uri": "x:2", "blob": "BBBB"}},
                    {"type": "resource_link", "uri": "x:3", "name": "n", "size": 3},
                    {"type": "hologram", "data": "CCCC"}, 7]}),
                json!({"text": "a", "content": [{"type": "text", "text": "a"},
                    {"type": "image", "media_type": "image/png", "data": "AAAA"},
                    {"type": "resource", "uri": "x:1", "media_type": "text/plain", "text": "t"},
                    {"type": "resource", "uri": "x:2", "data": "BBBB"},
                    {"type": "resource_link", "uri": "x:3", "name": "n", "bytes": 3},
                    {"type": "hologram", "omitted": "a block of a kind that this version does not know"},
                    {"type": "unknown", "omitted": "a block of a kind that this version does not know"}]}),
            ),
        ] {
            assert_eq!(result(&answer, &Redactor::default()), Ok(expected), "{answer}");
        }
    }

    #[test]
    fn an_error_is_one_and_is_cut() {
        let long = json!({"isError": true, "content": [{"type": "text", "text": "x".repeat(10_000)}]});
        let error = result(&long, &Redactor::default());
        assert!(matches!(error, Err(CallError::Failed(why)) if why.len() <= limit::NOTE_BYTES_MAX));
        let error = result(&json!({"isError": true}), &Redactor::default()).expect_err("an error");
        assert!(error.to_string().contains("not why"), "{error}");
    }

    #[test]
    fn what_is_too_large_leaves_the_rest_alone() {
        let image = |bytes| json!({"type": "image", "mimeType": "image/png", "data": "A".repeat(bytes)});
        let answer = json!({"content": [{"type": "text", "text": "a"}, image(DATA_BYTES_MAX + 1), image(4), image(DATA_BYTES_MAX)]});
        let result = result(&answer, &Redactor::default()).expect("a result");
        assert_eq!(result["text"], "a");
        let omitted = |at: usize| result["content"][at]["omitted"].is_string();
        assert!(omitted(1) && !omitted(2) && omitted(3));
        assert!(result.to_string().len() < limit::CALL_BYTES_MAX);
        let many = json!({"content": vec![json!({"type": "hologram"}); 5_000]});
        let many = super::result(&many, &Redactor::default()).expect("a result");
        assert_eq!(many["content"].as_array().map(Vec::len), Some(BLOCKS_MAX + 1));
    }
}
