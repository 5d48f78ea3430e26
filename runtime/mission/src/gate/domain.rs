//! Scopes of the tools that ask the network: `domain:HOST`, by the host of the call's URL.
//!
//! Owned here: the form of such a scope. Never here: what a rule about hosts means, which is the contract's; where a name leads, or where an
//! answer redirects to: that is the operator's list, which holds beside this.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use sortie_contract::host::HostRule;
use sortie_contract::limit;
use url::Url;

use super::Fit;
use super::call::Call;

/// The hosts that are meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Domain(HostRule);

impl Domain {
    /// Parses the scope.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            let quoted = limit::clip(what, limit::QUOTE_BYTES_MAX);
            format!(
                "`{quoted}` is no host: write `domain:example.org`, `domain:*.example.org` (every name below it, not itself) or \
                 `domain:example.org:8443`, without scheme and path"
            )
        };
        let host = scope.strip_prefix("domain:").ok_or_else(|| {
            "a scope of this tool is about the host: write `domain:example.org` or `domain:*.example.org`".to_owned()
        })?;
        HostRule::parse(host.trim()).map(Self).ok_or_else(|| wrong(host))
    }

    pub(super) fn fit(&self, call: &Call<'_>) -> Fit {
        match call.url() {
            Err(why) => Fit::Doubt(why),
            Ok(url) if self.0.means(url) => Fit::Yes,
            Ok(_) => Fit::No,
        }
    }
}

/// The address of a call, where it is one of the web.
///
/// # Errors
/// Why it is none.
pub(super) fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "its URL is none")?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("its URL is none of http or https");
    }
    Ok(url)
}
