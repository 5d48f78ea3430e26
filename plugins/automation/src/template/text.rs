//! What values look like within a text: strings as they are, everything else as one line of JSON.
//!
//! Jinja's own way is Python's (`True`, `None`, `{'a': 1}`), which nothing that reads these texts understands. `{{ … }}` and
//! the filters `string` and `join` go by this. The operator `~` and the other filters that take texts do not ask anybody how
//! to write what is none: `tojson` comes before them.

use minijinja::value::{Kwargs, StringInput, ValueKind};
use minijinja::{Environment, Error, Output, State, Value, filters};

use super::paid::{self, Paid};
use crate::digits::is_numeral;

/// Makes an environment write JSON.
pub(super) fn speak_json(environment: &mut Environment<'_>) {
    environment.set_formatter(write);
    environment.add_filter("string", string);
    environment.add_filter("join", join);
}

/// `{{ value }}`.
fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if is_json(value) { paid::write(out, state, value) } else { minijinja::escape_formatter(out, state, value) }
}

/// `value | string`.
fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if is_json(value) { Paid::new(state).json(value, &[]).map(Value::from) } else { filters::string(state, value) }
}

/// `value | join(joiner, attribute)`: the library's own, of items that are texts already and paid for.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
fn join(
    state: &mut State<'_, '_>,
    value: &Value,
    joiner: Option<StringInput<'_>>,
    attribute: Option<&str>,
    named: Kwargs,
) -> Result<Value, Error> {
    let attribute = if attribute.is_some() { attribute } else { named.get("attribute")? };
    let joiner = if joiner.is_some() { joiner } else { named.get("d")? };
    named.assert_all_used()?;
    let none = || Kwargs::from_iter(std::iter::empty::<(&str, Value)>());
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        return filters::join(state, value, joiner, attribute, none());
    }
    let items = match attribute {
        Some(attribute) => {
            let attribute = Kwargs::from_iter([("attribute", Value::from(attribute))]);
            state.apply_filter("map", &[value.clone(), attribute.into()])?
        }
        None => value.clone(),
    };
    let texts = texts(state, &items)?;
    filters::join(state, &Value::from(texts), joiner, None, none())
}

/// Items as texts. A text that is there a thousand times is a thousand times as long where they are joined.
fn texts(state: &State<'_, '_>, items: &Value) -> Result<Vec<Value>, Error> {
    let mut paid = Paid::new(state);
    let mut texts = Vec::new();
    for item in items.try_iter()? {
        if is_json(&item) {
            texts.push(Value::from(paid.json(&item, &[])?));
        } else {
            paid.pay(item.as_str().map_or(0, str::len))?;
            texts.push(item);
        }
    }
    Ok(texts)
}

/// Whether JSON is the way to write it: it is neither text nor a thing of the template language.
fn is_json(value: &Value) -> bool {
    use ValueKind::{Bool, Iterable, Map, None, Number, Seq};
    matches!(value.kind(), None | Bool | Number | Seq | Map | Iterable) || is_numeral(value)
}
