//! What wasmtime makes of `wit/` and of `wasi/`: a module for each version of the world, one for WASI, and nothing written by hand.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

/// `sortie:mission@0.1.0`. It stays for ever: missions and plugins were made for it.
pub mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "sortie:mission/plugin@0.1.0",
        imports: {
            "sortie:mission/tools.[method]tool.call": async | trappable,
            "sortie:mission/tools.[method]pending.get": async | trappable,
            "sortie:mission/tools.wait-any": async | trappable,
            "sortie:mission/artifacts.put": async | trappable,
            "sortie:mission/artifacts.put-file": async | trappable,
            "sortie:mission/artifacts.get": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "sortie:mission/tools.pending": crate::pending::Pending,
        },
        require_store_data_send: true,
    });
}

/// `sortie:mission@0.2.0`: the same, with `model` and `limits` beside it. What its plugins may export beside what each of them does is looked for
/// in `world/v0_2.rs`.
pub mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../../wit/0.2.0",
        world: "sortie:mission/plugin@0.2.0",
        imports: {
            "sortie:mission/tools.[method]tool.call": async | trappable,
            "sortie:mission/tools.[method]pending.get": async | trappable,
            "sortie:mission/tools.[method]pending.info": async | trappable,
            "sortie:mission/tools.wait-any": async | trappable,
            "sortie:mission/artifacts.put": async | trappable,
            "sortie:mission/artifacts.put-file": async | trappable,
            "sortie:mission/artifacts.get": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "sortie:mission/types": crate::bindings::v0_1::sortie::mission::types,
            "sortie:mission/tools.tool": crate::bindings::v0_1::sortie::mission::tools::Tool,
            "sortie:mission/tools.pending": crate::pending::Pending,
        },
        require_store_data_send: true,
    });
}

/// `missions` of `sortie:mission@0.2.0`, which came to it later: a component may be without it.
pub mod missions {
    wasmtime::component::bindgen!({
        inline: "
            package sortie:dispatching;
            world dispatching {
                import sortie:mission/missions@0.2.0;
            }
        ",
        path: "../../wit",
        world: "sortie:dispatching/dispatching",
        imports: {
            "sortie:mission/missions.dispatch": async | trappable,
            "sortie:mission/missions.artifact": async | trappable,
            default: trappable,
        },
        with: {
            "sortie:mission/types": crate::bindings::v0_1::sortie::mission::types,
            "sortie:mission/tools": crate::bindings::v0_2::sortie::mission::tools,
        },
        require_store_data_send: true,
    });
}

/// WASI 0.2, as far as the sandbox plays it.
pub mod wasi {
    wasmtime::component::bindgen!({
        path: "wasi",
        world: "sortie:virtual-wasi/virtual-wasi",
        imports: {
            "wasi:io/poll.poll": async | trappable,
            "wasi:io/poll.[method]pollable.block": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:io/error.error": crate::capability::wasi::io::Never,
            "wasi:io/poll.pollable": crate::capability::wasi::io::Pollable,
            "wasi:io/streams.input-stream": crate::capability::wasi::io::Input,
            "wasi:io/streams.output-stream": crate::capability::wasi::io::Output,
            "wasi:cli/terminal-input.terminal-input": crate::capability::wasi::io::Never,
            "wasi:cli/terminal-output.terminal-output": crate::capability::wasi::io::Never,
            "wasi:sockets/network.network": crate::capability::wasi::io::Network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::capability::wasi::io::Never,
        },
        require_store_data_send: true,
    });
}
