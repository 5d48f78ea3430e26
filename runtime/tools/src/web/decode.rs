//! From the bytes of a body to text.

use encoding_rs::{Encoding, UTF_8};

use crate::tool::is_binary;

/// The text of a body, or `None` if it is binary. A byte order mark decides, else the content type's charset, else
/// UTF-8; what does not fit becomes U+FFFD, except for a character that is cut because the body is `truncated`.
pub(super) fn text(content_type: &str, body: &[u8], truncated: bool) -> Option<String> {
    let named = charset(content_type).and_then(|label| Encoding::for_label(label.as_bytes()));
    let encoding = Encoding::for_bom(body).map(|(encoding, _)| encoding).or(named).unwrap_or(UTF_8);
    // Text in UTF-16 is full of NUL bytes.
    let is_wide = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
    if !is_wide && is_binary(body) {
        return None;
    }
    let mut decoder = encoding.new_decoder();
    let room = decoder.max_utf8_buffer_length(body.len())?;
    let mut text = String::with_capacity(room);
    // The buffer has room for the worst case, so that one step does it.
    let _ = decoder.decode_to_string(body, &mut text, !truncated);
    Some(text)
}

/// The charset of a content type such as `text/html; charset="utf-8"`.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_of_the_answer_is_used() {
        let cases: [(&str, &[u8], &str); 8] = [
            ("text/plain", "ä€".as_bytes(), "ä€"),
            ("text/plain; charset=utf-8", "ä€".as_bytes(), "ä€"),
            ("text/html; Charset=\"ISO-8859-1\"", b"\xe4", "ä"),
            ("text/plain; format=flowed; charset=windows-1252", b"\x80", "€"),
            ("text/plain; charset=shift_jis", b"\x82\xa0", "あ"),
            ("text/plain; charset=utf-16le", b"a\0b\0", "ab"),
            ("text/plain; charset=latin1", b"\xef\xbb\xbf\xc3\xa4", "ä"),
            ("text/plain; charset=unheard-of", b"a\xffb", "a\u{fffd}b"),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(text(content_type, body, false).as_deref(), Some(expected), "{content_type}");
        }
    }

    #[test]
    fn a_cut_character_is_left_out() {
        assert_eq!(text("text/plain", &"aä".as_bytes()[..2], true).as_deref(), Some("a"));
        assert_eq!(text("text/plain", &"aä".as_bytes()[..2], false).as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn binary_is_no_text() {
        assert_eq!(text("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false), None);
    }
}
