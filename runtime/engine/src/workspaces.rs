//! The workspace of a session: a folder whose name is derived from the session's names, so that it is the same after any
//! restart (contract, section 1.1, rule 4).

use std::io;
use std::path::{Path, PathBuf};

use sortie_contract::digest::Digest;
use sortie_contract::{SessionId, VpId};
use sortie_tools::Workspace;

/// Where sessions work.
pub trait Workspaces: Send + Sync + 'static {
    /// The workspace of a session, made where there is none. Blocks.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace>;

    /// Where it is, for people.
    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf;
}

/// Folders below the node's data folder.
#[derive(Debug, Clone)]
pub struct FolderWorkspaces {
    /// The data folder.
    pub data_dir: PathBuf,
}

impl Workspaces for FolderWorkspaces {
    fn open(&self, vp: &VpId, session: &SessionId) -> io::Result<Workspace> {
        Workspace::open(&self.place(vp, session))
    }

    fn place(&self, vp: &VpId, session: &SessionId) -> PathBuf {
        workspace(&self.data_dir, vp, session)
    }
}

/// The workspace folder of a session below `data_dir`: readable, and safe whatever the names hold.
fn workspace(data_dir: &Path, vp: &VpId, session: &SessionId) -> PathBuf {
    let readable: String = session
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(60)
        .collect();
    // The names' lengths keep ("a", "b/c") and ("a/b", "c") apart.
    let names = format!("{}:{vp}{session}", vp.as_str().len());
    let digest = Digest::of(names.as_bytes()).to_string();
    data_dir.join("workspaces").join(format!("{}-{}", readable.trim_start_matches('.'), &digest[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp(id: &str) -> VpId {
        VpId::new(id).expect("valid")
    }

    fn session(id: &str) -> SessionId {
        SessionId::new(id).expect("valid")
    }

    #[test]
    fn workspaces_stay_in_their_folder_and_apart() {
        let root = Path::new("/data");
        for id in ["../../etc", "..", "/", "a b", "ä"] {
            let folder = workspace(root, &vp("vp"), &session(id));
            assert_eq!(folder.parent(), Some(Path::new("/data/workspaces")), "{id}");
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(!name.starts_with('.'), "{name}");
        }
        assert_ne!(workspace(root, &vp("a"), &session("bc")), workspace(root, &vp("ab"), &session("c")));
    }
}
