//! World 0.1.0: what its plugins export. Its imports are in `capability`, which was written for it.

super::exports::exports!(crate::bindings::v0_1);

impl From<world::Manifest> for Described {
    fn from(manifest: world::Manifest) -> Self {
        let world::Manifest { name, version, description, inputs_schema } = manifest;
        Self { name, version, description, inputs_schema, needs: Vec::new() }
    }
}
