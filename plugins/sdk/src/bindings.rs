//! What wit-bindgen makes of `wit/mission.wit`. Nothing of it shows in the library's own face.

#[allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated code")]
pub mod world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plugin",
        export_macro_name: "__export_world",
        pub_export_macro: true,
        default_bindings_module: "sortie_plugin::__world",
        runtime_path: "::sortie_plugin::__wit_bindgen::rt",
        generate_all,
    });
    pub(crate) use sortie::mission::*;
}

#[doc(hidden)]
pub use world::__export_world;
