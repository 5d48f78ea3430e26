//! The node's memory holds secrets while they are sent, and it stays with the node: no core dump, no look into it by other processes of
//! the same user.

#[cfg(unix)]
use std::io::Write as _;

/// Keeps this process's memory to itself, and that of what it starts out of core dumps. Where the system does not know how, nothing changes.
///
/// A dump would outlive the secrets, with all of them in it, on a disk or at whoever collects dumps; the kernel heeds no bound of size where a
/// program takes them, and so both are said: no size, and nothing to dump. A panic leaves its message and place in the log all the same.
pub(crate) fn keep_private() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        tell(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }));
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        tell(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    }
}

/// There is no log yet.
#[cfg(unix)]
fn tell(done: rustix::io::Result<()>) {
    if let Err(error) = done {
        let _ = writeln!(std::io::stderr(), "sortie: core dumps of this process cannot be forbidden: {error}");
    }
}
