//! Compiled components on disk, so that a restart costs no compiler.
//!
//! A file holds 32 bytes of HMAC-SHA-256 and then the machine code. Its name is the component's digest and a hash of all
//! that the code depends on (wasmtime's version, the engine's settings, the processor). The key is made at the first start
//! and never leaves the folder. A file that does not fit is compiled anew and replaced: the cache may be deleted at will.
//! Beside it the functions that components were compiled of may be kept one by one ([`super::functions`]).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sortie_contract::digest::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::deserialize;
use super::file::{Freed, is_left_over, write};
use super::functions::Functions;

const KEY_BYTES: usize = 32;

/// The folder of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    seal: Seal,
    functions: Option<Arc<Functions>>,
}

/// What says of a file that this user wrote it: a code under the folder's key.
#[derive(Debug, Clone)]
pub(super) struct Seal([u8; KEY_BYTES]);

impl Seal {
    /// How long a code is.
    pub(super) const BYTES: usize = 32;

    /// Under this key.
    pub(super) fn new(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// The code of what a file holds.
    pub(super) fn of(&self, path: &Path, body: &[u8]) -> [u8; Self::BYTES] {
        self.mac(path, body).finalize().into_bytes().into()
    }

    /// Whether the code is that of what a file holds.
    pub(super) fn fits(&self, path: &Path, body: &[u8], code: &[u8]) -> bool {
        self.mac(path, body).verify_slice(code).is_ok()
    }

    /// The file's name is authenticated, too: good code under another plugin's name is not good.
    fn mac(&self, path: &Path, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is taken");
        mac.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        mac.update(body);
        mac
    }
}

impl Cache {
    /// Opens the folder, and makes it and its key where there is none. Whether functions are kept one by one, too.
    pub(crate) fn open(folder: PathBuf, by_function: bool) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("key");
        let key = match std::fs::read(&path) {
            Ok(bytes) if bytes.len() == KEY_BYTES => bytes.try_into().expect("its length was checked"),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                let key: [u8; KEY_BYTES] = rand::random();
                if let Err(error) = write(&folder, &path, &[&key]) {
                    // A full disk must not keep a node from its missions: what is compiled now is compiled again next time.
                    tracing::warn!(path = %path.display(), %error, "compiled code is not kept: its key cannot be written");
                }
                key
            }
        };
        let seal = Seal::new(key);
        let functions = by_function.then(|| Arc::new(Functions::of(folder.clone(), seal.clone())));
        Ok(Self { folder, seal, functions })
    }

    /// The functions that are kept, for the compiler.
    pub(crate) fn functions(&self) -> Option<&Arc<Functions>> {
        self.functions.as_ref()
    }

    /// The component of `digest`: from the folder, or compiled from `bytes`, which must be what the digest says.
    pub(crate) fn component(&self, engine: &Engine, digest: &Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        if let Some(component) = self.load(engine, digest) {
            return Ok(component);
        }
        if let Some(functions) = &self.functions {
            functions.prepare();
        }
        let component = Component::from_binary(engine, bytes)?;
        if let Some(functions) = &self.functions
            && let Err(error) = functions.keep()
        {
            tracing::warn!(%digest, %error, "compiled functions are not kept");
        }
        if let Err(error) = self.keep(engine, digest, &component) {
            tracing::warn!(%digest, error = %format!("{error:#}"), "compiled code is not cached");
        }
        Ok(component)
    }

    /// The component of `digest`, if this node compiled it before.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let file = std::fs::read(&path).ok()?;
        let (code, body) = file.split_at_checked(Seal::BYTES)?;
        if !self.seal.fits(&path, body, code) {
            tracing::warn!(path = %path.display(), "compiled code was damaged or is not of this node; it is compiled anew");
            return None;
        }
        deserialize::component(engine, body)
            .inspect_err(|error| tracing::debug!(%digest, %error, "compiled code does not fit"))
            .ok()
    }

    fn keep(&self, engine: &Engine, digest: &Digest, component: &Component) -> wasmtime::Result<()> {
        let path = self.path(engine, digest);
        let body = component.serialize()?;
        let code = self.seal.of(&path, &body);
        write(&self.folder, &path, &[&code, &body])?;
        Ok(())
    }

    /// Removes the code of components for which `keeps` is false, code that this engine cannot load any more, and what broken
    /// writes left.
    pub(crate) fn prune(&self, engine: &Engine, keeps: impl Fn(&Digest) -> bool, freed: &mut Freed) -> io::Result<()> {
        let setting = setting(engine);
        freed.remove_where(&self.folder, |name| {
            let code = name.strip_suffix(".cwasm").and_then(|name| name.split_once('-'));
            match code {
                Some((digest, hash)) => hash != setting || !digest.parse().is_ok_and(|digest| keeps(&digest)),
                None => is_left_over(name),
            }
        })
    }

    fn path(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", setting(engine)))
    }
}

/// All that code depends on but the component itself.
fn setting(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::super::functions;
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn only_file(folder: &Path) -> PathBuf {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.into_iter().find(|path| path.extension().is_some_and(|end| end == "cwasm")).unwrap()
    }

    #[test]
    fn only_code_that_this_node_wrote_is_loaded() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let engine = Engine::default();
        let digest = Digest::of(EMPTY);
        let cache = Cache::open(here.path().to_owned(), false).unwrap();
        assert!(cache.load(&engine, &digest).is_none());
        cache.component(&engine, &digest, EMPTY).unwrap();
        assert!(cache.load(&engine, &digest).is_some());
        assert!(
            Cache::open(here.path().to_owned(), false).unwrap().load(&engine, &digest).is_some(),
            "after a restart"
        );

        let file = only_file(here.path());
        let stranger = Cache::open(elsewhere.path().to_owned(), false).unwrap();
        std::fs::copy(&file, elsewhere.path().join(file.file_name().unwrap())).unwrap();
        assert!(stranger.load(&engine, &digest).is_none(), "another node's key");

        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "a flipped bit");
        std::fs::write(&file, b"short").unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "a torn file");
        cache.component(&engine, &digest, EMPTY).unwrap();
        assert!(cache.load(&engine, &digest).is_some(), "mended by compiling again");
    }

    #[test]
    fn code_that_nobody_needs_goes() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(folder.path().to_owned(), false).unwrap();
        let other = b"\0asm\x0d\0\x01\0\0\x01\0";
        let digests = [Digest::of(EMPTY), Digest::of(other)];
        cache.component(&engine, &digests[0], EMPTY).unwrap();
        cache.component(&engine, &digests[1], other).unwrap();
        for name in [format!("{}-0000000000000000.cwasm", digests[0]), ".tmpAbCdEf".to_owned(), "notes.txt".to_owned()]
        {
            std::fs::write(folder.path().join(name), b"12345").unwrap();
        }
        let mut freed = Freed::default();
        cache.prune(&engine, |digest| *digest == digests[0], &mut freed).unwrap();
        assert_eq!(freed.files, 3, "of another engine, of a component that is gone, of a broken write");
        assert!(freed.bytes > 10);
        assert!(cache.load(&engine, &digests[0]).is_some());
        assert!(cache.load(&engine, &digests[1]).is_none());
        assert!(folder.path().join("notes.txt").exists(), "what is not ours is not touched");
        assert!(folder.path().join("key").exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_the_key_or_the_code() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), false).unwrap();
        cache.component(&Engine::default(), &Digest::of(EMPTY), EMPTY).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    /// A component with a core module of one function that returns a number, and of one that every such component has.
    fn returns(number: u8) -> Vec<u8> {
        let text = format!(
            r#"(component (core module $m
                 (func (export "same") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
                 (func (export "other") (result i32) (i32.const {number})))
               (core instance (instantiate $m)))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn of_a_component_that_changed_only_what_changed_is_compiled() {
        let folder = tempfile::tempdir().unwrap();
        // How many functions a process writes that compiles this.
        let written = |bytes: &[u8]| {
            let packs = || {
                let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
                entries.filter(|path| functions::is_pack(path)).collect::<std::collections::BTreeSet<_>>()
            };
            let before = packs();
            let cache = Cache::open(folder.path().to_owned(), true).unwrap();
            let engine = crate::engine::engine(1, cache.functions()).unwrap();
            cache.component(&engine, &Digest::of(bytes), bytes).unwrap();
            let fresh = packs().difference(&before).cloned().collect::<Vec<_>>();
            fresh.iter().map(|path| functions::held(path)).sum::<u64>()
        };
        let first = written(&returns(1));
        assert!(first > 2, "its functions, and what calls them");
        // Of those that are as they were, the compiler's key is now and then another one, where threads share the work.
        let few = 1..first;
        assert!(few.contains(&written(&returns(2))), "one of them is another");
        assert_eq!(written(&returns(1)), 0, "it is there whole");
        let again = returns(3);
        assert!(few.contains(&written(&again)));
        // Its code as a whole is gone: the functions make it.
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "cwasm") {
                std::fs::remove_file(path).unwrap();
            }
        }
        assert!(written(&again) < first, "they are there");
    }
}
