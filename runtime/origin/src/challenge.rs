//! `WWW-Authenticate`: what a registry wants to see of whoever asks.

use sortie_egress::header::{HeaderMap, WWW_AUTHENTICATE};

/// What it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that the desk at `realm` gives out.
    Bearer { realm: String, service: Option<String> },
}

/// The first challenge that is understood; a token before a password, which then goes to one place less.
pub(crate) fn of(headers: &HeaderMap) -> Option<Challenge> {
    let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<Challenge> = all.filter_map(parse).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

fn parse(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    for (name, value) in parameters(rest) {
        match name.as_str() {
            "realm" => realm = realm.or(Some(value)),
            "service" => service = service.or(Some(value)),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

/// `name="value"` pairs with commas between them; a value may hold commas, and quotes behind a backslash.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let (value, left) = match behind.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = behind.find(',').unwrap_or(behind.len());
                (behind[..end].trim().to_owned(), &behind[end..])
            }
        };
        found.push((name, value));
        rest = left;
    }
    found
}

/// What stands up to the closing quote, and what is left behind it.
fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (values, expected) in [
            (&["Basic realm=\"basic-realm\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &[
                    "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a:pull,push\"",
                ],
                bearer("https://auth.example/token", Some("registry.example")),
            ),
            (&["bearer service=x, realm=https://a.example/t"], bearer("https://a.example/t", Some("x"))),
            (&["Bearer realm=\"a\\\"b,c\""], bearer("a\"b,c", None)),
            (&["Basic realm=\"x\"", "Bearer realm=\"https://a.example\""], bearer("https://a.example", None)),
            (&["Bearer realm=\"open"], bearer("open", None)),
            (&["Bearer"], None),
            (&["Bearer service=\"x\""], None),
            (&["Negotiate", "Digest realm=\"x\""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
            }
            assert_eq!(of(&headers), expected, "{values:?}");
        }
    }
}
