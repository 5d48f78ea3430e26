//! Landlock: the kernel refuses paths, signals and sockets to the outside by itself, whatever the file tree shows.
//!
//! With a file tree of its own the command sees just what it may read; Landlock says once more what of it may be changed. Without one it is
//! all there is between the command and the disk.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Trouble;
use crate::policy::{Layer, Policy, SYSTEM, WORKSPACE};

/// The newest version whose rights are known here; of those that the kernel does not know the crate leaves out what it must.
const NEWEST: ABI = ABI::V7;

/// Devices that are nobody's, and that programs write to.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Restricts this process for good. Returns the kernel's version of Landlock.
pub(super) fn restrict(policy: &Policy) -> Result<i32, Trouble> {
    let failed = |error: &dyn std::fmt::Display| Trouble::new(Layer::Landlock, "Landlock", error);
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::from_read(NEWEST);
    let mut rules = Ruleset::default()
        .handle_access(all)
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(|error| failed(&error))?;
    for (path, access) in granted(policy, all, read) {
        // What is not there cannot be reached.
        let Ok(parent) = PathFd::new(&path) else { continue };
        let of_a_file = AccessFs::from_file(NEWEST);
        let access = if path.is_dir() { access } else { access & of_a_file };
        rules = rules
            .add_rule(PathBeneath::new(parent, access))
            .map_err(|error| failed(&format!("{}: {error}", path.display())))?;
    }
    let status = rules.restrict_self().map_err(|error| failed(&error))?;
    match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, kernel_abi },
        ) => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
        (_, LandlockStatus::NotEnabled) => {
            Err(failed(&"it is in this kernel, but not switched on; add `landlock` to `lsm=` at boot"))
        }
        _ => Err(failed(&"this kernel has none; it came with Linux 5.13")),
    }
}

/// Which paths, and what of them.
fn granted(policy: &Policy, all: BitFlags<AccessFs>, read: BitFlags<AccessFs>) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let mut granted: Vec<(PathBuf, BitFlags<AccessFs>)> = Vec::new();
    // No device can be made there anyway; that it may not be tried says so twice.
    let change = all & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    if policy.layers.namespaces {
        granted.push((PathBuf::from("/"), read));
        granted.extend([WORKSPACE, "/tmp"].map(|path| (PathBuf::from(path), change)));
    } else {
        granted.extend(SYSTEM.map(|path| (PathBuf::from(path), read)));
        granted.extend(policy.read.iter().map(|path| (path.clone(), read)));
        granted.push((policy.workspace.clone(), change));
    }
    granted.extend(policy.write.iter().map(|path| (path.clone(), change)));
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    granted.extend(DEVICES.map(|name| (Path::new("/dev").join(name), device)));
    granted
}
