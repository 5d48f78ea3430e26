//! `human`: questions to people. A question is a call like any other: it is on its way until somebody answers.

use std::sync::Arc;

use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use wasmtime::component::Resource;

use super::tools::Pending;
use crate::bindings::sortie::mission::human::Host;
use crate::guest::Guest;

impl Host for Guest {
    fn ask(&mut self, question: String) -> wasmtime::Result<Resource<Pending>> {
        let host = Arc::clone(&self.mission("human.ask")?.host);
        let question = clip(&question, NOTE_BYTES_MAX);
        self.begin(|| host.ask(question))
    }
}
