//! World 0.1.0: what its plugins export. Its imports are in `capability`, which was written for it.

super::exports::exports!(crate::bindings::v0_1);
