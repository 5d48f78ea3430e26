//! Who may do what: bearer tokens and their scopes.
//!
//! There is no way around them: each route names its scope in one table, and only health and the pages about problems need none.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use sortie_contract::digest::Digest;

use super::error::Problem;
use super::places::Place;
use crate::config::Scope;

/// The name that decisions made with the node's own token are recorded under.
pub(crate) const ADMIN: &str = "admin";

/// Length of a token that the node makes up, in random bytes.
const TOKEN_BYTES: usize = 32;

/// The tokens of a node, which may change while it runs; of each only its digest is kept, which also makes the comparison take the same time for
/// every guess.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<RwLock<FxHashMap<Digest, Holder>>>);

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: Arc<str>,
    /// Of the token itself: another one of the same name is somebody else's. None where the node itself lets somebody do something.
    token: Option<Digest>,
    scopes: Arc<[Scope]>,
    /// Whether it is a node's own token: no other node knows it, and nobody takes it away while the node runs.
    is_own: bool,
}

impl Holder {
    /// One that holds no token: what a node itself lets somebody do.
    pub(crate) fn new(name: &str, scopes: &[Scope]) -> Self {
        Self { name: name.into(), token: None, scopes: scopes.into(), is_own: false }
    }

    /// The same, of one that holds the own token of another node, which says so.
    pub(crate) fn of_another_node(name: &str, scopes: &[Scope]) -> Self {
        Self { is_own: true, ..Self::new(name, scopes) }
    }

    /// Whether it holds a node's own token.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// What it may do.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// That its scopes do not let it do this.
    pub(crate) fn lacks(&self, scope: Scope) -> Problem {
        let detail = format!("the token `{}` has not the scope `{}`", self.name, scope.as_str());
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Whether that is within what it may do.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|&held| held == scope || held == Scope::Admin)
    }
}

impl Tokens {
    /// The node's own token and those of the configuration: name, token, scopes.
    pub(crate) fn new(own: &str, further: impl IntoIterator<Item = (String, String, Vec<Scope>)>) -> Self {
        let tokens = further.into_iter().map(|(name, token, scopes)| {
            let token = Digest::of(token.trim().as_bytes());
            (token, Holder { name: name.into(), token: Some(token), scopes: scopes.into(), is_own: false })
        });
        let mut tokens: FxHashMap<Digest, Holder> = tokens.collect();
        // The last of two that are the same holds: nobody takes the node's own away.
        let own = Digest::of(own.trim().as_bytes());
        let scopes = vec![Scope::Admin].into();
        tokens.insert(own, Holder { name: ADMIN.into(), token: Some(own), scopes, is_own: true });
        Self(Arc::new(RwLock::new(tokens)))
    }

    /// From here on these hold, and no others.
    pub(crate) fn become_those_of(&self, other: &Self) {
        let other = other.0.read().clone();
        *self.0.write() = other;
    }

    /// Who holds this token.
    pub(crate) fn of(&self, token: &str) -> Option<Holder> {
        self.0.read().get(&Digest::of(token.trim().as_bytes())).cloned()
    }

    /// Whether somebody still holds the token that they held, for the same.
    pub(crate) fn has(&self, holder: &Holder) -> bool {
        holder.token.is_some_and(|token| self.0.read().get(&token) == Some(holder))
    }

    fn holder(&self, request: &Request) -> Option<Holder> {
        if let Some(Inside(holder)) = request.extensions().get::<Inside>() {
            return Some(holder.clone());
        }
        let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        self.of(token)
    }
}

/// Who asks, for an answer that goes on for days: whether they would still be let in.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    tokens: Tokens,
    holder: Holder,
}

impl Standing {
    /// Whether their token holds, for the same. Who holds none here was let in by a node, this one or another: what it lets somebody read it
    /// ends itself, with the token that it knows.
    pub(crate) fn holds(&self) -> bool {
        self.holder.is_own || self.holder.token.is_none() || self.tokens.has(&self.holder)
    }
}

/// A request that the node makes of itself, for this holder: nothing that comes over the network has an extension of its own.
#[derive(Debug, Clone)]
pub(crate) struct Inside(pub(crate) Holder);

/// Lets a request through if its token has the scope; without one, if the token is known.
pub(crate) async fn guard(
    State((tokens, scope)): State<(Tokens, Option<Scope>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let holder = tokens.holder(&request);
    if let (Some(holder), Some(scope)) = (&holder, scope)
        && !holder.may(scope)
    {
        return holder.lacks(scope).into_response();
    }
    match holder {
        None => Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid token is needed: `Authorization: Bearer TOKEN`; the node's own is in DATA_DIR/token",
        )
        .into_response(),
        Some(_) if request.extensions().get::<Arc<Place>>().is_some_and(|place| !place.is_known()) => {
            Problem::busy("connections_full", "all connections that the node can hold are taken").into_response()
        }
        Some(holder) => {
            request.extensions_mut().insert(Standing { tokens, holder: holder.clone() });
            request.extensions_mut().insert(holder);
            next.run(request).await
        }
    }
}

/// The node's own token: `SORTIE_TOKEN`, else what `DATA_DIR/token` holds, else a new one, which is written there (mode 0600).
///
/// What others could read until now they may have read; that is said, and they read it no longer.
pub(crate) fn own_token(data_dir: &Path, from_environment: Option<String>) -> io::Result<String> {
    let path = data_dir.join("token");
    let written = match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let token = from_environment.filter(|token| !token.trim().is_empty()).or_else(|| written.clone());
    let token = token.map_or_else(fresh_token, |token| token.trim().to_owned());
    if written.as_deref() != Some(&token) {
        let mut file = tempfile::Builder::new().prefix(".token").tempfile_in(data_dir)?;
        writeln!(file, "{token}")?;
        file.persist(&path).map_err(|error| error.error)?;
    }
    let mode = fs::metadata(&path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = %format!("{:o}", mode & 0o777), "others could read the token; now only its owner can");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(token)
}

fn fresh_token() -> String {
    use rand::Rng as _;
    let mut bytes = [0_u8; TOKEN_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let token = own_token(dir.path(), None).expect("made");
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert_eq!(own_token(dir.path(), None).expect("read"), token);
        let mode = fs::metadata(dir.path().join("token")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(own_token(dir.path(), Some("given".to_owned())).expect("given"), "given");
        fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(0o644)).expect("loosened");
        assert_eq!(own_token(dir.path(), None).expect("read"), "given");
        let mode = fs::metadata(dir.path().join("token")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nobody_takes_the_nodes_own_token_away() {
        let tokens = Tokens::new("own", [("reader".to_owned(), "own".to_owned(), vec![Scope::Read])]);
        assert!(tokens.of("own").is_some_and(|holder| &*holder.name == ADMIN && holder.may(Scope::Operate)));
        assert!(tokens.of("own").is_some_and(|holder| holder.is_own()));
        let tokens = Tokens::new("own", [("admin".to_owned(), "other".to_owned(), vec![Scope::Admin])]);
        assert!(tokens.of("other").is_some_and(|holder| !holder.is_own()), "its name says nothing");
    }

    #[test]
    fn who_was_let_in_by_a_node_stays_and_who_showed_a_token_does_while_it_is_known() {
        let tokens = Tokens::new("own", [("ann".to_owned(), "of-ann".to_owned(), vec![Scope::Read])]);
        let holds = |holder: &Holder| Standing { tokens: tokens.clone(), holder: holder.clone() }.holds();
        let (ann, own) = (tokens.of("of-ann").expect("known"), tokens.of("own").expect("known"));
        let vouched = [Holder::new("ann", &[Scope::Read]), Holder::of_another_node("admin", &[Scope::Admin])];
        assert!(vouched.iter().chain([&ann, &own]).all(holds));
        tokens.become_those_of(&Tokens::new("own", []));
        assert!(!holds(&ann) && vouched.iter().chain([&own]).all(holds));
    }

    #[test]
    fn admin_implies_all_and_nothing_else_does() {
        let holder = |scopes: &[Scope]| Holder::new("x", scopes);
        for scope in [Scope::Dispatch, Scope::Read, Scope::Operate, Scope::Admin] {
            assert!(holder(&[Scope::Admin]).may(scope));
            assert!(holder(&[scope]).may(scope));
            assert!(!holder(&[]).may(scope));
        }
        assert!(!holder(&[Scope::Operate]).may(Scope::Read));
    }
}
