//! Secrets: from a reference to the value for one use.
//!
//! Where a secret may go is its owner's rule (a callback's hosts, a model's address). Values are read for each use and
//! dropped after it; they have no way into a log line, an error or the journal.

use std::fmt;
use std::io::Read as _;

use reqwest::header::HeaderValue;
use sortie_contract::envelope::SecretRef;

use crate::named::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// Largest file that is taken for a secret, in bytes: tokens are short, and a wrong path must not fill memory.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The value of a secret. Not printable, not comparable, not clonable, on purpose.
pub struct Secret(String);

impl Secret {
    /// With its value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, to be put into a header or a key and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it can be sent in a header of any kind, and found again in what comes back.
    pub(crate) fn can_be_redacted(&self, reference: &SecretRef) -> Result<(), SecretError> {
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&self.0.len()) {
            return Err(SecretError::Length { reference: reference.to_string() });
        }
        // Beyond ASCII, servers read a header in whatever charset they please, and would show something else.
        if self.0.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            Ok(())
        } else {
            Err(SecretError::HeaderForm)
        }
    }

    /// As the value of an `Authorization` header.
    pub fn bearer(&self) -> Result<HeaderValue, SecretError> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).map_err(|_| SecretError::HeaderForm)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret has no usable value right now. Names the reference at most.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or is not Unicode.
    #[error("the environment of the node has no usable variable `{name}`")]
    Env {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing but white space.
    #[error("the secret {reference} is empty")]
    Empty {
        /// Which.
        reference: String,
    },
    /// Too short to be told from other text, or too long for a header.
    #[error(
        "the secret {reference} must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes: a shorter one could not be found in an answer again"
    )]
    Length {
        /// Which.
        reference: String,
    },
    /// A line break inside, or another character that no header can carry.
    #[error("the secret cannot be sent in a header")]
    HeaderForm,
    /// The signing secret begins with `whsec_` and goes on with something else than base64.
    #[error("the signing secret is not `whsec_` and base64 of a key")]
    SigningForm,
}

/// The value of `reference`, without white space around it.
pub async fn resolve(reference: &SecretRef) -> Result<Secret, SecretError> {
    let value = match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?,
        SecretRef::File(path) => {
            let named = path.clone();
            let read = tokio::task::spawn_blocking(move || read_small(&named)).await;
            let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            read.map_err(|source| SecretError::File { path: path.clone(), source })?
        }
    };
    match value.trim() {
        "" => Err(SecretError::Empty { reference: reference.to_string() }),
        trimmed => Ok(Secret::new(trimmed.to_owned())),
    }
}

/// The text of a file that is as small as a secret is.
///
/// # Errors
/// It cannot be read, is longer than a secret may be, or is no file: a pipe that nobody writes to would keep whoever reads it for ever.
pub fn read_small(path: &str) -> std::io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes, and no secret")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_keeps_nobody_waiting() {
        for path in ["/dev/zero", "/"] {
            assert!(read_small(path).is_err(), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let says = read_small(pipe.to_str().unwrap()).unwrap_err().to_string();
        assert_eq!(says, "it is no file");
    }

    #[tokio::test]
    async fn values_are_read_anew_trimmed_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let reference: SecretRef = format!("file://{}", path.display()).parse().unwrap();
        assert!(matches!(resolve(&reference).await, Err(SecretError::File { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(resolve(&reference).await, Err(SecretError::Empty { .. })));
        for value in ["first", "second"] {
            std::fs::write(&path, format!("{value}\n")).unwrap();
            let secret = resolve(&reference).await.unwrap();
            assert_eq!(secret.expose(), value);
            assert_eq!(format!("{secret:?} {:?}", secret.bearer().unwrap()), "*** Sensitive");
        }
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(resolve(&reference).await.is_err(), "a megabyte is no secret");
    }

    #[tokio::test]
    async fn what_is_missing_or_cannot_be_sent_is_told_by_its_name_at_most() {
        let missing = resolve(&SecretRef::Env("SORTIE_NO_SUCH_VARIABLE".to_owned())).await.unwrap_err();
        assert_eq!(missing.to_string(), "the environment of the node has no usable variable `SORTIE_NO_SUCH_VARIABLE`");
        let error = Secret::new("s3cr3t\nline".to_owned()).bearer().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"));
    }
}
