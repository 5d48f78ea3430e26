//! The interfaces of WASI 0.2 that a component may import beside those of its world: one table, which the installer and the linker both
//! read. What is not in it, such as `wasi:http`, refuses a plugin by name when it is installed.
//!
//! Components of any 0.2.x are taken: its versions only add, and the linker binds an older one to the newest.

use semver::Version;

use super::Interface;
use crate::capability::wasi::{self, denied};
use crate::guest::Guest;

/// What is linked, by package and interface.
pub(super) static WASI: [Interface; 27] = [
    Interface { name: "wasi:io/error", add_to_linker: wasi::error },
    Interface { name: "wasi:io/poll", add_to_linker: wasi::poll },
    Interface { name: "wasi:io/streams", add_to_linker: wasi::streams },
    Interface { name: "wasi:clocks/monotonic-clock", add_to_linker: wasi::monotonic_clock },
    Interface { name: "wasi:clocks/wall-clock", add_to_linker: wasi::wall_clock },
    Interface { name: "wasi:random/random", add_to_linker: wasi::random },
    Interface { name: "wasi:random/insecure", add_to_linker: wasi::insecure },
    Interface { name: "wasi:random/insecure-seed", add_to_linker: wasi::insecure_seed },
    Interface { name: "wasi:cli/environment", add_to_linker: wasi::environment },
    Interface { name: "wasi:cli/exit", add_to_linker: wasi::exit },
    Interface { name: "wasi:cli/stdin", add_to_linker: wasi::stdin },
    Interface { name: "wasi:cli/stdout", add_to_linker: wasi::stdout },
    Interface { name: "wasi:cli/stderr", add_to_linker: wasi::stderr },
    Interface { name: "wasi:cli/terminal-input", add_to_linker: wasi::terminal_input },
    Interface { name: "wasi:cli/terminal-output", add_to_linker: wasi::terminal_output },
    Interface { name: "wasi:cli/terminal-stdin", add_to_linker: wasi::terminal_stdin },
    Interface { name: "wasi:cli/terminal-stdout", add_to_linker: wasi::terminal_stdout },
    Interface { name: "wasi:cli/terminal-stderr", add_to_linker: wasi::terminal_stderr },
    Interface { name: "wasi:filesystem/types", add_to_linker: |linker| denied::FILES.add_to_linker::<Guest>(linker) },
    Interface { name: "wasi:filesystem/preopens", add_to_linker: |linker| denied::FOLDERS.add_to_linker(linker) },
    Interface { name: "wasi:sockets/network", add_to_linker: wasi::network },
    Interface { name: "wasi:sockets/instance-network", add_to_linker: wasi::instance_network },
    Interface { name: "wasi:sockets/ip-name-lookup", add_to_linker: wasi::ip_name_lookup },
    Interface { name: "wasi:sockets/tcp", add_to_linker: |linker| denied::TCP.add_to_linker(linker) },
    Interface {
        name: "wasi:sockets/tcp-create-socket",
        add_to_linker: |linker| denied::TCP_CREATE.add_to_linker(linker),
    },
    Interface { name: "wasi:sockets/udp", add_to_linker: |linker| denied::UDP.add_to_linker(linker) },
    Interface {
        name: "wasi:sockets/udp-create-socket",
        add_to_linker: |linker| denied::UDP_CREATE.add_to_linker(linker),
    },
];

/// Whether an import is one of these, of a version that is played.
pub(super) fn is_played(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    let is_of_0_2 =
        Version::parse(version).is_ok_and(|version| (version.major, version.minor) == (0, 2) && version.pre.is_empty());
    is_of_0_2 && WASI.iter().any(|known| known.name == interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that `wasi:cli/imports` has, in the version whose WIT is here: what standard libraries are made for.
    #[test]
    fn the_table_has_what_the_cli_world_imports() {
        let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wasi");
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(wit).unwrap();
        let (_, world) = resolve
            .worlds
            .iter()
            .find(|(_, world)| {
                world.name == "imports" && world.package.is_some_and(|of| resolve.packages[of].name.name == "cli")
            })
            .unwrap();
        let interfaces = world.imports.values().filter_map(|item| match item {
            wit_parser::WorldItem::Interface { id, .. } => resolve.id_of(*id),
            _ => None,
        });
        let mut imported: Vec<String> =
            interfaces.map(|id| id.split_once('@').expect("a version").0.to_owned()).collect();
        imported.sort();
        let mut known: Vec<&str> = WASI.iter().map(|interface| interface.name).collect();
        known.sort_unstable();
        assert_eq!(known, imported);
    }

    #[test]
    fn versions_of_0_2_are_played_and_others_refused() {
        for (import, played) in [
            ("wasi:io/poll@0.2.0", true),
            ("wasi:io/poll@0.2.12", true),
            ("wasi:io/poll@0.2.99", true),
            ("wasi:io/poll@0.3.0", false),
            ("wasi:io/poll@0.2.0-rc-2023-11-10", false),
            ("wasi:io/poll@1.2.0", false),
            ("wasi:io/poll", false),
            ("wasi:http/outgoing-handler@0.2.0", false),
            ("wasi:io/pol@0.2.0", false),
        ] {
            assert_eq!(is_played(import), played, "{import}");
        }
    }
}
