//! Any bytes: the parser answers, never panics, and what it takes it takes again, with the same digest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sortie_contract::Envelope;
use sortie_contract::envelope::{canonical_digest, differing_fields};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(differing_fields(text, text).is_empty());
    match Envelope::parse(text) {
        Ok(parsed) => assert_eq!(canonical_digest(text), Some(parsed.digest)),
        Err(rejected) => assert!(!rejected.mistakes.is_empty()),
    }
});
