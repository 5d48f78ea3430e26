//! Templates that the node itself fills in, in its own process: those of schedules, of hooks and of notifications.
//!
//! What a text of a stranger does must end. The language's own fuel does not see to that: constants are worked out while a text is
//! compiled, at no price, lists are repeated and joined without being built, and a comparison of two of them is one step
//! (`5 in [1] * 100000000`). So only a part of the language is here, in which no value grows beyond what is there already:
//!
//! - a name is bound by nothing but a loop over what is there, and `set` to a number or a text (also in a `namespace`);
//! - a list that is written holds numbers and texts, and lists of such;
//! - `*` takes numbers (and a text), `+` numbers or texts, and neither takes a list;
//! - filters are those of [`FILTERS`], none of which puts a whole value into another one.
//!
//! What one step may then cost is bounded by the size of what the templates see, and how many steps there are by a budget that all
//! texts of one [`Templates`] share.
//!
//! Never knows whose texts these are, nor what their names mean.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::panic;

pub use minijinja::AutoEscape;
use minijinja::machinery::{parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;

mod fill;
mod names;
mod permitted;
mod sort;

pub use fill::{Fault, Fill, examine, faults};
pub use permitted::FILTERS;

use crate::permitted::Reader;

/// Functions that a template may call.
const FUNCTIONS: [&str; 1] = ["range"];

/// Steps that one text may take.
const FUEL: u64 = 20_000;

/// Work that all texts of one [`Templates`] may do: steps, each as dear as what they see is large.
const WORK: u64 = 100_000_000;

/// Most bytes of one expression, and of a text with statements: what is written flat is read deep, and the stack is not endless.
pub const SOURCE_BYTES_MAX: usize = 2 << 10;

/// How values come out of a text with statements.
#[derive(Debug, Clone)]
pub enum Writing {
    /// Texts as they are, everything else as JSON.
    Json,
    /// As the language has it, with this escape.
    Escaped(AutoEscape),
}

/// The language, and what its texts see.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    scope: Value,
    /// The same, as the language has it.
    seen: minijinja::Value,
    /// What a step costs.
    price: u64,
    /// Work that is left.
    left: Cell<u64>,
}

impl Templates {
    /// Templates over the names of `scope`, an object.
    ///
    /// # Panics
    /// If the language's own delimiters are none, which a test would have seen.
    #[must_use]
    pub fn new(scope: Value, writing: Writing) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // So that an error names what is absent, in whatever build. What else it keeps of the texts goes with it and is not told.
        environment.set_debug(true);
        environment.set_syntax(syntax());
        match writing {
            Writing::Escaped(escape) => environment.set_auto_escape_callback(move |_| escape.clone()),
            Writing::Json => environment.set_formatter(|out, state, value| {
                use ValueKind::{Bool, Iterable, Map, None, Number, Seq};
                if matches!(value.kind(), None | Bool | Number | Seq | Map | Iterable) {
                    let text = serde_json::to_string(value)
                        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
                    return Ok(out.write_str(&text)?);
                }
                minijinja::escape_formatter(out, state, value)
            }),
        }
        let price = weight(&scope);
        environment.set_fuel(Some(FUEL.min(WORK / price)));
        let seen = minijinja::Value::from(Serde(&scope));
        Self { environment, scope, seen, price, left: Cell::new(WORK) }
    }

    /// The names that an expression takes from outside, in alphabetical order. Nothing of it is worked out.
    ///
    /// # Errors
    /// It is none, or too long; in words.
    pub fn names(source: &str) -> Result<BTreeSet<String>, String> {
        fits(source)?;
        let expression = parse_expr(source).map_err(|error| told(&error))?;
        Ok(names::of_expression(&expression))
    }

    /// The same for a text with statements.
    ///
    /// # Errors
    /// It is none, or too long; in words.
    pub fn names_of_text(source: &str) -> Result<BTreeSet<String>, String> {
        fits(source)?;
        let text = parse(source, "", syntax()).map_err(|error| told(&error))?;
        Ok(names::of_text(&text))
    }

    /// What an expression comes to.
    ///
    /// # Errors
    /// It is none, is not permitted, names what is not there, or takes too much work; in words.
    pub fn value(&self, source: &str) -> Result<Value, String> {
        fits(source)?;
        let steps = {
            let expression = parse_expr(source).map_err(|error| told(&error))?;
            let mut reader = Reader::new(&self.scope);
            reader.expression(&expression)?;
            reader.steps()
        };
        self.pay(steps)?;
        caught(|| {
            let expression = self.environment.compile_expression(source).map_err(|error| told(&error))?;
            let value = expression.eval(self.seen.clone()).map_err(|error| told(&error))?;
            if value.is_undefined() {
                return Err(format!("`{}` names what is not there", source.trim()));
            }
            serde_json::to_value(&value).map_err(|error| error.to_string())
        })
    }

    /// Writes what a text with statements comes to.
    ///
    /// # Errors
    /// As [`Self::value`], with the line, or it cannot be written.
    pub fn write(&self, source: &str, out: &mut impl Write) -> Result<(), String> {
        {
            let text = parse(source, "", syntax()).map_err(|error| on_its_line(&error))?;
            Reader::new(&self.scope).text(&text)?;
        }
        // What breaks off has cost all that it might have.
        let most = FUEL.min(self.left.get() / self.price).max(1);
        self.pay(most)?;
        let taken = caught(|| {
            let template = self.environment.template_from_str(source).map_err(|error| on_its_line(&error))?;
            let captured = template.render_captured_to(self.seen.clone(), out).map_err(|error| on_its_line(&error))?;
            Ok(captured.state().fuel_levels().map_or(0, |(taken, _)| taken))
        })?;
        let back = most.saturating_sub(taken).saturating_mul(self.price);
        self.left.set(self.left.get().saturating_add(back));
        Ok(())
    }

    fn pay(&self, steps: u64) -> Result<(), String> {
        let left = self.left.get().checked_sub(steps.saturating_mul(self.price));
        self.left.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| "all its templates together are more work than there may be".to_owned())
    }
}

/// What comes of work in the language, whose own arithmetic may overflow: that is the fault of one text, and ends nothing else.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let done = panic::catch_unwind(panic::AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err("it cannot be worked out: a number in it is beyond what the language takes".to_owned()))
}

fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().expect("delimiters are valid")
}

fn fits(source: &str) -> Result<(), String> {
    if source.len() <= SOURCE_BYTES_MAX {
        return Ok(());
    }
    Err(format!("an expression, or a text with statements, has at most {SOURCE_BYTES_MAX} bytes: split it"))
}

/// How much there is to look at, at most, where two values are compared: the values in it, and their texts.
fn weight(value: &Value) -> u64 {
    /// Bytes of a text that are looked at as quickly as a value is.
    const BYTES: usize = 64;
    match value {
        Value::String(text) => 1 + (text.len() / BYTES) as u64,
        Value::Array(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(key, field)| (key.len() / BYTES) as u64 + weight(field)).sum::<u64>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// An error without the engine's own idea of a file's name, which says nothing here.
fn told(error: &Error) -> String {
    if let Some(absent) = error.detail().and_then(|detail| absent(error.kind(), detail)) {
        return format!("`{absent}` names what is not there");
    }
    match error.detail() {
        _ if error.kind() == ErrorKind::OutOfFuel => "it is more work than one template may do".to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// What is not there, where the language can tell: an expression such as `body.action`.
fn absent(kind: ErrorKind, detail: &str) -> Option<&str> {
    if kind != ErrorKind::UndefinedError {
        return None;
    }
    let (absent, _) = detail.strip_prefix('`')?.split_once("` is undefined")?;
    // It writes three dots for what it cannot tell.
    (!absent.contains("(...)")).then_some(absent)
}

fn on_its_line(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    line + &told(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Value {
        json!({
            "date": "2026-11-25",
            "vars": {"depth": 3, "who": ["a", "b"], "nested": [["a", 1], ["b", 2]]},
            "previous": {"status": "completed", "summary": "", "artifacts": [{"name": "report.md", "size": 7}]},
        })
    }

    fn value(source: &str) -> Result<Value, String> {
        Templates::new(scope(), Writing::Json).value(source)
    }

    fn text(source: &str) -> Result<String, String> {
        let mut out = Vec::new();
        Templates::new(scope(), Writing::Json).write(source, &mut out)?;
        Ok(String::from_utf8(out).expect("a text"))
    }

    #[test]
    fn what_is_written_in_schedules_comes_out() {
        for (source, expected) in [
            ("date", json!("2026-11-25")),
            ("vars.depth * 2 + 1", json!(7)),
            ("'-' * vars.depth", json!("---")),
            ("date + '!' ~ vars.depth", json!("2026-11-25!3")),
            ("vars.who | join(', ') | upper", json!("A, B")),
            ("vars.who[0]", json!("a")),
            ("vars['who'][-1]", json!("b")),
            ("vars.nested | map('first') | list", json!(["a", "b"])),
            (
                "previous.artifacts | selectattr('name', 'in', ['report.md', 'x']) | map(attribute='size') | sum",
                json!(7),
            ),
            ("previous.status in ['completed', 'failed']", json!(true)),
            ("previous.status == 'completed' and vars.depth > 2", json!(true)),
            ("previous.summary or 'nothing'", json!("nothing")),
            ("vars.missing | default('x')", json!("x")),
            ("[date, vars.depth] | join('/')", json!("2026-11-25/3")),
            ("range(3) | list", json!([0, 1, 2])),
            ("(vars.depth if vars.depth > 5 else -1) + 1", json!(0)),
            ("date[:4] | int + 1", json!(2027)),
            ("vars.who[::-1]", json!(["b", "a"])),
            ("{'a': vars.depth}.a", json!(3)),
            ("vars.missing is defined and vars.missing == 3", json!(false)),
            ("[1] | tojson(indent=2)", json!("[\n  1\n]")),
        ] {
            assert_eq!(value(source), Ok(expected), "{source}");
        }
        let list = "{% for a in previous.artifacts %}{{ loop.index }}. {{ a.name }} {{ a.size|int * 2 }}{% if not loop.last %}, {% endif %}{% endfor %}";
        assert_eq!(text(list).as_deref(), Ok("1. report.md 14"));
        let commas = "{% set ns = namespace(more=false) %}{% for a in vars.who %}{% if ns.more %},{% endif %}{% set ns.more = true %}{{ a }}{% endfor %}";
        assert_eq!(text(commas).as_deref(), Ok("a,b"));
        assert_eq!(text("{% set day = date[8:] | int + 1 %}{{ day }}").as_deref(), Ok("26"));
    }

    /// Each of these takes seconds, or for ever, in the whole language at no price.
    #[test]
    fn nothing_grows_beyond_what_is_there() {
        for source in [
            "5 in [1] * 100000000",
            "[1] * 100000000 == [1] * 100000000",
            "vars.who * 100000000 == vars.who * 99999999",
            "100000000 * vars.who",
            "vars.who + vars.who",
            "(vars.who + vars.who) | batch(9) | list",
            "vars.who | chain(vars.who) | list",
            "vars.who | zip(vars.who) | list",
            "vars.who | batch(1000, vars.who) | list",
            "vars.who | map('batch', 1000, vars.who) | list",
            "vars.who | map('zip', 'a') | list",
            "[vars.who, vars.who]",
            "{'a': vars.who, 'b': vars.who} | items",
            "dict(a=vars.who, b=vars.who)",
            "namespace(a=vars.who)",
            "debug()",
            "[range(99999)]",
            "(vars.who if vars.depth else vars.nested) * 9",
            "(vars.who or 'a') * 9",
            "vars.who | first * 9",
            "vars.who[vars.depth:] * 9",
            "[1] | tojson(indent=100000000000)",
            "[1] | tojson(17)",
            "[[1]] | map('tojson', 100000000000) | list",
            "[1] | tojson(indent=vars.depth)",
            "'a' | replace('a', 'aa' * 1000000) | replace('a', 'aa' * 1000000)",
            "vars.who | join('a' * 100000000)",
            "('a' * 1000000) ~ ('a' * 1000000)",
            "vars.who[::-9223372036854775808]",
            "vars.who[::vars.depth]",
            "loop(vars.who)",
            "vars.who(1)",
            "vars.who.x(1)",
            "(1, vars.who)",
        ] {
            let refused = value(source);
            assert!(refused.is_err(), "{source}: {refused:?}");
        }
        for source in [
            "{% set a = vars.who %}",
            "{% set a = [date] %}",
            "{% set a = namespace(b=vars.who) %}",
            "{% set a = namespace() %}{% set a.b = vars.who %}",
            "{% set a = namespace() %}{% for b in vars.who %}{% set a.c = b %}{% endfor %}",
            "{{ namespace() }}",
            "{% with a = vars.who %}{% endwith %}",
            "{% filter upper %}x{% endfilter %}",
            "{% for a in vars.who recursive %}{{ loop(a) }}{% endfor %}",
            "{% for a in [[1] * 100000000] %}{% endfor %}",
            "{% for a in vars.who %}{{ a * 9 }}{% endfor %}",
            "{% for a in vars.who %}{{ [a] }}{% endfor %}",
            "{% for a in range(99999) %}{{ vars.who == vars.nested }}{% endfor %}",
            "{% do range(3) %}",
            "{% autoescape true %}{% endautoescape %}",
        ] {
            assert!(text(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_fault_of_the_language_is_one_of_the_text() {
        assert!(
            caught::<()>(|| panic!("attempt to negate with overflow")).is_err_and(|says| says.contains("a number"))
        );
    }

    #[test]
    fn what_is_absent_is_named() {
        for (source, absent) in [
            ("vars.missing == 3", "vars.missing"),
            ("vars.missing.depth == 3", "vars.missing"),
            ("vars.depth == 3 and vars.missing == 1", "vars.missing"),
            ("vars.missing", "vars.missing"),
        ] {
            assert_eq!(value(source), Err(format!("`{absent}` names what is not there")), "{source}");
        }
        let told = text("{% for a in previous.artifacts %}{{ a.missing ~ 'x' }}{% endfor %}").expect_err("absent");
        assert!(told.starts_with("line 1: "), "{told}");
    }

    #[test]
    fn many_texts_share_one_budget() {
        let large: Vec<u32> = (0..2_000).collect();
        let templates = Templates::new(json!({"a": large, "b": large}), Writing::Json);
        let broke = (0..100_000).find_map(|_| templates.value("a == b").err()).expect("it ends");
        assert!(broke.contains("all its templates together"), "{broke}");
        // So does what breaks off.
        let templates = Templates::new(json!({"a": large}), Writing::Json);
        let endless = "{% for x in range(99999) %}{{ x }}{% endfor %}";
        let broke = (0..1_000).any(|_| {
            let said = templates.write(endless, &mut std::io::sink()).expect_err("it is too much");
            said.contains("all its templates together")
        });
        assert!(broke, "what breaks off costs nothing");
        // What only names something costs next to nothing.
        let templates = Templates::new(json!({"a": large, "b": 1}), Writing::Json);
        assert!((0..1_000).all(|_| templates.value("b").is_ok()));
    }

    #[test]
    fn names_are_those_from_outside() {
        let names = |source| Templates::names(source).expect("an expression").into_iter().collect::<Vec<_>>();
        assert_eq!(names("b.c + a[d] if range(3) else x | default(y)"), ["a", "b", "d", "range", "x", "y"]);
        let text = "{% for a, b in rows if a %}{{ loop.index }}{{ a }}{{ c }}{% else %}{{ b }}{% endfor %}{{ a }}";
        let names: Vec<_> = Templates::names_of_text(text).expect("a text").into_iter().collect();
        assert_eq!(names, ["a", "b", "c", "rows"]);
    }

    #[test]
    fn what_is_long_and_flat_overflows_nothing() {
        for part in [".a", "[0]", "|upper", "+1", " and 1", "~1", "**1", " if 1", "()"] {
            let long = format!("date{}", part.repeat((SOURCE_BYTES_MAX - 4) / part.len()));
            // Whatever it comes to.
            let _ = value(&long);
            let _ = Templates::names(&long);
        }
    }
}
