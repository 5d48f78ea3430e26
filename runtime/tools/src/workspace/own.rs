//! What the node itself puts into a workspace: beside what missions do there, and in spite of it.

use std::io::Write as _;

use sortie_contract::tool::CallError;

use super::path::normal;
use super::{Temporary, Workspace};

impl Workspace {
    /// Puts a file of the node's own at the top of the workspace, in the place of whatever file or link has that name: nothing is followed,
    /// and whoever reads it sees the old or the new content, also after a power cut. Blocks on the disk.
    ///
    /// # Errors
    /// There is no room, or a folder in its place.
    pub fn put_own(&self, name: &str, content: &[u8]) -> Result<(), CallError> {
        let place = normal(name)?;
        let root = self.dir(&place)?;
        let taken = self.take_room(root, &place, content.len())?;
        let failed = |source| place.io("written", source);
        let temporary = Temporary::create(root).map_err(failed)?;
        let mut file = &temporary.file;
        file.write_all(content).and_then(|()| file.sync_data()).map_err(failed)?;
        temporary.rename_to(name).map_err(failed)?;
        if let Some(taken) = taken {
            taken.keep();
        }
        root.open(".").and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_its_place_is_replaced_and_never_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, outside) = (folder.path().join("workspace"), folder.path().join("outside"));
        let workspace = Workspace::open(&root).expect("a workspace");
        workspace.put_own("a.json", b"1").expect("made with its folder");
        std::fs::write(&outside, "mine").expect("written");
        std::fs::write(root.join("inside"), "mine").expect("written");
        for target in [&outside, &root.join("inside"), &root.join("nowhere")] {
            std::fs::remove_file(root.join("a.json")).expect("gone");
            symlink(target, root.join("a.json")).expect("a link");
            workspace.put_own("a.json", b"2").expect("written");
            assert!(root.join("a.json").symlink_metadata().expect("there").is_file(), "{}", target.display());
            assert_eq!(std::fs::read(root.join("a.json")).expect("read"), b"2");
        }
        assert_eq!(std::fs::read(&outside).expect("read"), b"mine");
        assert_eq!(std::fs::read(root.join("inside")).expect("read"), b"mine");
        assert!(!root.join("nowhere").exists());
        std::fs::create_dir(root.join("folder")).expect("made");
        assert!(workspace.put_own("folder", b"3").is_err());
        assert!(workspace.put_own("../a", b"3").is_err());
        let left = std::fs::read_dir(&root)
            .expect("listed")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".sortie"));
        assert_eq!(left.count(), 0, "nothing half done stays behind");
    }
}
