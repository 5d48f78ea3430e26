//! What everything in a PID namespace takes together. The kernel's own limits are of one process each; and of root's processes it counts
//! none.

use std::fs;

use crate::policy::{Limits, Stop};

/// What there is too much of, by `/proc`, which shows this namespace alone.
pub(super) fn look(limits: &Limits) -> Option<Stop> {
    let numbers = || {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != 1)
    };
    // First the count alone, which is quick: a crowd grows while it is looked at.
    if numbers().count() as u64 > limits.processes {
        return Some(Stop::Processes);
    }
    let (mut threads, mut bytes) = (0, temporary_bytes());
    for pid in numbers() {
        // One that is gone takes nothing.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        threads += number_of(&status, "Threads:").unwrap_or(0);
        let own = ["RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"].iter().filter_map(|name| number_of(&status, name));
        bytes += own.sum::<u64>() << 10;
    }
    if threads > limits.processes {
        Some(Stop::Processes)
    } else if bytes > limits.memory_bytes {
        Some(Stop::Memory)
    } else {
        None
    }
}

/// What lies in `/tmp`, which is memory.
fn temporary_bytes() -> u64 {
    let used = |stat: rustix::fs::StatVfs| stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    rustix::fs::statvfs("/tmp").map_or(0, used)
}

/// The number behind a name in `/proc/PID/status`.
fn number_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let status = "Name:\tThreads: 9\nVmSwap:\t       0 kB\nRssAnon:\t    1204 kB\nThreads:\t3\n";
        for (name, expected) in
            [("RssAnon:", Some(1_204)), ("Threads:", Some(3)), ("VmSwap:", Some(0)), ("VmPTE:", None)]
        {
            assert_eq!(number_of(status, name), expected, "{name}");
        }
    }
}
