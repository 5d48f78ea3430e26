//! Gets what makes networks of a test's own onto the machine: `ip`, and programs that enter a namespace.

use crate::debian;
use crate::shell;

/// Sees to it that they are there. Where they cannot be, or a namespace cannot, the tests leave partitions out and say so.
pub(crate) fn installed() {
    for (program, works, package) in [("ip", "-V", "iproute2"), ("nsenter", "--version", "util-linux")] {
        if !shell::works(program, &[works]) {
            debian::install(&[package]);
        }
    }
    if !shell::works("unshare", &["--net", "ip", "link"]) {
        eprintln!(
            "no network of a test's own can be made here (as root, with iproute2, it can): partitions are left out"
        );
    }
}
