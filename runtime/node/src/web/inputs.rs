//! Fields of a form for what a plugin takes, as its schema of inputs says: what a field cannot say is a text of JSON.

use maud::{Markup, html};
use serde_json::{Map, Value, json};
use sortie_contract::envelope::read_strictly;
use sortie_contract::limit::clip;

use super::door::Fields;
use super::text::{plain, str};

/// Before the name of a field of the inputs.
const BEFORE: &str = "in:";
/// Most fields of a form; a plugin with more takes its inputs as JSON.
const FIELDS_MAX: usize = 60;
/// Most bytes of what is said of a field.
const SAID_MAX: usize = 400;

/// The inputs of a plugin, field by field; or as a whole, where its schema tells none.
pub(super) struct Inputs {
    fields: Vec<Field>,
}

struct Field {
    key: String,
    kind: Kind,
    said: String,
    is_required: bool,
}

/// How a value is written into a form.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    Choice(Vec<String>),
    /// Texts, one on a line.
    Lines,
    Json,
}

/// What is wrong with a field, as the interface says it.
fn mistake(key: &str, detail: &str) -> Value {
    json!({"pointer": pointer(key), "detail": detail})
}

/// The place of an input in an envelope; that of all, without a key.
fn pointer(key: &str) -> String {
    if key.is_empty() {
        return "/inputs".to_owned();
    }
    format!("/inputs/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl Inputs {
    /// Of this schema.
    pub(super) fn of(schema: &Value) -> Self {
        let whole =
            Field { key: String::new(), kind: Kind::Json, said: "A JSON object.".to_owned(), is_required: false };
        let properties = schema["properties"].as_object().filter(|all| !all.is_empty() && all.len() <= FIELDS_MAX);
        let Some(properties) = properties else { return Self { fields: vec![whole] } };
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let fields = properties.iter().map(|(key, of)| Field {
            key: key.clone(),
            kind: Kind::of(of),
            said: said(of),
            is_required: required.iter().any(|name| name == key.as_str()),
        });
        Self { fields: fields.collect() }
    }

    /// What a form says of them, or what of it cannot be read.
    pub(super) fn read(&self, fields: &Fields) -> (Map<String, Value>, Vec<Value>) {
        let (mut inputs, mut mistakes) = (Map::new(), Vec::new());
        for Field { key, kind, .. } in &self.fields {
            let Some(given) = fields.given(&format!("{BEFORE}{key}")) else { continue };
            match kind.read(given) {
                Ok(Value::Object(whole)) if key.is_empty() => inputs = whole,
                Ok(_) if key.is_empty() => mistakes.push(mistake(key, "inputs are a JSON object")),
                Ok(value) => drop(inputs.insert(key.clone(), value)),
                Err(why) => mistakes.push(mistake(key, &why)),
            }
        }
        (inputs, mistakes)
    }

    /// The fields, as they were sent, each with what is wrong with it.
    pub(super) fn shown(&self, sent: &Fields, wrong: &dyn Fn(&str) -> Markup) -> Markup {
        html! {
            @for (no, field) in self.fields.iter().enumerate() {
                @let (id, name) = (format!("in-{no}"), format!("{BEFORE}{}", field.key));
                @let given = sent.text(&name);
                label for=(id) {
                    @if field.key.is_empty() { "Inputs" } @else { code { (plain(&field.key)) } }
                    @if field.is_required { " (required)" }
                    @if !field.said.is_empty() { " " span class="dim" { (plain(&field.said)) } }
                }
                (wrong(&pointer(&field.key)))
                (field.kind.widget(&id, &name, given))
            }
        }
    }

    /// The places in an envelope that have a field here.
    pub(super) fn places(&self) -> Vec<String> {
        self.fields.iter().map(|field| pointer(&field.key)).collect()
    }
}

/// A number, as it was written.
///
/// # Errors
/// What it should be.
pub(super) fn number(given: &str) -> Result<Value, String> {
    match read_strictly(given.trim()) {
        Ok((value @ Value::Number(_), mistakes)) => {
            mistakes.first().map_or(Ok(value), |mistake| Err(mistake.detail.clone()))
        }
        _ => Err(format!("“{given}” is no number such as 3 or 0.5")),
    }
}

impl Kind {
    fn of(schema: &Value) -> Self {
        if let Some(all) = schema["enum"].as_array() {
            let texts: Option<Vec<String>> = all.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            return texts.map_or(Self::Json, Self::Choice);
        }
        match schema["type"].as_str() {
            Some("string") => Self::Text,
            Some("number" | "integer") => Self::Number,
            Some("boolean") => Self::Flag,
            Some("array") if schema["items"]["type"] == "string" => Self::Lines,
            _ => Self::Json,
        }
    }

    fn read(&self, given: &str) -> Result<Value, String> {
        match self {
            Self::Text | Self::Choice(_) => Ok(json!(given)),
            Self::Number => number(given),
            Self::Flag => Ok(json!(given == "true")),
            Self::Lines => Ok(lines(given)),
            Self::Json => match read_strictly(given) {
                Ok((value, mistakes)) if mistakes.is_empty() => Ok(value),
                Ok((_, mistakes)) => Err(format!("it must be JSON: {}", mistakes[0].detail)),
                Err(mistake) => Err(format!("it must be JSON: {}", mistake.detail)),
            },
        }
    }

    fn widget(&self, id: &str, name: &str, given: &str) -> Markup {
        html! {
            @match self {
                Self::Text => textarea id=(id) name=(name) rows="2" { (given) },
                Self::Number => input id=(id) name=(name) inputmode="decimal" value=(given);,
                Self::Flag => select id=(id) name=(name) {
                    @for (value, words) in [("", "not said"), ("true", "yes"), ("false", "no")] {
                        option value=(value) selected[value == given] { (words) }
                    }
                },
                Self::Choice(all) => select id=(id) name=(name) {
                    option value="" { "not said" }
                    @for value in all { option value=(value) selected[value == given] { (plain(value)) } }
                },
                Self::Lines => textarea id=(id) name=(name) rows="3" spellcheck="false" { (given) },
                Self::Json => textarea id=(id) name=(name) rows="8" spellcheck="false" { (given) },
            }
        }
    }
}

/// Texts that stand one on a line.
pub(super) fn lines(given: &str) -> Value {
    given.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// What people are told of a field: its description, and how it is written here.
fn said(schema: &Value) -> String {
    let how = match Kind::of(schema) {
        Kind::Lines => "One on a line.",
        Kind::Json => "JSON.",
        _ => "",
    };
    let mut said = clip(str(schema, "description"), SAID_MAX);
    if !schema["default"].is_null() {
        said = format!("{said} Without it: {}.", clip(&schema["default"].to_string(), SAID_MAX));
    }
    format!("{said} {how}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["topic"], "properties": {
            "topic": {"type": "string", "description": "What about"},
            "depth": {"type": "integer", "default": 2},
            "fast": {"type": "boolean"},
            "tone": {"enum": ["dry", "warm"]},
            "pages": {"type": "array", "items": {"type": "string"}},
            "steps": {"type": "array", "items": {"type": "object"}},
            "odd/~": {"type": "number"},
        }})
    }

    fn sent(pairs: &[(&str, &str)]) -> Fields {
        Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn fields_become_inputs_and_what_is_blank_is_not_said() {
        let inputs = Inputs::of(&schema());
        let form = [
            ("in:topic", "owls & <b>"),
            ("in:depth", " 3 "),
            ("in:fast", "false"),
            ("in:tone", ""),
            ("in:pages", "a\n\n b \n"),
            ("in:steps", "[{\"id\": 1}]"),
            ("in:unknown", "x"),
        ];
        let (read, mistakes) = inputs.read(&sent(&form));
        let expected =
            json!({"topic": "owls & <b>", "depth": 3, "fast": false, "pages": ["a", "b"], "steps": [{"id": 1}]});
        assert_eq!((Value::Object(read), mistakes), (expected, Vec::new()));
        let (_, mistakes) = inputs.read(&sent(&[("in:depth", "deep"), ("in:steps", "[1,"), ("in:odd/~", "x")]));
        let mut places: Vec<&str> = mistakes.iter().map(|mistake| str(mistake, "pointer")).collect();
        places.sort_unstable();
        assert_eq!(places, ["/inputs/depth", "/inputs/odd~1~0", "/inputs/steps"]);
    }

    #[test]
    fn without_fields_inputs_are_one_text() {
        for schema in [Value::Null, json!({}), json!({"properties": {}}), json!(true)] {
            let inputs = Inputs::of(&schema);
            assert_eq!(inputs.places(), ["/inputs"]);
            let (read, mistakes) = inputs.read(&sent(&[("in:", "{\"a\": 1}")]));
            assert_eq!((Value::Object(read), mistakes.len()), (json!({"a": 1}), 0));
            assert_eq!(inputs.read(&sent(&[("in:", "[1]")])).1.len(), 1);
            assert_eq!(inputs.read(&sent(&[("in:", "{\"a\":1,\"a\":2}")])).1.len(), 1);
        }
    }
}
