//! The file tree of a confined command: a new one, in memory, in which nothing is but what it may see.
//!
//! Everything else of the machine (the node's data, homes, other processes, devices) is not forbidden there: it is absent. What can be read is
//! mounted read-only, for Landlock does not know of modes and owners; nothing there gives rights or is a device.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::landlock::DEVICES;
use super::{Trouble, monitor};
use crate::policy::{Layer, Policy, SYSTEM, WORKSPACE};

/// Where the new tree is put together: a folder that is everywhere. In this namespace nobody needs what it hides.
const SITE: &str = "/usr";

/// What the tree itself may take, in bytes: folders and links.
const TREE_BYTES: u64 = 1 << 20;

/// Files and folders of `/tmp`.
const TEMPORARY_FILES: u64 = 100_000;

/// Something of the machine, on its way into the new tree.
struct Piece {
    mount: OwnedFd,
    is_folder: bool,
}

/// Builds it and moves in. Afterwards this process stands in the workspace.
pub(super) fn build(policy: &Policy) -> Result<(), Trouble> {
    at("a namespace of mounts", monitor::unshare(UnshareFlags::NEWNS))?;
    at(
        "making mounts private",
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC),
    )?;
    // Before the site hides some of it.
    let (links, pieces) = pieces(policy)?;
    let site = Path::new(SITE);
    mount_memory(site, TREE_BYTES, 10_000)?;
    for (target, link) in links {
        let place = below(site, &target);
        parent(&place)?;
        at("a link", std::os::unix::fs::symlink(link, place))?;
    }
    for (target, piece) in pieces {
        let place = below(site, &target);
        parent(&place)?;
        // Below a piece that was mounted before it is there already, and is the machine's own.
        if !place.exists() {
            if piece.is_folder {
                at("a folder", fs::create_dir_all(&place))?;
            } else {
                at("a file", fs::File::create_new(&place))?;
            }
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        let moved = rustix::mount::move_mount(piece.mount.as_fd(), "", CWD, &place, flags);
        at(&format!("mounting {}", target.display()), moved)?;
    }
    let temporary = site.join("tmp");
    at("a folder", fs::create_dir_all(&temporary))?;
    mount_memory(&temporary, policy.limits.memory_bytes / 2, TEMPORARY_FILES)?;
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("shm", "/tmp")]
    {
        at("a link", std::os::unix::fs::symlink(target, site.join("dev").join(name)))?;
    }
    let processes = site.join("proc");
    at("a folder", fs::create_dir_all(&processes))?;
    let mut changeable: Vec<PathBuf> = policy.write.iter().map(|path| below(site, path)).collect();
    changeable.extend([below(site, Path::new(WORKSPACE)), temporary]);
    restrict(site, &changeable)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    at(
        "mounting /proc (a container that hides parts of /proc from its own forbids it)",
        rustix::mount::mount("proc", &processes, "proc", flags, None),
    )?;
    bound_numbers(&processes, policy.limits.processes)?;
    let flags = flags | MountFlags::BIND | MountFlags::RDONLY;
    at("making /proc read-only", rustix::mount::mount_remount(&processes, flags, ""))?;
    at("going to the new tree", std::env::set_current_dir(site))?;
    at("changing the root", rustix::process::pivot_root(".", "."))?;
    at("leaving the old tree", rustix::mount::unmount(".", UnmountFlags::DETACH))?;
    at("going to the workspace", std::env::set_current_dir(WORKSPACE))?;
    let _ = rustix::system::sethostname(b"sortie");
    Ok(())
}

/// The numbers below this one are given once, and not again.
const RESERVED_NUMBERS: u64 = 300;

/// What is tried where the kernel takes no smaller bound: its least one is eight for each processor that there could be.
const LARGER_BOUNDS: [u64; 3] = [4_096, 32_768, 131_072];

/// Where a PID namespace has numbers of its own (Linux 6.14), there are no more of them than a command may have processes, and those that are
/// reserved: what forks faster than anybody looks meets an end of the kernel's. Before, the same file is the whole machine's.
fn bound_numbers(processes: &Path, most: u64) -> Result<(), Trouble> {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < (6, 14) {
        return Ok(());
    }
    let bounded = least_bound(RESERVED_NUMBERS + 1 + most, |numbers| {
        fs::write(processes.join("sys/kernel/pid_max"), numbers.to_string())
    });
    at("bounding the numbers of processes", bounded)
}

/// Sets the smallest bound that the kernel takes: on a machine of many processors none may be so small, and says so by `EINVAL`. Where it
/// takes none, who looks at the processes while they run bounds them alone, as with kernels before.
fn least_bound(wanted: u64, mut set: impl FnMut(u64) -> std::io::Result<()>) -> std::io::Result<()> {
    let larger = LARGER_BOUNDS.into_iter().filter(|bound| *bound > wanted);
    for bound in std::iter::once(wanted).chain(larger) {
        match set(bound) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            done => return done,
        }
    }
    Ok(())
}

/// What of the machine comes into the tree, by its place there: links, and what is mounted. Parents come before what is below them.
type Pieces = (BTreeMap<PathBuf, PathBuf>, BTreeMap<PathBuf, Piece>);

fn pieces(policy: &Policy) -> Result<Pieces, Trouble> {
    let (mut links, mut pieces) = (BTreeMap::new(), BTreeMap::new());
    for path in SYSTEM.map(PathBuf::from) {
        match fs::symlink_metadata(&path) {
            // `/bin` is one on most systems. What it leads to is in the tree already, or is nothing that is meant.
            Ok(found) if found.is_symlink() && is_of_the_system(&path) => {
                links.insert(path.clone(), at("a link", fs::read_link(&path))?);
            }
            // Such as `/etc/localtime`: the file itself.
            Ok(_) => drop(pieces.insert(path.clone(), piece(&path)?)),
            Err(_) => {}
        }
    }
    for path in policy.read.iter().chain(&policy.write) {
        pieces.insert(path.clone(), piece(path)?);
    }
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        pieces.insert(device.clone(), piece(&device)?);
    }
    pieces.insert(PathBuf::from(WORKSPACE), piece(&policy.workspace)?);
    Ok((links, pieces))
}

/// Whether it is one of the folders at the top.
fn is_of_the_system(path: &Path) -> bool {
    path.parent() == Some(Path::new("/"))
}

fn piece(path: &Path) -> Result<Piece, Trouble> {
    let what = format!("opening {}", path.display());
    let is_folder = at(&what, fs::metadata(path))?.is_dir();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(Piece { mount: at(&what, rustix::mount::open_tree(CWD, path, flags))?, is_folder })
}

/// Takes from every mount below the site what it must not give: rights, devices, and changes where none may be made.
fn restrict(site: &Path, changeable: &[PathBuf]) -> Result<(), Trouble> {
    let table = at("reading the table of mounts", fs::read_to_string("/proc/self/mountinfo"))?;
    for place in table.lines().filter_map(|line| unescape(line.split(' ').nth(4)?)) {
        if !place.starts_with(site) {
            continue;
        }
        let mut flags = MountFlags::BIND | MountFlags::NOSUID;
        let is_device = place.parent() == Some(&site.join("dev"));
        if !is_device {
            flags |= MountFlags::NODEV;
        }
        if !changeable.iter().any(|path| place.starts_with(path)) {
            flags |= MountFlags::RDONLY;
        }
        let what = format!("restricting {}", below_root(&place, site).display());
        // What is restricted already must stay so: in a namespace of users that is no choice.
        let found = at(&what, rustix::fs::statvfs(&place))?.f_flag;
        for (is, stays) in [
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        ] {
            if found.contains(is) {
                flags |= stays;
            }
        }
        at(&what, rustix::mount::mount_remount(&place, flags, ""))?;
    }
    Ok(())
}

fn mount_memory(place: &Path, bytes: u64, files: u64) -> Result<(), Trouble> {
    let options = CString::new(format!("size={bytes},nr_inodes={files},mode=0700")).expect("numbers hold no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    at("mounting memory", rustix::mount::mount("tmpfs", place, "tmpfs", flags, Some(options.as_c_str())))
}

fn below(site: &Path, path: &Path) -> PathBuf {
    site.join(path.strip_prefix("/").unwrap_or(path))
}

fn below_root(place: &Path, site: &Path) -> PathBuf {
    Path::new("/").join(place.strip_prefix(site).unwrap_or(place))
}

fn parent(place: &Path) -> Result<(), Trouble> {
    place.parent().map_or(Ok(()), |parent| at("a folder", fs::create_dir_all(parent)))
}

/// A path as the table of mounts writes it: white space and backslashes in octal.
fn unescape(text: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first == b'\\' && behind.len() >= 3 {
            let digits = std::str::from_utf8(&behind[..3]).ok()?;
            bytes.push(u8::from_str_radix(digits, 8).ok()?);
            rest = &behind[3..];
        } else {
            bytes.push(first);
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

fn at<T, E: std::fmt::Display>(doing: &str, outcome: Result<T, E>) -> Result<T, Trouble> {
    outcome.map_err(Trouble::at(Layer::Namespaces, doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_too_small_for_the_machine_is_none_that_stops_a_command() {
        for (least, set, expected) in [
            (0, 557, vec![557]),
            (1_000, 557, vec![557, 4_096]),
            (8_192, 557, vec![557, 4_096, 32_768]),
            (8_192, 16_685, vec![16_685]),
            (u64::MAX, 557, vec![557, 4_096, 32_768, 131_072]),
        ] {
            let mut tried = Vec::new();
            let done = least_bound(set, |bound| {
                tried.push(bound);
                if bound < least { Err(std::io::Error::from_raw_os_error(libc::EINVAL)) } else { Ok(()) }
            });
            assert!(done.is_ok());
            assert_eq!(tried, expected, "{least}");
        }
        let refused = least_bound(557, |_| Err(std::io::Error::from_raw_os_error(libc::EACCES)));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn paths_of_the_table_are_read_as_they_are() {
        for (text, expected) in
            [("/usr/a", "/usr/a"), ("/a\\040b", "/a b"), ("/a\\134", "/a\\"), ("/\\011x\\012", "/\tx\n")]
        {
            assert_eq!(unescape(text), Some(PathBuf::from(expected)), "{text}");
        }
        assert_eq!(unescape("/a\\9xx"), None);
    }
}
