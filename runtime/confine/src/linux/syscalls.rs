//! System calls that no command needs for its work, and that are ways out or ways to harm: the kernel refuses them.
//!
//! It is a list of what is refused, not of what is allowed: commands are whatever people have installed. What counts is that each
//! is refused by something else, too; this is the second door.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::Trouble;
use crate::policy::Layer;

/// Refused whatever the arguments are.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    // Looking into other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise, libc::SYS_kcmp,
    libc::SYS_pidfd_getfd, libc::SYS_perf_event_open,
    // Other namespaces, roots and mounts.
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount,
    libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at, libc::SYS_fanotify_init, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    // The kernel itself, and large parts of it that are no command's business.
    libc::SYS_bpf, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot, libc::SYS_swapon,
    libc::SYS_swapoff, libc::SYS_acct, libc::SYS_syslog, libc::SYS_vhangup, libc::SYS_lookup_dcookie, libc::SYS_nfsservctl,
    libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
    // The machine's clock and name, and where pages of others lie.
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex, libc::SYS_sethostname,
    libc::SYS_setdomainname, libc::SYS_move_pages, libc::SYS_migrate_pages,
    // Memory that no limit of a process sees once it is not mapped.
    libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget,
];

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs, libc::SYS__sysctl,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Newer than the constants of the C library's crate: `open_tree_attr`, and `fchmodat2`'s is below. The same number on all architectures.
const OPEN_TREE_ATTR: i64 = 467;
const FCHMODAT2: i64 = 452;

/// Calls of the ABI with short pointers have this bit, and some of them numbers of their own.
#[cfg(target_arch = "x86_64")]
const SHORT_POINTERS: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const SHORT_POINTERS_OWN: [i64; 5] = [521, 528, 533, 539, 540];
/// `ioctl` of theirs, of which some uses are refused.
#[cfg(target_arch = "x86_64")]
const SHORT_POINTERS_IOCTL: i64 = 514;

/// What makes a namespace, of the flags of `clone`.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refuses them for this process and all that it starts.
pub(super) fn refuse() -> Result<(), Trouble> {
    let failed = |error: &dyn std::fmt::Display| Trouble::new(Layer::Seccomp, "the filter of system calls", error);
    let no_such_call = u32::try_from(libc::ENOSYS).expect("errors are positive");
    let not_permitted = u32::try_from(libc::EPERM).expect("errors are positive");
    for (rules, error) in [(unknown(), no_such_call), (with_short_pointers(refused()?), not_permitted)] {
        let arch = std::env::consts::ARCH.try_into().map_err(|error| failed(&error))?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(error), arch)
            .map_err(|error| failed(&error))?;
        let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
        seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// `clone3` has its flags in memory, where no filter sees them; told that there is none, libraries take `clone`.
fn unknown() -> Rules {
    let calls = [
        libc::SYS_clone3,
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_clone3 | SHORT_POINTERS),
    ];
    calls.map(|call| (call, Vec::new())).into()
}

fn refused() -> Result<Rules, Trouble> {
    use SeccompCmpArgLen::Dword;
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    rules.insert(OPEN_TREE_ATTR, Vec::new());
    let when = |conditions: &[(u8, SeccompCmpOp, u64)]| {
        let conditions =
            conditions.iter().map(|(argument, is, value)| SeccompCondition::new(*argument, Dword, is.clone(), *value));
        conditions.collect::<Result<Vec<_>, _>>().and_then(SeccompRule::new)
    };
    let number = |value: i32| u64::from(value.cast_unsigned());
    let mut add = |call: i64, conditions: &[&[(u8, SeccompCmpOp, u64)]]| {
        let made: Result<Vec<_>, _> = conditions.iter().map(|conditions| when(conditions)).collect();
        made.map(|made| drop(rules.insert(call, made))).map_err(Trouble::at(Layer::Seccomp, "a rule"))
    };
    let namespaces: Vec<[(u8, SeccompCmpOp, u64); 1]> =
        NAMESPACES.iter().map(|flag| [(0, MaskedEq(number(*flag)), number(*flag))]).collect();
    let namespaces: Vec<&[(u8, SeccompCmpOp, u64)]> = namespaces.iter().map(<[_; 1]>::as_slice).collect();
    add(libc::SYS_clone, &namespaces)?;
    // No family of sockets but the one that stays on this machine, in this tree.
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        add(call, &[&[(0, Ne, number(libc::AF_UNIX))]])?;
    }
    // Typing into somebody's terminal.
    add(libc::SYS_ioctl, &[&[(1, Eq, libc::TIOCSTI)], &[(1, Eq, libc::TIOCLINUX)]])?;
    // Another kind of process, but for the usual one and for asking.
    add(libc::SYS_personality, &[&[(0, Ne, 0), (0, Ne, 0xffff_ffff)]])?;
    // Files that give whoever runs them the rights of their owner.
    let (user, group) = (u64::from(libc::S_ISUID), u64::from(libc::S_ISGID));
    let chmods = [(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (FCHMODAT2, 2)];
    #[cfg(target_arch = "x86_64")]
    let chmods = chmods.into_iter().chain([(libc::SYS_chmod, 1)]);
    for (call, argument) in chmods {
        add(call, &[&[(argument, MaskedEq(user), user)], &[(argument, MaskedEq(group), group)]])?;
    }
    Ok(rules)
}

/// The same rules for the other ABI that processes of this architecture can call.
fn with_short_pointers(rules: Rules) -> Rules {
    #[cfg(target_arch = "x86_64")]
    {
        let mut both = rules.clone();
        both.extend(rules.get(&libc::SYS_ioctl).map(|rules| (SHORT_POINTERS_IOCTL | SHORT_POINTERS, rules.clone())));
        both.extend(rules.into_iter().map(|(call, rules)| (call | SHORT_POINTERS, rules)));
        both.extend(SHORT_POINTERS_OWN.map(|call| (call | SHORT_POINTERS, Vec::new())));
        both
    }
    #[cfg(not(target_arch = "x86_64"))]
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_abi_with_short_pointers_is_no_way_around_a_rule() {
        assert!(unknown().contains_key(&(libc::SYS_clone3 | SHORT_POINTERS)));
        let rules = with_short_pointers(refused().unwrap());
        for call in [libc::SYS_ptrace, libc::SYS_clone, libc::SYS_socket].into_iter().chain(SHORT_POINTERS_OWN) {
            assert!(rules.contains_key(&(call | SHORT_POINTERS)), "{call}");
        }
        let theirs = &rules[&(SHORT_POINTERS_IOCTL | SHORT_POINTERS)];
        assert!(!theirs.is_empty() && *theirs == rules[&libc::SYS_ioctl], "typing into a terminal");
    }

    #[test]
    fn the_filter_can_be_made_and_fits_the_kernel() {
        let filter = SeccompFilter::new(
            with_short_pointers(refused().unwrap()),
            SeccompAction::Allow,
            SeccompAction::Errno(1),
            std::env::consts::ARCH.try_into().unwrap(),
        )
        .unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        assert!(program.len() < 4_096, "{}", program.len());
    }
}
