//! What the node itself puts into a workspace: beside what missions do there, and in spite of it.

use std::io::{self, Write as _};

use cap_std::fs::Dir;
use sortie_contract::tool::CallError;

use super::path::normal;
use super::{Temporary, Workspace};

/// So many folders step aside for a file of the node's own: one for each mission of a session that makes one, as long as somebody looks.
const ASIDE_MAX: u32 = 100;

impl Workspace {
    /// Puts a file of the node's own at the top of the workspace, in the place of whatever file or link has that name: nothing is followed,
    /// and whoever reads it sees the old or the new content, also after a power cut. A folder of that name steps aside, with all that is in it: it
    /// gets a number behind its name. Blocks on the disk.
    ///
    /// # Errors
    /// There is no room, or there are as many folders aside as there may be.
    pub fn put_own(&self, name: &str, content: &[u8]) -> Result<(), CallError> {
        let place = normal(name)?;
        let root = self.dir(&place)?;
        let taken = self.take_room(root, &place, content.len())?;
        let failed = |source| place.io("written", source);
        let temporary = Temporary::create(root).map_err(failed)?;
        let mut file = &temporary.file;
        file.write_all(content).and_then(|()| file.sync_data()).map_err(failed)?;
        if root.symlink_metadata(name).is_ok_and(|there| there.is_dir()) {
            step_aside(root, name).map_err(failed)?;
        }
        temporary.rename_to(name).map_err(failed)?;
        if let Some(taken) = taken {
            taken.keep();
        }
        root.open(".").and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(())
    }
}

/// Gives a folder the next name behind its own that nothing has.
fn step_aside(root: &Dir, name: &str) -> io::Result<()> {
    let mut names = (1..=ASIDE_MAX).map(|number| format!("{name}.{number}"));
    let free = names.find(|name| root.symlink_metadata(name).is_err());
    let free = free.ok_or_else(|| {
        let why =
            format!("a folder is in its place, and {ASIDE_MAX} others of that name have stepped aside: remove some");
        io::Error::new(io::ErrorKind::IsADirectory, why)
    })?;
    root.rename(name, root, free)
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
        // A folder keeps nobody from it, and nothing in it is lost.
        for (round, aside) in ["folder.1", "folder.2"].into_iter().enumerate() {
            std::fs::create_dir_all(root.join("folder")).expect("made");
            std::fs::write(root.join("folder/mine"), round.to_string()).expect("written");
            workspace.put_own("folder", b"3").expect("written");
            assert_eq!(std::fs::read(root.join("folder")).expect("read"), b"3");
            assert_eq!(std::fs::read(root.join(aside).join("mine")).expect("read"), round.to_string().as_bytes());
            std::fs::remove_file(root.join("folder")).expect("gone");
        }
        assert!(workspace.put_own("../a", b"3").is_err());
        let left = std::fs::read_dir(&root)
            .expect("listed")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".sortie"));
        assert_eq!(left.count(), 0, "nothing half done stays behind");
    }
}
