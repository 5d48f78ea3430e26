//! The plugin store: components by digest, and which of them are installed.
//!
//! `DIGEST.wasm` is a component, `DIGEST.json` says that it is installed, and as what. Removing a plugin (or replacing it by
//! other bytes of the same name and version) removes the second file only: missions stay on the bytes that they started
//! with.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use semver::Version;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::PluginRef;

use super::cache::write;
use super::{Component, Installed};

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
    /// By name, then by version: the last of a name is the newest.
    installed: RwLock<BTreeMap<(String, Version), Installed>>,
}

impl Store {
    /// Opens the folder, and makes it where there is none. An entry that cannot be read is left out, with a warning.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let failed = |source| StoreError { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut installed = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|end| end == "json") {
                match read(&path) {
                    Ok((version, plugin)) => {
                        installed.insert((plugin.identity.name.clone(), version), plugin);
                    }
                    Err(error) => tracing::warn!(path = %path.display(), %error, "a plugin cannot be read"),
                }
            }
        }
        Ok(Self { folder, installed: RwLock::new(installed) })
    }

    /// Keeps a component, so that it can be run. It is not installed by that.
    pub(crate) fn keep(&self, component: &Component) -> Result<(), StoreError> {
        let path = self.wasm(&component.digest);
        if path.exists() {
            return Ok(());
        }
        write(&self.folder, &path, &[&component.bytes]).map_err(|source| StoreError { path, source })
    }

    /// The bytes of a component, checked against their digest.
    pub(crate) fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.wasm(digest);
        let read = std::fs::read(&path).and_then(|bytes| {
            if Digest::of(&bytes) == *digest {
                return Ok(bytes);
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged: install the plugin again"))
        });
        read.map_err(|source| StoreError { path, source })
    }

    /// Installs what was kept. The same name and version with other bytes is replaced.
    pub(crate) fn install(&self, version: Version, plugin: Installed) -> Result<(), StoreError> {
        let path = self.json(&plugin.identity.digest);
        let text = serde_json::to_vec_pretty(&plugin).expect("a manifest is plain data");
        write(&self.folder, &path, &[&text]).map_err(|source| StoreError { path, source })?;
        let digest = plugin.identity.digest;
        let replaced = self.installed.write().insert((plugin.identity.name.clone(), version), plugin);
        match replaced {
            Some(old) if old.identity.digest != digest => self.forget(&old.identity.digest),
            _ => Ok(()),
        }
    }

    /// Removes a plugin from what can be chosen; `false` where there is none.
    pub(crate) fn remove(&self, name: &str, version: &Version) -> Result<bool, StoreError> {
        match self.installed.write().remove(&(name.to_owned(), version.clone())) {
            Some(plugin) => self.forget(&plugin.identity.digest).map(|()| true),
            None => Ok(false),
        }
    }

    pub(crate) fn all(&self) -> Vec<Installed> {
        self.installed.read().values().cloned().collect()
    }

    /// The plugin of that name and version; without a version, the newest that is no pre-release, else the newest.
    pub(crate) fn resolve(&self, plugin: &PluginRef) -> Option<Installed> {
        let installed = self.installed.read();
        if let Some(version) = &plugin.version {
            let version = Version::parse(version).ok()?;
            return installed.get(&(plugin.name.clone(), version)).cloned();
        }
        let first = (plugin.name.clone(), Version::parse("0.0.0-0").expect("the lowest version"));
        let mut of_name =
            installed.range(first..).take_while(|((name, _), _)| *name == plugin.name).collect::<Vec<_>>();
        of_name.sort_by_key(|((_, version), _)| (version.pre.is_empty(), version));
        of_name.last().map(|(_, plugin)| (*plugin).clone())
    }

    fn forget(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.json(digest);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError { path, source }),
            _ => Ok(()),
        }
    }

    fn wasm(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn json(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
}

fn read(path: &Path) -> io::Result<(Version, Installed)> {
    let plugin: Installed = serde_json::from_slice(&std::fs::read(path)?)?;
    let version = Version::parse(&plugin.identity.version).map_err(io::Error::other)?;
    Ok((version, plugin))
}

#[cfg(test)]
mod tests {
    use sortie_contract::plugin::{Manifest, PluginIdentity};

    use super::*;

    fn plugin(name: &str, version: &str, bytes: &[u8]) -> (Version, Installed) {
        let (name, digest) = (name.to_owned(), Digest::of(bytes));
        let identity = PluginIdentity { name: name.clone(), version: version.to_owned(), digest };
        let manifest = Manifest { name, version: version.to_owned(), description: String::new(), inputs_schema: None };
        (Version::parse(version).unwrap(), Installed { identity, manifest: manifest.into() })
    }

    fn resolved(store: &Store, reference: &str) -> Option<String> {
        store.resolve(&reference.parse().unwrap()).map(|plugin| plugin.identity.version)
    }

    #[test]
    fn without_a_version_the_newest_release_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        for (name, version) in
            [("a", "1.9.0"), ("a", "1.10.0"), ("a", "2.0.0-rc.1"), ("b", "0.1.0-alpha"), ("aa", "9.0.0")]
        {
            let (version, plugin) = plugin(name, version, format!("{name}{version}").as_bytes());
            store.install(version, plugin).unwrap();
        }
        for store in [&store, &Store::open(folder.path().to_owned()).unwrap()] {
            assert_eq!(resolved(store, "a").as_deref(), Some("1.10.0"));
            assert_eq!(resolved(store, "a@1.9.0").as_deref(), Some("1.9.0"));
            assert_eq!(resolved(store, "b").as_deref(), Some("0.1.0-alpha"));
            assert_eq!(resolved(store, "c"), None);
            assert_eq!(store.all().len(), 5);
        }
        assert!(store.remove("a", &Version::new(1, 10, 0)).unwrap());
        assert!(!store.remove("a", &Version::new(1, 10, 0)).unwrap());
        assert_eq!(resolved(&store, "a").as_deref(), Some("1.9.0"));
    }

    #[test]
    fn replaced_bytes_can_still_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        for bytes in [b"old", b"new"] {
            store.keep(&Component { bytes: bytes.to_vec(), digest: Digest::of(bytes) }).unwrap();
            let (version, plugin) = plugin("a", "1.0.0", bytes);
            store.install(version, plugin).unwrap();
        }
        let reopened = Store::open(folder.path().to_owned()).unwrap();
        assert_eq!(reopened.all().len(), 1);
        assert_eq!(reopened.all()[0].identity.digest, Digest::of(b"new"));
        assert_eq!(reopened.bytes(&Digest::of(b"old")).unwrap(), b"old");
    }

    #[test]
    fn damaged_bytes_are_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned()).unwrap();
        let digest = Digest::of(b"good");
        store.keep(&Component { bytes: b"good".to_vec(), digest }).unwrap();
        std::fs::write(folder.path().join(format!("{digest}.wasm")), b"evil").unwrap();
        assert!(store.bytes(&digest).is_err());
        assert!(store.bytes(&Digest::of(b"gone")).is_err());
    }
}
