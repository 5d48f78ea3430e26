//! `WebFetch|HttpRequest(domain:…)`: ways to another host.

use serde_json::json;

use crate::{Allowed, Asks, Denied, check, constraints};

#[test]
fn a_host_is_the_one_that_is_meant() {
    for (scope, url, expected) in [
        ("example.org", "https://example.org/x", Allowed),
        ("example.org", "http://EXAMPLE.org:8080/", Allowed),
        ("example.org", "https://example.org./", Allowed),
        ("example.org", "https://user:word@example.org/", Allowed),
        ("example.org", "https://sub.example.org/", Denied),
        ("example.org", "https://example.org.evil.net/", Denied),
        ("example.org", "https://example.org@evil.net/", Denied),
        ("example.org", "https://evil.net/example.org", Denied),
        ("example.org", "https://evil.net#example.org", Denied),
        ("example.org", "https://evil.net\\@example.org/", Denied),
        ("example.org", "https:\\\\example.org\\x", Allowed),
        ("example.org", "https://example\u{3002}org/", Allowed),
        ("example.org", "https://example.org\u{0}.evil.net/", Denied),
        ("example.org", "https://exampl\u{435}.org/", Denied),
        ("example.org", "ftp://example.org/", Denied),
        ("example.org", "file:///example.org", Denied),
        ("example.org", "javascript:example.org", Denied),
        ("example.org", "example.org", Denied),
        ("example.org", "//example.org/", Denied),
        ("example.org", "", Denied),
        ("*.example.org", "https://a.example.org/", Allowed),
        ("*.example.org", "https://a.b.example.org/", Allowed),
        ("*.example.org", "https://example.org/", Denied),
        ("*.example.org", "https://notexample.org/", Denied),
        ("*.example.org", "https://.example.org/", Denied),
        ("example.org:8443", "https://example.org:8443/", Allowed),
        ("example.org:8443", "https://example.org/", Denied),
        ("example.org:443", "https://example.org/", Allowed),
        ("B\u{fc}cher.example", "https://xn--bcher-kva.example/", Allowed),
        ("127.0.0.1", "http://2130706433/", Allowed),
        ("127.0.0.1", "http://0x7f.1/", Allowed),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]/", Allowed),
        ("127.0.0.1", "http://localhost/", Denied),
        ("::1", "http://[::1]:9/", Allowed),
        ("*", "https://anywhere.example/", Allowed),
        ("*", "file:///etc/passwd", Denied),
    ] {
        for tool in ["WebFetch", "HttpRequest"] {
            let arguments = json!({ "url": url }).to_string();
            check(&constraints(&format!("{tool}(domain:{scope})"), "", ""), tool, &arguments, expected);
        }
    }
}

#[test]
fn a_prohibition_takes_no_chances_with_addresses() {
    for (url, expected) in [
        (json!("https://example.com/"), Allowed),
        (json!("https://a.example.org/"), Allowed),
        (json!("https://EXAMPLE.org./"), Denied),
        (json!("https://x@example.org:99/"), Denied),
        (json!("gopher://example.com/"), Denied),
        (json!("no address"), Denied),
        (json!(null), Denied),
        (json!(["https://example.com/"]), Denied),
    ] {
        let arguments = json!({ "url": url }).to_string();
        check(&constraints("WebFetch", "WebFetch(domain:example.org)", ""), "WebFetch", &arguments, expected);
        let asks = if expected == Denied { Asks } else { expected };
        check(&constraints("WebFetch", "", "WebFetch(domain:example.org)"), "WebFetch", &arguments, asks);
    }
}
