//! `[[token]]`: further bearer tokens and what each may do. Whether a request may is held against its route (`http/auth.rs`), not here.

use serde::Deserialize;
use sortie_contract::envelope::SecretRef;

use super::ConfigError;

/// `[[token]]`: a further bearer token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Who uses it: appears in logs and decisions.
    pub name: String,
    /// Where the token is: `env://NAME` or `file:///path`.
    pub r#ref: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// Fewest characters of a token that nobody guesses: of random hexadecimal digits, these are 64 bits.
pub const TOKEN_CHARS_MIN: usize = 16;

/// Whether a token is so short that it can be guessed. It is taken all the same, and told.
#[must_use]
pub fn is_weak(token: &str) -> bool {
    token.trim().chars().count() < TOKEN_CHARS_MIN
}

impl TokenConfig {
    /// The token, from where the configuration says that it is.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where it is not there.
    pub fn read(&self) -> Result<String, ConfigError> {
        let wrong = |why: String| ConfigError::value(&format!("token `{}`", self.name), why);
        let text = match self.r#ref.parse::<SecretRef>().map_err(|error| wrong(error.to_string()))? {
            SecretRef::Env(name) => std::env::var(&name).map_err(|_| wrong(format!("`{name}` is not set")))?,
            SecretRef::File(path) => {
                sortie_callback::read_small(&path).map_err(|error| wrong(format!("{path}: {error}")))?
            }
        };
        match text.trim() {
            "" => Err(wrong("it is empty".to_owned())),
            token if !may_be_sent(token) => {
                Err(wrong(format!("what `{}` names holds more than a token: {ONE_LINE}", self.r#ref)))
            }
            token => Ok(token.to_owned()),
        }
    }
}

/// Whether a token can come with a request, in a header: one that cannot would open nothing.
#[must_use]
pub fn may_be_sent(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// What a token is, for those who wrote something else.
pub const ONE_LINE: &str = "a token is one line of ASCII letters, digits and signs";

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Dispatch missions.
    Dispatch,
    /// Look at everything.
    Read,
    /// Cancel, pause, halt, deliveries.
    Operate,
    /// All of it, and plugins.
    Admin,
}

impl Scope {
    /// All of them.
    const ALL: [Self; 4] = [Self::Dispatch, Self::Read, Self::Operate, Self::Admin];

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}
