//! What a node says of a plugin that it does not install is explained to authors: each sentence has its row in `docs/PLUGINS.md`.

use sortie_contract::plugin::Crash;
use sortie_contract::tool::CallError;
use sortie_sandbox::InstallError;

/// A row of a table that begins with this: what stands in a sentence for something of the plugin's own is three points.
fn has_row(guide: &str, says: &str) -> bool {
    guide.lines().any(|line| line.starts_with('|') && line.contains(says))
}

#[test]
fn each_refusal_is_explained() {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PLUGINS.md")).expect("the guide");
    let import = || "wasi:sockets/tcp@0.2.0".to_owned();
    for (error, told) in [
        (InstallError::NotWasm, "this is not WebAssembly"),
        (InstallError::TooLarge { bytes: 2, max: 1 }, "a plugin has at most"),
        (InstallError::ForbiddenImport { import: import() }, "which is neither in the world"),
        (InstallError::WrongWorld { import: import() }, "but this node runs version"),
        (InstallError::MixedWorlds { import: import() }, "beside interfaces of another version"),
        (InstallError::NotAPlugin("no".to_owned()), "this is not a mission plugin"),
        (InstallError::Undescribed(Crash::Trapped("no".to_owned())), "the plugin does not describe itself"),
        (InstallError::Manifest("no".to_owned()), "the plugin describes itself wrongly"),
        (InstallError::TooMuchMemory { wants: 2 << 20, limit: 1 << 20 }, "MiB of memory for a run"),
        (InstallError::Unread(std::io::Error::other("no")), "what was sent cannot be read back"),
        (InstallError::ShuttingDown, "the node is shutting down"),
    ] {
        let says = error.to_string();
        assert!(says.contains(told), "{says}");
        assert!(has_row(&guide, told), "no row of docs/PLUGINS.md has: {told}");
    }
    let text = || "no".to_owned();
    for error in [
        CallError::Denied(text()),
        CallError::BudgetExhausted(text()),
        CallError::Cancelled,
        CallError::InvalidArguments(text()),
        CallError::Failed(text()),
        CallError::TimedOut(text()),
        CallError::Uncertain(text()),
    ] {
        assert!(has_row(&guide, &format!("| `{}` |", error.code())), "no row of docs/PLUGINS.md has {}", error.code());
    }
}
