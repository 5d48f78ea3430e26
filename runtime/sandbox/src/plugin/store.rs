//! The plugin store: components by digest, and which of them are installed.
//!
//! `DIGEST.wasm` is a component; `NAME@VERSION.json` says that it is installed, and as what. Removing a plugin removes the second
//! file, and replacing it (other bytes of the same name and version) replaces that file in one step: after a crash it is the
//! old one or the new one. Missions stay on the bytes that they started with, until nobody says that he holds them
//! ([`Store::discard`]).
//!
//! Older stores have `DIGEST.json` instead; those are read, and replaced when their plugin is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use semver::Version;
use sortie_contract::digest::Digest;

use super::file::{Freed, is_left_over, remove, write};
use super::{Component, Installed};

/// How often a component that was uninstalled while the node runs is left alone by [`Store::unused`]: a mission may be on its way
/// into the journal that was told of it before.
const ROUNDS_LEFT_ALONE: u32 = 16;

/// The plugin store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the plugin store cannot use {}", path.display())]
pub struct StoreError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder of plugins, and its index in memory.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// By name, then by version. Changed by whoever holds `stored` alone.
    installed: RwLock<BTreeMap<(String, Version), Entry>>,
    /// What is installed and may not be chosen, by digest, with the reason.
    aside: RwLock<HashMap<Digest, String>>,
    /// Which components are there. Held while files change, so that disk and memory agree whoever races.
    stored: Mutex<Stored>,
}

/// An installed plugin, and the file that says so; none where the disk did not take it.
#[derive(Debug, Clone)]
struct Entry {
    plugin: Installed,
    path: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Stored {
    on_disk: HashSet<Digest>,
    /// Components that the disk did not take: of plugins that the binary carries.
    in_memory: HashMap<Digest, Arc<[u8]>>,
    /// How often a component that was uninstalled is still left alone.
    left_alone: HashMap<Digest, u32>,
}

impl Store {
    /// Opens the folder, and makes it where there is none. An entry that cannot be read is left out, with a warning.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let failed = |source| StoreError { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let (mut found, mut stored) = (Vec::new(), Stored::default());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            match path.extension().and_then(|end| end.to_str()) {
                Some("wasm") => stored.on_disk.extend(stem.parse::<Digest>().ok()),
                Some("json") => match read(&path) {
                    Ok((version, plugin)) => found.push((version, plugin, path)),
                    Err(error) => tracing::warn!(path = %path.display(), %error, "a plugin cannot be read"),
                },
                _ => {}
            }
        }
        // Where an older Sortie was broken off while it replaced a plugin there are two: the later one counts.
        found.sort_by_key(|(_, plugin, path)| (*path == named(&folder, plugin), modified(path)));
        let mut installed = BTreeMap::new();
        for (version, plugin, path) in found {
            let entry = Entry { plugin, path: Some(path) };
            let key = (entry.plugin.identity.name.clone(), version);
            if let Some(Entry { path: Some(older), .. }) = installed.insert(key, entry)
                && let Err(error) = remove(&folder, &older)
            {
                tracing::warn!(path = %older.display(), %error, "what was left of a replaced plugin cannot be removed");
            }
        }
        Ok(Self { folder, installed: RwLock::new(installed), aside: RwLock::default(), stored: Mutex::new(stored) })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a component and installs it, and says as what: with what was known of the same bytes before. The same name and version with
    /// other bytes is replaced. What is on disk already, and whole, is not written again: so a full disk refuses nothing that is there.
    pub(crate) fn install(
        &self,
        component: &Component,
        version: Version,
        mut plugin: Installed,
    ) -> Result<Installed, StoreError> {
        let mut stored = self.stored.lock();
        self.keep(&mut stored, component)?;
        let key = (plugin.identity.name.clone(), version.clone());
        let before = self.installed.read().get(&key).map(|entry| entry.plugin.clone());
        if let Some(before) = before.filter(|before| before.identity.digest == component.digest) {
            plugin.origin = plugin.origin.or(before.origin);
        }
        let path = named(&self.folder, &plugin);
        let text = described(&plugin);
        if !std::fs::read(&path).is_ok_and(|there| there == text) {
            write(&self.folder, &path, &[&text]).map_err(|source| StoreError { path: path.clone(), source })?;
        }
        self.enter(&mut stored, version, Entry { plugin: plugin.clone(), path: Some(path) })?;
        Ok(plugin)
    }

    /// Lets an installed component not be chosen any more, and says why. Installing it again takes that back.
    pub(crate) fn set_aside(&self, digest: Digest, why: String) {
        self.aside.write().insert(digest, why);
    }

    /// Why it may not be chosen; nothing, where it may.
    pub(crate) fn aside(&self, digest: &Digest) -> Option<String> {
        self.aside.read().get(digest).cloned()
    }

    /// What a component is installed as, if all that says so is on disk, and whole: as this version would write it.
    pub(crate) fn installed(&self, component: &Component) -> Option<Installed> {
        let is_it = |entry: &&Entry| entry.plugin.identity.digest == component.digest;
        let Entry { plugin, path } = self.installed.read().values().find(is_it).cloned()?;
        let is_whole = std::fs::read(path?).is_ok_and(|there| there == described(&plugin))
            && std::fs::read(self.wasm(&component.digest)).is_ok_and(|bytes| bytes == component.bytes);
        is_whole.then_some(plugin)
    }

    /// Installs a component that the disk does not take, for as long as this node runs.
    pub(crate) fn lend(&self, component: &Component, version: Version, plugin: Installed) {
        let mut stored = self.stored.lock();
        let digest = component.digest;
        if self.keep(&mut stored, component).is_err() {
            stored.in_memory.insert(digest, component.bytes.as_slice().into());
        }
        let path =
            self.installed.read().values().find(|entry| entry.plugin == plugin).and_then(|entry| entry.path.clone());
        if let Err(error) = self.enter(&mut stored, version, Entry { plugin, path }) {
            tracing::warn!(%error, "what was left of a replaced plugin cannot be removed");
        }
    }

    /// The bytes of a component, checked against their digest.
    pub(crate) fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        if let Some(bytes) = self.stored.lock().in_memory.get(digest) {
            return Ok(bytes.to_vec());
        }
        let path = self.wasm(digest);
        let read = std::fs::read(&path).and_then(|bytes| {
            if Digest::of(&bytes) == *digest {
                return Ok(bytes);
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged: install the plugin again"))
        });
        read.map_err(|source| StoreError { path, source })
    }

    /// Removes a plugin from what can be chosen; `false` where there is none, or other bytes than those that are meant.
    pub(crate) fn remove(&self, name: &str, version: &Version, meant: Option<&Digest>) -> Result<bool, StoreError> {
        let mut stored = self.stored.lock();
        let key = (name.to_owned(), version.clone());
        let Some(entry) = self.installed.read().get(&key).cloned() else { return Ok(false) };
        if meant.is_some_and(|meant| *meant != entry.plugin.identity.digest) {
            return Ok(false);
        }
        // The file first: what cannot be removed must not be back after the next start.
        self.forget(entry.path)?;
        self.installed.write().remove(&key);
        stored.left_alone.insert(entry.plugin.identity.digest, ROUNDS_LEFT_ALONE);
        Ok(true)
    }

    pub(crate) fn all(&self) -> Vec<Installed> {
        self.installed.read().values().map(|entry| entry.plugin.clone()).collect()
    }

    /// What is installed under a name and may be chosen, by version.
    pub(crate) fn named(&self, name: &str) -> Vec<Installed> {
        let (installed, aside) = (self.installed.read(), self.aside.read());
        let first = (name.to_owned(), Version::parse("0.0.0-0").expect("the lowest version"));
        let of_name = installed.range(first..).take_while(|((of, _), _)| of == name);
        let may_be_chosen = of_name.filter(|(_, entry)| !aside.contains_key(&entry.plugin.identity.digest));
        may_be_chosen.map(|(_, entry)| entry.plugin.clone()).collect()
    }

    /// Components that are there and not installed. Missions may still hold them.
    pub(crate) fn unused(&self) -> Vec<Digest> {
        let mut stored = self.stored.lock();
        stored.left_alone.retain(|_, rounds| {
            *rounds -= 1;
            *rounds > 0
        });
        let installed = self.digests();
        let unused = stored.on_disk.iter().filter(|digest| !installed.contains(digest));
        let mut unused: Vec<Digest> =
            unused.filter(|digest| !stored.left_alone.contains_key(digest)).copied().collect();
        unused.sort();
        unused
    }

    /// Removes components that nobody holds, unless they have been installed meanwhile, were it for a moment, and what broken
    /// writes left.
    pub(crate) fn discard(&self, unheld: &[Digest], freed: &mut Freed) -> io::Result<()> {
        let mut stored = self.stored.lock();
        let installed = self.digests();
        // Installed again since it was looked, and perhaps replaced again: somebody may have been told of it.
        let is_new = |digest: &Digest| installed.contains(digest) || stored.left_alone.contains_key(digest);
        let unheld: HashSet<Digest> = unheld.iter().filter(|digest| !is_new(digest)).copied().collect();
        freed.remove_where(&self.folder, |name| match name.strip_suffix(".wasm") {
            Some(digest) => digest.parse().is_ok_and(|digest: Digest| unheld.contains(&digest)),
            None => is_left_over(name),
        })?;
        stored.on_disk.retain(|digest| !unheld.contains(digest));
        Ok(())
    }

    /// Whether a component is there.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        let stored = self.stored.lock();
        stored.on_disk.contains(digest) || stored.in_memory.contains_key(digest)
    }

    fn digests(&self) -> HashSet<Digest> {
        self.installed.read().values().map(|entry| entry.plugin.identity.digest).collect()
    }

    /// Keeps a component, so that it can be run. A file that is there is believed once it has been read: installing a plugin again
    /// mends it.
    fn keep(&self, stored: &mut Stored, component: &Component) -> Result<(), StoreError> {
        let path = self.wasm(&component.digest);
        let is_whole = std::fs::read(&path).is_ok_and(|bytes| bytes == component.bytes);
        if !is_whole {
            write(&self.folder, &path, &[&component.bytes]).map_err(|source| StoreError { path, source })?;
        }
        stored.on_disk.insert(component.digest);
        stored.in_memory.remove(&component.digest);
        Ok(())
    }

    /// Lets it be chosen from now on.
    fn enter(&self, stored: &mut Stored, version: Version, entry: Entry) -> Result<(), StoreError> {
        let (digest, path) = (entry.plugin.identity.digest, entry.path.clone());
        stored.left_alone.remove(&digest);
        self.aside.write().remove(&digest);
        let key = (entry.plugin.identity.name.clone(), version);
        let Some(replaced) = self.installed.write().insert(key, entry) else { return Ok(()) };
        if replaced.plugin.identity.digest != digest {
            stored.left_alone.insert(replaced.plugin.identity.digest, ROUNDS_LEFT_ALONE);
        }
        if replaced.path == path || path.is_none() { Ok(()) } else { self.forget(replaced.path) }
    }

    fn forget(&self, path: Option<PathBuf>) -> Result<(), StoreError> {
        let Some(path) = path else { return Ok(()) };
        remove(&self.folder, &path).map_err(|source| StoreError { path, source })
    }

    fn wasm(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }
}

/// The file that says that a plugin is installed. Names and versions hold nothing that a path does not take.
fn named(folder: &Path, plugin: &Installed) -> PathBuf {
    folder.join(format!("{}@{}.json", plugin.identity.name, plugin.identity.version))
}

/// What it says.
fn described(plugin: &Installed) -> Vec<u8> {
    serde_json::to_vec_pretty(plugin).expect("a manifest is plain data")
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn read(path: &Path) -> io::Result<(Version, Installed)> {
    let plugin: Installed = serde_json::from_slice(&std::fs::read(path)?)?;
    let version = Version::parse(&plugin.identity.version).map_err(io::Error::other)?;
    Ok((version, plugin))
}

#[cfg(test)]
mod tests {
    use sortie_contract::plugin::{Manifest, Origin, PluginIdentity, Signed};

    use super::*;

    fn component(bytes: &[u8]) -> Component {
        Component { bytes: bytes.to_vec(), digest: Digest::of(bytes) }
    }

    fn plugin(name: &str, version: &str, bytes: &[u8]) -> (Version, Installed) {
        let (name, digest) = (name.to_owned(), Digest::of(bytes));
        let identity = PluginIdentity { name: name.clone(), version: version.to_owned(), digest };
        let manifest = Manifest { name, version: version.to_owned(), ..Manifest::default() };
        (Version::parse(version).unwrap(), Installed { identity, manifest: manifest.into(), origin: Origin::default() })
    }

    fn install(store: &Store, name: &str, version: &str, bytes: &[u8]) {
        let (version, plugin) = plugin(name, version, bytes);
        store.install(&component(bytes), version, plugin).unwrap();
    }

    fn versions(store: &Store, name: &str) -> Vec<String> {
        store.named(name).into_iter().map(|plugin| plugin.identity.version).collect()
    }

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(folder.path().to_owned()).unwrap()
    }

    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_plugin_is_found_by_its_name_in_each_of_its_versions() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for (name, version) in
            [("a", "1.9.0"), ("a", "1.10.0"), ("a", "2.0.0-rc.1"), ("b", "0.1.0-alpha"), ("aa", "9.0.0")]
        {
            install(&store, name, version, format!("{name}{version}").as_bytes());
        }
        for store in [&store, &open(&folder)] {
            assert_eq!(versions(store, "a"), ["1.9.0", "1.10.0", "2.0.0-rc.1"]);
            assert_eq!(versions(store, "b"), ["0.1.0-alpha"]);
            assert!(versions(store, "c").is_empty());
            assert_eq!(store.all().len(), 5);
        }
        assert!(store.remove("a", &Version::new(1, 10, 0), None).unwrap());
        assert!(!store.remove("a", &Version::new(1, 10, 0), None).unwrap());
        assert_eq!(versions(&store, "a"), ["1.9.0", "2.0.0-rc.1"]);
        assert_eq!(versions(&open(&folder), "a"), ["1.9.0", "2.0.0-rc.1"], "after a restart, too");
    }

    #[test]
    fn what_is_installed_and_whole_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        install(&open(&folder), "a", "1.0.0", b"code");
        let known = || open(&folder).installed(&component(b"code")).map(|plugin| plugin.identity.name);
        assert_eq!(known().as_deref(), Some("a"));
        assert!(open(&folder).installed(&component(b"other")).is_none());
        let (entry, code) = (folder.path().join("a@1.0.0.json"), open(&folder).wasm(&Digest::of(b"code")));
        // A version that knew less of plugins has written it.
        let whole = std::fs::read_to_string(&entry).unwrap();
        std::fs::write(&entry, whole.replace("\"needs\": []", "\"wants\": []")).unwrap();
        assert_eq!(known(), None);
        std::fs::write(&entry, whole).unwrap();
        assert_eq!(known().as_deref(), Some("a"));
        std::fs::write(code, b"cod").unwrap();
        assert_eq!(known(), None);
    }

    /// Who vouched for some bytes vouches for the same bytes, and for no others.
    #[test]
    fn what_is_known_of_bytes_stays_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let at = |second| Some(sortie_contract::Timestamp::from_second(second).unwrap());
        let signed = Signed { key: "k".into(), name: "n".into(), comment: "c".into(), signature: "s".into() };
        let install = |bytes: &[u8], origin: Origin| {
            let (version, plugin) = plugin("a", "1.0.0", bytes);
            store.install(&component(bytes), version, Installed { origin, ..plugin }).unwrap().origin
        };
        let first = Origin { from: None, signed: Some(signed.clone()), installed_at: at(1) };
        assert_eq!(install(b"1", first.clone()), first);
        let again = install(b"1", Origin { from: Some("oci://x".into()), signed: None, installed_at: at(2) });
        assert_eq!(again, Origin { from: Some("oci://x".into()), signed: Some(signed), installed_at: at(1) });
        assert_eq!(open(&folder).all()[0].origin, again, "after a restart, too");
        let other = Origin { installed_at: at(3), ..Origin::default() };
        assert_eq!(install(b"2", other.clone()), other);
    }

    #[test]
    fn what_is_set_aside_is_not_chosen_until_it_is_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        install(&store, "a", "1.0.0", b"1");
        install(&store, "a", "2.0.0", b"2");
        store.set_aside(Digest::of(b"2"), "not signed".to_owned());
        assert_eq!(versions(&store, "a"), ["1.0.0"]);
        assert_eq!(store.aside(&Digest::of(b"2")).as_deref(), Some("not signed"));
        assert_eq!(
            (store.all().len(), store.bytes(&Digest::of(b"2")).unwrap()),
            (2, b"2".to_vec()),
            "who has it keeps it"
        );
        install(&store, "a", "2.0.0", b"2");
        assert_eq!(versions(&store, "a"), ["1.0.0", "2.0.0"]);
    }

    #[test]
    fn replaced_bytes_can_still_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for bytes in [b"old", b"new"] {
            install(&store, "a", "1.0.0", bytes);
        }
        let reopened = open(&folder);
        assert!(!reopened.remove("a", &Version::new(1, 0, 0), Some(&Digest::of(b"old"))).unwrap(), "it is another one");
        assert_eq!(reopened.all().len(), 1);
        assert_eq!(reopened.all()[0].identity.digest, Digest::of(b"new"));
        assert_eq!(reopened.bytes(&Digest::of(b"old")).unwrap(), b"old");
        assert!(reopened.remove("a", &Version::new(1, 0, 0), Some(&Digest::of(b"new"))).unwrap());
        assert_eq!(reopened.all(), []);
    }

    #[test]
    fn damaged_bytes_are_not_run_and_installing_again_mends_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let digest = Digest::of(b"good");
        for damage in [&b"evil"[..], b"", b"goo"] {
            install(&store, "a", "1.0.0", b"good");
            assert_eq!(store.bytes(&digest).unwrap(), b"good");
            std::fs::write(folder.path().join(format!("{digest}.wasm")), damage).unwrap();
            assert!(store.bytes(&digest).is_err());
        }
        install(&store, "a", "1.0.0", b"good");
        std::fs::remove_file(folder.path().join(format!("{digest}.wasm"))).unwrap();
        install(&store, "a", "1.0.0", b"good");
        assert_eq!(store.bytes(&digest).unwrap(), b"good");
        assert!(store.bytes(&Digest::of(b"gone")).is_err());
    }

    /// At whichever moment it was broken off, by this Sortie or by an older one, a replaced plugin is one plugin.
    #[test]
    fn a_crash_while_a_version_is_replaced_leaves_one_of_the_two() {
        let folder = tempfile::tempdir().unwrap();
        let of_old_kind = |bytes: &[u8], age: u64| {
            let (_, plugin) = plugin("a", "1.0.0", bytes);
            std::fs::write(folder.path().join(format!("{}.wasm", Digest::of(bytes))), bytes).unwrap();
            let path = folder.path().join(format!("{}.json", Digest::of(bytes)));
            std::fs::write(&path, serde_json::to_vec(&plugin).unwrap()).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age)).unwrap();
        };
        // Names that sort both ways round.
        for (older, newer) in [(&b"old"[..], &b"new"[..]), (b"1", b"2"), (b"2", b"1")] {
            of_old_kind(older, 10);
            of_old_kind(newer, 5);
            let store = open(&folder);
            assert_eq!(store.all().len(), 1);
            assert_eq!(store.all()[0].identity.digest, Digest::of(newer), "the later one");
            assert!(!folder.path().join(format!("{}.json", Digest::of(older))).exists());
            install(&store, "a", "1.0.0", b"newest");
            assert_eq!(files(&folder).iter().filter(|name| name.ends_with(".json")).count(), 1);
            // Broken off between the new file and the removal of the old kind.
            of_old_kind(newer, 0);
            assert_eq!(open(&folder).all()[0].identity.digest, Digest::of(b"newest"));
            assert!(open(&folder).remove("a", &Version::new(1, 0, 0), None).unwrap());
            assert_eq!(open(&folder).all(), []);
        }
    }

    #[test]
    fn what_nobody_holds_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for bytes in [&b"1"[..], b"2", b"3"] {
            install(&store, "a", "1.0.0", bytes);
        }
        std::fs::write(folder.path().join(".tmpXyZ"), b"half").unwrap();
        for _ in 1..ROUNDS_LEFT_ALONE {
            assert_eq!(store.unused(), [], "a mission that was told of it may be on its way");
        }
        let mut gone = [Digest::of(b"1"), Digest::of(b"2")];
        gone.sort();
        for store in [&store, &open(&folder)] {
            assert_eq!(store.unused(), gone);
        }
        let mut freed = Freed::default();
        // It is held no longer, and installed again in the last moment.
        install(&store, "a", "1.0.0", b"2");
        store.discard(&gone, &mut freed).unwrap();
        assert_eq!(freed, Freed { files: 2, bytes: 5 });
        // The same, and replaced again: a mission may have been told of it in between.
        install(&store, "a", "1.0.0", b"3");
        store.discard(&gone, &mut freed).unwrap();
        assert!(store.has(&Digest::of(b"2")));
        install(&store, "a", "1.0.0", b"2");
        assert!(!store.has(&Digest::of(b"1")) && store.has(&Digest::of(b"2")) && store.has(&Digest::of(b"3")));
        assert_eq!(open(&folder).all()[0].identity.digest, Digest::of(b"2"));
    }

    #[test]
    fn one_name_and_version_raced_for_is_the_same_on_disk_and_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for _ in 0..20 {
            std::thread::scope(|threads| {
                for bytes in [&b"1"[..], b"2", b"3", b"4"] {
                    threads.spawn(|| install(&store, "a", "1.0.0", bytes));
                }
                threads.spawn(|| store.remove("a", &Version::new(1, 0, 0), None).unwrap());
            });
            assert_eq!(store.all(), open(&folder).all());
        }
    }

    /// Whoever installs while it is collected: what is installed can be run, and what was replaced a moment ago is left alone.
    #[test]
    fn installing_and_collecting_do_not_race() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b"1"[..], b"2", b"3"] {
            install(&open(&folder), "a", "1.0.0", bytes);
        }
        let store = open(&folder);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 0..200 {
                    install(&store, "a", "1.0.0", [&b"1"[..], b"2", b"3"][round % 3]);
                    store.bytes(&store.named("a")[0].identity.digest).unwrap();
                }
            });
            threads.spawn(|| {
                for _ in 0..200 {
                    store.discard(&store.unused(), &mut Freed::default()).unwrap();
                }
            });
        });
        assert_eq!(store.bytes(&store.all()[0].identity.digest).unwrap().len(), 1);
    }

    /// Of a folder that takes nothing, everything that is there can be used, and so can what the binary carries.
    #[test]
    fn a_disk_that_takes_nothing_refuses_nothing_that_is_there() {
        let around = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (around.path().join("plugins"), around.path().join("elsewhere"));
        let open = || Store::open(folder.clone()).unwrap();
        install(&open(), "a", "1.0.0", b"there");
        let store = open();
        // It is somewhere else now, so that nothing can be made where it was: by nobody, root included.
        std::fs::rename(&folder, &elsewhere).unwrap();
        let (version, carried) = plugin("b", "1.0.0", b"carried");
        assert!(store.install(&component(b"carried"), version.clone(), carried.clone()).is_err());
        assert!(versions(&store, "b").is_empty());
        store.lend(&component(b"carried"), version, carried);
        assert_eq!(versions(&store, "b"), ["1.0.0"]);
        assert_eq!(store.bytes(&Digest::of(b"carried")).unwrap(), b"carried");
        std::fs::rename(&elsewhere, &folder).unwrap();
        assert_eq!(versions(&open(), "a"), ["1.0.0"]);
        assert!(versions(&open(), "b").is_empty(), "it was lent, for as long as this node ran");
    }
}
