//! The sandboxes of commands: what one command has compiled, the next one loads.
//!
//! Compiled code lies in the user's cache folder, by the digest of what it was made of and by all that it depends on. It is machine code,
//! and loaded as it lies there: so the folder, and each above it, has to be one in which nobody writes but this user and root, as `ssh` wants
//! it of its keys. Where it is not, a command compiles for itself alone, and says so. The rest is the rule of a node's own cache: what does not
//! carry a code under the folder's key is compiled anew.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use etcetera::BaseStrategy as _;
use sortie_contract::digest::Digest;
use sortie_sandbox::{Installed, MEMORY_BYTES_CEILING, Options, Sandbox};
use tempfile::TempDir;

use super::Failure;
use super::text::Progress;
use crate::node::system;

/// How much of it is kept: some ten builds in Python, which are the largest.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// How compiled code is told from what else is in its folder.
const COMPILED: &str = "cwasm";

/// A sandbox for one command.
pub(super) struct Workshop {
    pub(super) sandbox: Sandbox,
    /// Of compiled code; none where it goes with the command.
    kept: Option<PathBuf>,
    /// Plugins lie in it for as long as the command takes.
    _store: TempDir,
}

impl Workshop {
    /// One that is set up like this.
    pub(super) fn open(options: impl FnOnce(PathBuf) -> Options) -> Result<Self, Failure> {
        let store = tempfile::tempdir()?;
        let options = options(store.path().to_owned());
        let cache = etcetera::choose_base_strategy().ok().map(|base| base.cache_dir().join("sortie").join("compiled"));
        let kept = cache.and_then(|folder| match prepared(&folder) {
            Ok(whole) => Some(whole),
            Err(why) => {
                let told = "what is compiled here is compiled again next time: it cannot be kept in";
                let _ = writeln!(io::stderr(), "{told} {}: {why}", folder.display());
                None
            }
        });
        // What nodes give their plugins is not known here: a case says it, or a record.
        let needs_bytes_max = Some(MEMORY_BYTES_CEILING);
        let sandbox = Sandbox::new(Options { compiled: kept.clone(), needs_bytes_max, ..options })?;
        Ok(Self { sandbox, kept, _store: store })
    }

    /// Takes in a plugin of these bytes.
    pub(super) async fn install(&self, bytes: Vec<u8>) -> Result<Installed, Failure> {
        let compiling = Progress::of("the plugin is compiled");
        let plugin = self.sandbox.install(bytes).await.map_err(Failure::unusable)?;
        drop(compiling);
        if let Some(folder) = &self.kept {
            // Nothing of what follows is worth a command.
            let _ = used(folder, &plugin.identity.digest, SystemTime::from(system().wall()));
            let _ = prune(folder, KEPT_BYTES_MAX);
        }
        Ok(plugin)
    }
}

/// Makes the folder where it is not there, and says what is wrong with one that is. Its place without links is the one to use: a link may lead
/// to another by then.
fn prepared(folder: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let me = rustix::process::geteuid().as_raw();
    // What a link leads to is what counts.
    let whole = folder.canonicalize()?;
    for place in whole.ancestors() {
        let about = place.metadata()?;
        let may = if place == whole { about.uid() == me && !others_write(&about) } else { is_safe(&about, me) };
        if !may {
            let place = place.display();
            return Err(io::Error::other(format!(
                "others than this user can write in {place} (`chmod go-w` mends that)"
            )));
        }
    }
    let key = whole.join("key");
    match key.symlink_metadata() {
        Ok(about) if about.uid() != me || !about.is_file() || about.mode() & 0o077 != 0 => {
            Err(io::Error::other(format!("{} can be read by others: remove it", key.display())))
        }
        _ => Ok(whole),
    }
}

/// Whether nobody can put another folder in the place of one that lies in this one.
fn is_safe(about: &Metadata, me: u32) -> bool {
    const STICKY: u32 = 0o1000;
    let owned = about.uid() == me || about.uid() == 0;
    owned && (!others_write(about) || about.mode() & STICKY != 0)
}

fn others_write(about: &Metadata) -> bool {
    about.mode() & 0o022 != 0
}

/// Notes that code was of use.
fn used(folder: &Path, digest: &Digest, now: SystemTime) -> io::Result<()> {
    let digest = digest.to_string();
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&digest) {
            File::options().append(true).open(entry.path())?.set_modified(now)?;
        }
    }
    Ok(())
}

/// Removes what was of no use for the longest, until no more than so many bytes are left.
fn prune(folder: &Path, most: u64) -> io::Result<()> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == COMPILED) {
            let about = path.metadata()?;
            found.push((about.modified()?, about.len(), path));
        }
    }
    found.sort();
    let mut kept = 0;
    for (_, bytes, path) in found.into_iter().rev() {
        kept += bytes;
        if kept > most {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("its owner's");
    }

    #[test]
    fn code_is_kept_only_where_nobody_else_can_write() {
        let place = tempfile::tempdir().expect("a folder");
        let (above, folder) = (place.path().join("cache"), place.path().join("cache/sortie/compiled"));
        prepared(&folder).expect("it is made");
        assert_eq!(folder.metadata().expect("it is there").mode() & 0o777, 0o700);
        for (path, wrong) in [(&folder, 0o777), (&folder, 0o770), (&above, 0o777), (&above, 0o775)] {
            mode(path, wrong);
            let why = prepared(&folder).expect_err("others can write").to_string();
            assert!(why.contains("chmod go-w"), "{why}");
            mode(path, 0o755);
            prepared(&folder).expect("nobody else writes there");
        }
        // As `/tmp` is: nobody takes another's folder out of it.
        mode(&above, 0o1777);
        prepared(&folder).expect("nobody takes it away");
        // A link leads somewhere else.
        let (open, link) = (place.path().join("open"), place.path().join("link"));
        std::fs::create_dir(&open).expect("a folder");
        mode(&open, 0o777);
        std::os::unix::fs::symlink(&open, &link).expect("a link");
        assert!(prepared(&link).is_err());
        // What is used is where it leads now.
        std::fs::remove_file(&link).expect("a link");
        std::os::unix::fs::symlink(&folder, &link).expect("a link");
        let whole = folder.canonicalize().expect("it is there");
        assert_eq!(prepared(&link).expect("nobody else writes there"), whole);
        let key = folder.join("key");
        std::fs::write(&key, [0; 32]).expect("writable");
        mode(&key, 0o644);
        assert!(prepared(&folder).is_err(), "others know the key");
        mode(&key, 0o600);
        prepared(&folder).expect("it is this user's");
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let place = tempfile::tempdir().expect("a folder");
        let file = |name: &str, age: u64| {
            let path = place.path().join(name);
            std::fs::write(&path, [0; 10]).expect("writable");
            let file = File::options().append(true).open(&path).expect("it is there");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age)).expect("its owner's");
        };
        let digest = Digest::of(b"oldest");
        for (name, age) in [(format!("{digest}-1.cwasm"), 3), ("b.cwasm".to_owned(), 2), ("c.cwasm".to_owned(), 1)] {
            file(&name, age);
        }
        file("key", 9);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
        used(place.path(), &digest, now).expect("it is there");
        prune(place.path(), 20).expect("a folder");
        let mut left: Vec<String> = place
            .path()
            .read_dir()
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        let mut expected = vec![format!("{digest}-1.cwasm"), "c.cwasm".to_owned(), "key".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
