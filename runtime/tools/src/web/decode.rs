//! From the bytes of a body to text.

use std::sync::LazyLock;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};
use regex::bytes::Regex;

use crate::tool::is_binary;

/// How far into a page its own word for its charset is looked for, in bytes: as far as browsers look.
const DECLARED_WITHIN: usize = 1_024;

/// A comment, or what declares a charset: `<meta charset=…>`, `<meta … content="…; charset=…">`, `<?xml … encoding=…?>`.
static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
    let charset = r#"(?i-u)<!--(?s:.)*?(?:-->|$)|<meta\s[^>]*?charset\s*=\s*["']?\s*([a-z0-9._:+-]+)|^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([a-z0-9._:+-]+)"#;
    Regex::new(charset).expect("the pattern is right")
});

/// The text of a body, or `None` if it is binary. A byte order mark decides, else the content type's charset, else what
/// a page says of itself, else UTF-8 where it is that, else what it most likely is, for which the end of `host` (`.jp`) is a hint. What
/// does not fit becomes U+FFFD, except for a character that is cut because the body is `truncated`.
pub(super) fn text(content_type: &str, host: Option<&str>, body: &[u8], truncated: bool) -> Option<String> {
    let named = charset(content_type).and_then(|label| Encoding::for_label(label.as_bytes()));
    let declared = || declared(content_type, body);
    let encoding = Encoding::for_bom(body).map(|(encoding, _)| encoding).or(named).or_else(declared);
    let encoding = encoding.unwrap_or_else(|| likely(host, body));
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

/// What a body is that nobody says anything about.
fn likely(host: Option<&str>, body: &[u8]) -> &'static Encoding {
    // Where just the last character is not whole, it was UTF-8.
    if std::str::from_utf8(body).err().is_none_or(|error| error.error_len().is_none()) {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(body, true);
    let end = host.and_then(|host| host.rsplit('.').next()).filter(|end| end.bytes().all(|b| b.is_ascii_lowercase()));
    detector.guess(end.map(str::as_bytes), Utf8Detection::Deny)
}

/// The charset of a content type such as `text/html; charset="utf-8"`.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// What a page says of its own charset.
fn declared(content_type: &str, body: &[u8]) -> Option<&'static Encoding> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !kind.is_empty() && !kind.ends_with("html") && !kind.ends_with("xml") {
        return None;
    }
    let head = &body[..body.len().min(DECLARED_WITHIN)];
    let mut found = DECLARATION.captures_iter(head);
    let label = found.find_map(|found| found.get(1).or(found.get(2)).map(|label| label.as_bytes()))?;
    // Who could read this far does not read UTF-16.
    Encoding::for_label(label).map(Encoding::output_encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_says_of_its_charset_is_believed() {
        let far = [b"<html>".as_slice(), &[b' '; 1_100], b"<meta charset=latin1>\xe4"].concat();
        let cases: [(&str, &[u8], &str); 10] = [
            ("text/html", b"<meta charset=\"iso-8859-1\">\xe4", "\u{e4}"),
            (
                "text/html",
                b"<META http-equiv='Content-Type' content='text/html; charset=windows-1252'>\x80",
                "\u{20ac}",
            ),
            ("", b"<html><head><meta  charset = shift_jis >\x82\xa0", "\u{3042}"),
            ("application/xhtml+xml", b"<?xml version='1.0' encoding='latin1'?>\xe4", "\u{e4}"),
            ("text/html", b"<meta charset=utf-16>\xc3\xa4", "\u{e4}"),
            ("text/html; charset=utf-8", b"<meta charset=latin1>\xc3\xa4", "\u{e4}"),
            ("text/html", b"<!-- <meta charset=latin1> -->\xc3\xa4", "\u{e4}"),
            ("text/html", b"<meta charset=unheard-of>\xc3\xa4", "\u{e4}"),
            ("text/plain", b"<meta charset=latin1>\xc3\xa4", "\u{e4}"),
            ("text/html", &far, "\u{fffd}"),
        ];
        for (content_type, body, expected) in cases {
            let text = text(content_type, None, body, false).unwrap();
            assert!(text.ends_with(expected), "{content_type}: {text}");
        }
    }

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
            ("text/plain; charset=unheard-of", "ä€".as_bytes(), "ä€"),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(text(content_type, None, body, false).as_deref(), Some(expected), "{content_type}");
        }
    }

    #[test]
    fn what_nobody_says_is_found_out() {
        let russian = "Каждый, кто провёл ночь на фабрике, знает, что большую её часть приходится ждать.";
        let japanese = "工場の夜はほとんど待つことで過ぎていく。";
        let greek = "Το εργοστάσιο τη νύχτα περιμένει";
        for (encoding, host, expected) in [
            (encoding_rs::WINDOWS_1251, None, russian),
            (encoding_rs::KOI8_R, None, russian),
            (encoding_rs::SHIFT_JIS, Some("example.jp"), japanese),
            (encoding_rs::EUC_JP, None, japanese),
            (encoding_rs::WINDOWS_1253, Some("example.gr"), greek),
            (encoding_rs::WINDOWS_1252, Some("EXAMPLE.DE"), "Nachts wird in der Fabrik natürlich länger gewartet"),
            (UTF_8, Some("127.0.0.1"), russian),
        ] {
            let (body, _, is_lossy) = encoding.encode(expected);
            assert!(!is_lossy);
            for kind in ["text/html", "text/plain", ""] {
                assert_eq!(text(kind, host, &body, false).as_deref(), Some(expected), "{}", encoding.name());
            }
        }
    }

    #[test]
    fn a_cut_character_is_left_out() {
        assert_eq!(text("text/plain", None, &"aä".as_bytes()[..2], true).as_deref(), Some("a"));
        assert_eq!(text("text/plain", None, &"aä".as_bytes()[..2], false).as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn binary_is_no_text() {
        assert_eq!(text("image/png", None, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false), None);
    }
}
