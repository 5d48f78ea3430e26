//! What wasmtime makes of `wit/mission.wit`.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "plugin",
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
        "sortie:mission/tools.tool": crate::capability::tools::Tool,
        "sortie:mission/tools.pending": crate::capability::tools::Pending,
    },
    require_store_data_send: true,
});
