//! The data directory: made, or taken as it is, and its owner's alone.

use std::fs::File;
use std::path::Path;

/// What in a data directory is for its owner alone, and with which mode.
pub(crate) const PRIVATE: [(&str, u32); 8] = [
    ("", 0o700),
    ("journal.redb", 0o600),
    ("journal.redb.mark", 0o600),
    ("store.id", 0o600),
    ("artifacts", 0o700),
    ("notify", 0o700),
    ("workspaces", 0o700),
    ("plugins", 0o700),
];

/// Makes the data directory, or takes the one that is there, for its owner alone, and sees that it can be written. What is made
/// in it is for its owner alone, too.
pub(crate) fn prepare(data_dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    for (name, mode) in PRIVATE {
        tighten(&data_dir.join(name), mode)?;
    }
    tempfile::tempfile_in(data_dir)?;
    File::open(data_dir)?.sync_all()
}

/// Takes from others what they may do with a file or folder. What they could read until now they may have read; that is said.
fn tighten(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found?.permissions().mode(),
    };
    if found & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        let (path, mode) = (path.display(), format!("{:o}", found & 0o777));
        tracing::warn!(%path, mode, "others could read missions; now only their owner can");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_there_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        std::fs::create_dir_all(data.join("workspaces")).expect("made");
        std::fs::write(data.join("journal.redb"), "x").expect("written");
        for (path, loose) in [("", 0o755), ("workspaces", 0o777), ("journal.redb", 0o644)] {
            std::fs::set_permissions(data.join(path), std::fs::Permissions::from_mode(loose)).expect("loosened");
        }
        prepare(&data).expect("usable");
        std::fs::write(data.join("later"), "x").expect("written");
        for (path, tight) in [("", 0o700), ("workspaces", 0o700), ("journal.redb", 0o600), ("later", 0o600)] {
            assert_eq!(mode(&data.join(path)), tight, "{path}");
        }
    }
}
