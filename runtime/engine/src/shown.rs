//! The forms of what is shown, each once: the HTTP interface answers with them, `/openapi.json` describes them, and the
//! command line reads them.
//!
//! Here is what all lists have in common. The rest is by what is shown: missions, deliveries, schedules, and the node itself. What a form
//! is made from is none of its business: `look` fills it.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;

mod delivery;
mod explained;
mod fork;
mod kept;
mod mission;
mod night;
mod node;
mod past;
mod schedule;
mod space;
mod takes;
mod why;

pub use delivery::*;
pub use explained::*;
pub use fork::ForkedView;
pub use kept::KeptView;
pub use mission::*;
pub use night::*;
pub use node::*;
pub use past::*;
pub use schedule::*;
pub use space::SpaceView;
pub use takes::TakesView;
pub use why::*;

/// Most bytes of a page. At least one item is on it, however large.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a text that a list shows; the mission itself shows the whole.
pub const LISTED_BYTES_MAX: usize = 400;

/// A page of a list, bounded in items and in bytes.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    #[serde(skip)]
    bytes: usize,
    #[serde(skip)]
    kind: PhantomData<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next_cursor: None, bytes: 0, kind: PhantomData }
    }
}

impl<T: Serialize> Page<T> {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// All of a list that is short by its nature.
    pub fn whole(items: impl IntoIterator<Item = T>) -> Self {
        let mut page = Self::new();
        items.into_iter().for_each(|item| page.push(&item));
        page
    }

    /// Adds an item.
    pub fn push(&mut self, item: &T) {
        self.push_json(serde_json::to_string(item).expect("what is shown is plain data"));
    }

    /// An item that has been written out already.
    pub fn push_json(&mut self, json: String) {
        self.bytes += json.len();
        self.items.push(RawValue::from_string(json).expect("it was just written"));
    }

    /// Whether nothing more goes onto a page of so many items.
    pub fn is_full(&self, limit: usize) -> bool {
        self.items.len() >= limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// Says where the next page begins.
    pub fn followed_by(mut self, cursor: Option<impl ToString>) -> Self {
        self.next_cursor = cursor.map(|cursor| cursor.to_string());
        self
    }
}

impl<T: JsonSchema> JsonSchema for Page<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("PageOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": item},
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "The parameter `cursor` of the next page; null on the last one.",
                },
            },
            "additionalProperties": false,
        })
    }
}
