//! What wasmtime makes of `wit/`: a module for each version of the world, and nothing written by hand.

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

/// `sortie:mission@0.2.0`: the same, with `model` and `limits` beside it.
pub mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../../wit",
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
