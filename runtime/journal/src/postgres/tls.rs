//! Whom a database is known by: what the URL says of TLS, beyond what the driver knows.
//!
//! There is one kind of TLS here, which holds the certificate against an authority and against the name of the host. So `require` is what others
//! call `verify-full`, and what is weaker than both is refused by name: it would look safe.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::trouble::StoreError;

/// The longest file of authorities: those of a whole machine are half of a MiB.
const ROOTS_BYTES_MAX: u64 = 8 << 20;

/// The value of `sslrootcert` that means those of the machine.
const SYSTEM: &str = "system";

/// Whose word is taken for who a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The authorities that the machine believes.
    Machine,
    /// Those in a file, and no others.
    File(PathBuf),
}

/// A URL as the driver reads it, and whom it says to believe.
pub(crate) fn read(url: &str) -> Result<(String, Roots), StoreError> {
    // The driver takes what stands before an `@` for a name and a password, whatever is in them.
    let credentials = url.find('@').map_or(0, |at| at + 1);
    let Some(at) = url[credentials..].find('?').filter(|_| url.contains("://")) else {
        return Ok((url.to_owned(), Roots::Machine));
    };
    let (address, parameters) = (&url[..credentials + at], &url[credentials + at + 1..]);
    let (mut kept, mut mode, mut roots) = (Vec::new(), None, None);
    for parameter in parameters.split('&') {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key {
            "sslmode" => mode = Some(value),
            "sslrootcert" => roots = Some(decoded(value)),
            "sslcert" | "sslkey" | "sslpassword" => {
                return Err(wrong(format!(
                    "`{key}`: a node shows no certificate of its own; take it out, and give `store_password`"
                )));
            }
            "sslcrl" | "sslcrldir" => {
                return Err(wrong(format!("`{key}`: lists of revoked certificates are not looked at; take it out")));
            }
            _ => kept.push(parameter.to_owned()),
        }
    }
    let insists = match mode {
        None | Some("disable" | "prefer") => false,
        Some("require" | "verify-full") => true,
        Some(weaker @ ("allow" | "verify-ca")) => {
            return Err(wrong(format!(
                "`sslmode={weaker}` is not there: write `verify-full`, which holds the certificate against its authority and the host's name, or \
                 `disable` where the way to the database is your own"
            )));
        }
        Some(_) => {
            return Err(wrong(
                "`sslmode` is `verify-full` (or `require`, which is the same here), `prefer` or `disable`".to_owned(),
            ));
        }
    };
    if roots.is_some() && !insists {
        return Err(wrong(
            "`sslrootcert` wants `sslmode=verify-full` beside it: with anything less what goes there may go in the clear".to_owned(),
        ));
    }
    kept.extend(mode.map(|mode| format!("sslmode={}", if insists { "require" } else { mode })));
    let roots = match roots {
        None => Roots::Machine,
        Some(machine) if machine == SYSTEM => Roots::Machine,
        Some(path) => Roots::File(path.into()),
    };
    let kept = kept.join("&");
    Ok((if kept.is_empty() { address.to_owned() } else { format!("{address}?{kept}") }, roots))
}

fn wrong(why: String) -> StoreError {
    StoreError::Url { why }
}

/// What stands in a URL as `%41`, as it is meant.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut left = value.as_bytes();
    while let [first, rest @ ..] = left {
        let meant = match rest {
            [high, low, ..] if *first == b'%' => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        bytes.push(meant.unwrap_or(*first));
        left = if meant.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How connections are secured. Told apart from the process's other TLS by nothing but whom it believes.
pub(crate) fn connector(roots: &Roots) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let no_tls = |error: rustls::Error| StoreError::Tls { why: error.to_string() };
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(no_tls)?;
    let builder = match roots {
        Roots::Machine => versions.with_platform_verifier().map_err(no_tls)?,
        Roots::File(path) => {
            let store = authorities(path).map_err(|why| StoreError::Roots { path: path.clone(), why })?;
            versions.with_root_certificates(store)
        }
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

/// The authorities in a file, or why there are none.
fn authorities(path: &Path) -> Result<RootCertStore, String> {
    // A pipe in its place is not waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let text = || -> io::Result<Vec<u8>> {
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut text = Vec::new();
        file.take(ROOTS_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = text().map_err(|error| error.to_string())?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("this is no certificate in PEM: {error}"))?;
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    if store.is_empty() {
        return Err("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)".to_owned());
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_of_tls_is_what_is_done_or_is_refused_by_name() {
        let file = |path: &str| Roots::File(path.into());
        for (url, expected) in [
            ("postgres://u@h/d", Ok(("postgres://u@h/d", Roots::Machine))),
            ("postgres://u:a?b@h/d?sslmode=require", Ok(("postgres://u:a?b@h/d?sslmode=require", Roots::Machine))),
            ("postgres://u@h/d?sslmode=verify-full", Ok(("postgres://u@h/d?sslmode=require", Roots::Machine))),
            (
                "postgres://u@h/d?sslrootcert=/etc/a%20b%2Fca.pem&application_name=x&sslmode=verify-full",
                Ok(("postgres://u@h/d?application_name=x&sslmode=require", file("/etc/a b/ca.pem"))),
            ),
            (
                "postgres://u@h/d?sslmode=verify-full&sslrootcert=system",
                Ok(("postgres://u@h/d?sslmode=require", Roots::Machine)),
            ),
            ("postgres://h/d?sslmode=disable", Ok(("postgres://h/d?sslmode=disable", Roots::Machine))),
            ("host=h sslmode=require", Ok(("host=h sslmode=require", Roots::Machine))),
            ("postgres://u:s3cret@h/d?sslmode=verify-ca", Err("write `verify-full`")),
            ("postgres://u:s3cret@h/d?sslmode=allow", Err("write `verify-full`")),
            ("postgres://u:s3cret@h/d?sslmode=yes", Err("`sslmode` is")),
            ("postgres://u:s3cret@h/d?sslrootcert=/ca.pem", Err("wants `sslmode=verify-full`")),
            ("postgres://u:s3cret@h/d?sslrootcert=/ca.pem&sslmode=prefer", Err("wants `sslmode=verify-full`")),
            ("postgres://u:s3cret@h/d?sslcert=/me.pem", Err("`sslcert`")),
            ("postgres://u:s3cret@h/d?sslcrl=/crl.pem", Err("`sslcrl`")),
        ] {
            match (read(url), expected) {
                (Ok((read, roots)), Ok((expected, whose))) => assert_eq!((&*read, roots), (expected, whose), "{url}"),
                (Err(error), Err(expected)) => {
                    let told = format!("{error} {error:?}");
                    assert!(told.contains(expected) && !told.contains("s3cret"), "{url}: {told}");
                }
                (got, _) => panic!("{url}: {got:?}"),
            }
        }
    }
}
