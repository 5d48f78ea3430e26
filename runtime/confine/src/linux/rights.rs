//! What the init gives up before the command starts: capabilities, the way to new ones, and what a process may take of the machine.

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::Trouble;
use crate::policy::{Layer, Limits};

/// Open files of one process: what systems commonly give.
const OPEN_FILES: u64 = 1_024;

/// The largest stack that a process may ask for, in bytes: it counts as no data.
const STACK_BYTES: u64 = 64 << 20;

/// Beside the command's, two more are counted that the limit is not meant for: the monitor and the init.
const OWN_PROCESSES: u64 = 2;

/// Sets the limits of each process, but for its memory, which is set for the command alone. Those of all together are watched, see `watch`.
pub(super) fn limit(limits: &Limits, in_user_namespace: bool) -> Result<(), Trouble> {
    let mut wanted = vec![
        // Zero would still hand the memory to a program that `core_pattern` names; one says that nobody is to have it.
        (Resource::Core, 1),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Stack, STACK_BYTES),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Rtprio, 0),
        (Resource::Nice, 0),
    ];
    // Outside it counts all processes of the user, the node's own threads too.
    if in_user_namespace {
        wanted.push((Resource::Nproc, limits.processes.saturating_add(OWN_PROCESSES)));
    }
    for (resource, most) in wanted {
        let found = rustix::process::getrlimit(resource);
        // Whoever started the node may have given it less.
        let hard = found.maximum.map_or(most, |hard| hard.min(most));
        let soft = if resource == Resource::Stack { found.current.map_or(hard, |soft| soft.min(hard)) } else { hard };
        rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(|error| Trouble::new(Layer::Setup, &format!("limiting {resource:?}"), error))?;
    }
    Ok(())
}

/// Gives up every capability, and the way to get one back: no file's mode gives any (`no_new_privs`), and there is none to be given.
/// Where there are no namespaces, an ordinary user has none to give up, and may not say so.
pub(super) fn give_up(in_namespaces: bool) -> Result<(), Trouble> {
    let failed = |doing| Trouble::at::<rustix::io::Errno>(Layer::Setup, doing);
    rustix::thread::set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    let nothing = CapabilitySet::empty();
    let drop_all = || {
        rustix::thread::clear_ambient_capability_set()?;
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            match rustix::thread::capability_is_in_bounding_set(one) {
                Ok(true) => rustix::thread::remove_capability_from_bounding_set(one)?,
                Ok(false) => {}
                // Behind the last that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    match drop_all() {
        Err(rustix::io::Errno::PERM) if !in_namespaces => {}
        dropped => dropped.map_err(failed("dropping capabilities"))?,
    }
    let none = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    rustix::thread::set_capabilities(None, none).map_err(failed("giving up capabilities"))
}

/// Where there is no PID namespace: what loses its parent becomes a child of this process for as long as it lives.
pub(super) fn become_subreaper() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}
