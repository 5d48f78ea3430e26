//! World 0.1.0: what its plugins export. Its imports are in `capability`, which was written for it.

use wasmtime::component::Instance;

use super::Particulars;

super::exports::exports!(crate::bindings::v0_1);

/// This world has no words for them.
async fn particulars(_: &mut Store<Guest>, _: &Instance) -> wasmtime::Result<Particulars> {
    Ok(Particulars::default())
}

impl From<world::Manifest> for Described {
    fn from(manifest: world::Manifest) -> Self {
        let world::Manifest { name, version, description, inputs_schema } = manifest;
        Self { name, version, description, inputs_schema, needs: Vec::new(), particulars: Particulars::default() }
    }
}
