//! The sandboxes of commands: what one command has compiled, the next one loads.
//!
//! Compiled code lies in the user's cache folder, by the digest of what it was made of and by all that it depends on. It is machine code,
//! and loaded as it lies there: so the folder, and each above it, has to be one in which nobody writes but this user and root, as `ssh` wants
//! it of its keys. Where it is not, a command compiles for itself alone, and says so. The rest is the rule of a node's own cache: what does not
//! carry a code under the folder's key is compiled anew.
//!
//! Commands are for authors, whose next component is nearly the one before it: so its functions are kept one by one, too. What makes components
//! in Python and JavaScript makes other bytes each time, of the same interpreter; with them half a minute becomes some seconds.

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

/// The same of packs of functions.
const PACKED: &str = "functions";

/// How many packs are kept: each change of a plugin may leave a small one, and all of them are opened to compile.
const PACKS_MAX: usize = 64;

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
        let by_function = kept.is_some();
        let sandbox = Sandbox::new(Options { compiled: kept.clone(), by_function, needs_bytes_max, ..options })?;
        Ok(Self { sandbox, kept, _store: store })
    }

    /// Takes in a plugin of these bytes.
    pub(super) async fn install(&self, bytes: Vec<u8>) -> Result<Installed, Failure> {
        let compiling = Progress::of("the plugin is compiled");
        let plugin = self.sandbox.install(bytes).await.map_err(Failure::unusable)?;
        drop(compiling);
        if let Some(folder) = &self.kept {
            // Nothing of what follows is worth a command.
            let packs = self.sandbox.packs_used();
            let _ = used(folder, &plugin.identity.digest, &packs, SystemTime::from(system().wall()));
            let _ = prune(folder, KEPT_BYTES_MAX, PACKS_MAX);
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

/// Notes that the code of a component was of use, and these packs.
fn used(folder: &Path, digest: &Digest, packs: &[PathBuf], now: SystemTime) -> io::Result<()> {
    let digest = digest.to_string();
    let mut used = packs.to_vec();
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&digest) {
            used.push(entry.path());
        }
    }
    used.iter().try_for_each(|path| File::options().append(true).open(path)?.set_modified(now))
}

/// Removes what was of no use for the longest, until no more than so many bytes and packs are left. Of what was of use together the small goes
/// first.
fn prune(folder: &Path, most: u64, packs_max: usize) -> io::Result<()> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let is = |end: &str| path.extension().is_some_and(|of| of == end);
        let is_pack = is(PACKED);
        if is_pack || is(COMPILED) {
            let about = path.metadata()?;
            found.push((about.modified()?, about.len(), path, is_pack));
        }
    }
    found.sort();
    let (mut kept, mut packs) = (0, 0);
    for (_, bytes, path, is_pack) in found.into_iter().rev() {
        kept += bytes;
        packs += usize::from(is_pack);
        if kept > most || is_pack && packs > packs_max {
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
        let oldest = format!("{digest}-1.cwasm");
        for (name, age) in [(oldest.as_str(), 6), ("b.cwasm", 5), ("c.functions", 4), ("d.functions", 3)] {
            file(name, age);
        }
        for (name, age) in [("e.functions", 2), ("f.cwasm", 1), ("key", 9)] {
            file(name, age);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
        used(place.path(), &digest, &[place.path().join("c.functions")], now).expect("it is there");
        let left = || {
            let entries = place.path().read_dir().expect("a folder").map(|entry| entry.expect("an entry").file_name());
            let left: std::collections::BTreeSet<String> =
                entries.map(|name| name.to_string_lossy().into_owned()).collect();
            left
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        prune(place.path(), 50, 2).expect("a folder");
        assert_eq!(
            left(),
            names(&[&oldest, "b.cwasm", "c.functions", "e.functions", "f.cwasm", "key"]),
            "of packs two"
        );
        prune(place.path(), 30, 9).expect("a folder");
        assert_eq!(left(), names(&[&oldest, "c.functions", "f.cwasm", "key"]), "of all three");
    }
}
