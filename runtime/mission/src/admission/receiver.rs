//! Whether events could reach a mission's receiver at all, as far as that can be known without asking anybody.
//!
//! Owned here: what is told of a callback that nothing could be sent to. Never here: which addresses and hosts the configuration
//! lists (the way out says), and what becomes of one that only turns out later.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use sortie_contract::envelope::{Callback, NotSent, SecretRef, host_of};
use sortie_contract::mistake::{Mistake, Pointer};
use url::Url;

/// The way out of the node, as its configuration has it.
#[derive(Clone, Copy)]
pub struct WayOut<'a> {
    /// What its guard has against the address that a URL names, for people.
    pub guard: &'a dyn Fn(&Url) -> Result<(), String>,
    /// Whether a secret may be sent to the host of a URL.
    pub may_send: &'a dyn Fn(&SecretRef, &Url) -> Result<(), NotSent>,
}

/// What is wrong with a callback, at `/callback/status_url` or `/callback/auth_ref`.
pub(super) fn unreachable(callback: &Callback, way_out: WayOut<'_>) -> Option<Mistake> {
    let mistake = |key: &str, code: &str, detail: String| {
        Some(Mistake::new(Pointer::root().join("callback").join(key), code, detail))
    };
    let url = &callback.status_url;
    if !matches!(url.scheme(), "http" | "https") {
        return mistake("status_url", "invalid_url", "events are sent over http or https".to_owned());
    }
    if let Err(why) = (way_out.guard)(url) {
        return mistake("status_url", "private_address", why);
    }
    match (way_out.may_send)(callback.auth_ref.as_ref()?, url) {
        Ok(()) => None,
        Err(NotSent::Unlisted) => {
            let detail = "this node's configuration (callback.secret) does not list this secret";
            mistake("auth_ref", "secret_not_listed", detail.to_owned())
        }
        Err(NotSent::OtherHost) => {
            let detail =
                format!("this node's configuration does not list {} among the hosts of this secret", host_of(url));
            mistake("auth_ref", "secret_not_for_host", detail)
        }
        Err(NotSent::Plain) => {
            let detail = format!(
                "this node's configuration lists {0} for this secret, but not for sending it over plain http: use \
                 https, or have http://{0} listed",
                host_of(url)
            );
            mistake("auth_ref", "secret_not_for_host", detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_that_nothing_could_be_sent_to_is_named_with_its_place() {
        let private = |url: &Url| match url.host_str() {
            Some("10.0.0.1") => Err("10.0.0.1 is a private address".to_owned()),
            _ => Ok(()),
        };
        // The secret TOKEN is for hq.example, over https alone.
        let listed = |secret: &SecretRef, url: &Url| match (secret, url.host_str(), url.scheme()) {
            (SecretRef::Env(name), ..) if name != "TOKEN" => Err(NotSent::Unlisted),
            (_, Some("hq.example"), "https") => Ok(()),
            (_, Some("hq.example"), _) => Err(NotSent::Plain),
            _ => Err(NotSent::OtherHost),
        };
        let way_out = WayOut { guard: &private, may_send: &listed };
        for (url, secret, expected) in [
            ("https://hq.example/", Some("env://TOKEN"), None),
            ("https://example.org/", None, None),
            ("http://hq.example/", None, None),
            (
                "https://example.org/",
                Some("env://TOKEN"),
                Some("/callback/auth_ref secret_not_for_host: does not list example.org:443 among"),
            ),
            (
                "http://hq.example/",
                Some("env://TOKEN"),
                Some("/callback/auth_ref secret_not_for_host: have http://hq.example:80 listed"),
            ),
            (
                "https://hq.example/",
                Some("env://HOME"),
                Some("/callback/auth_ref secret_not_listed: (callback.secret) does not list this secret"),
            ),
            ("http://10.0.0.1/", None, Some("/callback/status_url private_address: 10.0.0.1 is a private address")),
            (
                "http://10.0.0.1/",
                Some("env://HOME"),
                Some("/callback/status_url private_address: 10.0.0.1 is a private"),
            ),
            ("ftp://example.org/", None, Some("/callback/status_url invalid_url: http or https")),
        ] {
            let callback = Callback {
                status_url: url.parse().expect("a URL"),
                auth_ref: secret.map(|text| text.parse().expect("a reference")),
            };
            let mistake = unreachable(&callback, way_out);
            match (&mistake, expected.and_then(|expected| expected.split_once(": "))) {
                (None, None) => {}
                (Some(mistake), Some((told, detail))) => {
                    assert_eq!(format!("{} {}", mistake.pointer, mistake.code), told, "{url}");
                    assert!(mistake.detail.contains(detail), "{url}: {mistake}");
                }
                _ => panic!("{url}: {mistake:?} instead of {expected:?}"),
            }
        }
    }
}
