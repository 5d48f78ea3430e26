//! Which part of the language may be used: what a value could grow by is refused before anything is worked out.

use minijinja::machinery::ast::{
    BinOp, BinOpKind, Call, CallArg, CallType, Expr, Filter, ForLoop, Set, Stmt, UnaryOpKind,
};
use minijinja::value::ValueKind;
use serde_json::Value;

use crate::FUNCTIONS;
use crate::names::{Bound, argument, children};
use crate::sort::{Sort, is_loop, sort};

/// Filters that may be used: each takes a value apart, looks at it, or makes a text or a number of it. `chain` and `zip` are not
/// among them: they put one value twice into another.
pub const FILTERS: [&str; 47] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
];

/// Filters whose arguments are compared, or may come out instead of what they are given, and are put into nothing.
const TAKE_ANYTHING: [&str; 6] = ["d", "default", "reject", "rejectattr", "select", "selectattr"];

/// The largest step of a slice.
const STEP_MAX: u64 = 1_000_000;

/// Most spaces by which JSON is indented.
const INDENT_MAX: usize = 16;

/// What a loop gives to its body beside the names that it binds.
const METHODS_OF_LOOP: [&str; 2] = ["changed", "cycle"];

/// Reads what is about to be worked out.
pub(crate) struct Reader<'s, 'a> {
    scope: &'s Value,
    bound: Bound<'a>,
    /// Steps that look through whole values.
    steps: u64,
}

impl<'s, 'a> Reader<'s, 'a> {
    /// Of texts over these names.
    pub(crate) fn new(scope: &'s Value) -> Self {
        Self { scope, bound: Bound::default(), steps: 0 }
    }

    /// How many of its steps look through whole values.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Sees to it that a text with statements is permitted.
    pub(crate) fn text(&mut self, statement: &Stmt<'a>) -> Result<(), String> {
        match statement {
            Stmt::Template(template) => self.texts(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(emitted) => self.expression(&emitted.expr),
            Stmt::IfCond(choice) => {
                self.expression(&choice.expr)?;
                self.texts(&choice.true_body)?;
                self.texts(&choice.false_body)
            }
            Stmt::ForLoop(each) => self.each(each),
            Stmt::Continue(_) | Stmt::Break(_) => Ok(()),
            Stmt::Set(set) => self.set(set),
            Stmt::SetBlock(_) => refused("`set` around a part of a text"),
            Stmt::WithBlock(_) => refused("`with`"),
            Stmt::AutoEscape(_) => refused("`autoescape`"),
            Stmt::FilterBlock(_) => refused("`filter` around a part of a text"),
            Stmt::Macro(_) | Stmt::CallBlock(_) | Stmt::Do(_) => refused("`macro`, `call` and `do`"),
        }
    }

    fn texts(&mut self, statements: &[Stmt<'a>]) -> Result<(), String> {
        statements.iter().try_for_each(|statement| self.text(statement))
    }

    fn each(&mut self, each: &ForLoop<'a>) -> Result<(), String> {
        if each.recursive {
            return refused("a loop that calls itself");
        }
        self.expression(&each.iter)?;
        self.texts(&each.else_body)?;
        self.bound.enter_loop(&each.target);
        let within = each.filter_expr.iter().try_for_each(|filter| self.expression(filter));
        let within = within.and_then(|()| self.texts(&each.body));
        self.bound.leave();
        within
    }

    /// A name may hold what nothing is in, and a `namespace` of such.
    fn set(&mut self, set: &Set<'a>) -> Result<(), String> {
        match &set.expr {
            Expr::Call(call) if matches!(call.identify_call(), CallType::Function("namespace")) => {
                let values: Vec<&Expr<'a>> = call.args.iter().map(argument).collect();
                values.iter().try_for_each(|value| self.expression(value))?;
                values.iter().try_for_each(|value| self.single(value))?;
            }
            value => {
                self.expression(value)?;
                self.single(value)?;
            }
        }
        self.bound.set(&set.target);
        Ok(())
    }

    fn single(&self, value: &Expr<'a>) -> Result<(), String> {
        if self.sort(value).is_single() {
            return Ok(());
        }
        refused(
            "`set` to what may be a list: where it is none, say so with `| string`, `| int`, `| float` or `| bool`; else it",
        )
    }

    /// Sees to it that an expression is permitted.
    pub(crate) fn expression(&mut self, expression: &Expr<'a>) -> Result<(), String> {
        match expression {
            Expr::BinOp(operation) => self.operation(operation)?,
            Expr::Compare(_) | Expr::Test(_) => self.steps += 1,
            Expr::Filter(filter) => self.filter(filter)?,
            Expr::Call(call) => self.call(call)?,
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => self.literal(expression)?,
            Expr::Slice(slice) if !slice.step.as_ref().is_none_or(is_step) => {
                refused(&format!("a slice with another step than a written number up to {STEP_MAX}"))?;
            }
            _ => {}
        }
        children(expression).into_iter().try_for_each(|child| self.expression(child))
    }

    fn operation(&mut self, operation: &BinOp<'a>) -> Result<(), String> {
        use Sort::{Number, Text};
        let (left, right) = (self.sort(&operation.left), self.sort(&operation.right));
        match operation.op {
            BinOpKind::Mul if !matches!((left, right), (Number, Number | Text) | (Text, Number)) => refused(
                "`*` of what may be a list: where it is a number, say so with `| int` or `| float` on both sides; else it",
            ),
            BinOpKind::Add if ![left, right].iter().any(|sort| matches!(sort, Number | Text)) => refused(
                "`+` of what may be two lists: where they are numbers, say so with `| int` or `| float`; texts are joined with `~`; else it",
            ),
            BinOpKind::Mul | BinOpKind::Add | BinOpKind::Concat => Ok(()),
            _ => {
                self.steps += 1;
                Ok(())
            }
        }
    }

    fn filter(&mut self, filter: &Filter<'a>) -> Result<(), String> {
        self.steps += 1;
        known(filter.name)?;
        if TAKE_ANYTHING.contains(&filter.name) {
            return Ok(());
        }
        let mut arguments: Vec<&Expr<'a>> = filter.args.iter().map(argument).collect();
        let mut applied = filter.name;
        if filter.name == "map"
            && let Some(CallArg::Pos(name)) = filter.args.first()
        {
            // Else it is the name of a field.
            let Expr::Const(name) = name else { return refused("`map` with a filter whose name is worked out") };
            applied = name.value.as_str().unwrap_or_default();
            known(applied)?;
            arguments.remove(0);
        }
        // The language pays for its spaces once they are written.
        if applied == "tojson" && !arguments.iter().all(|argument| is_narrow(argument)) {
            return refused(&format!(
                "`tojson` with another `indent` than `true`, `false`, or a number up to {INDENT_MAX}"
            ));
        }
        if arguments.iter().all(|argument| self.is_small(argument)) {
            return Ok(());
        }
        refused(&format!(
            "`{}` with an argument that may be a list (`| string` and `| int` say that it is none)",
            filter.name
        ))
    }

    fn call(&self, call: &Call<'a>) -> Result<(), String> {
        match call.identify_call() {
            CallType::Function(name) if FUNCTIONS.contains(&name) => Ok(()),
            CallType::Function(name) => refused(&format!("the function `{name}`")),
            CallType::Method(of, name) if is_loop(of, &self.bound) && METHODS_OF_LOOP.contains(&name) => Ok(()),
            CallType::Method(_, name) => refused(&format!("the call of `{name}`")),
            CallType::Object(_) => refused("the call of a value"),
        }
    }

    /// What is written as a list holds single values, and lists that are written in it.
    fn literal(&self, literal: &Expr<'a>) -> Result<(), String> {
        if self.is_small(literal) {
            return Ok(());
        }
        refused(
            "a written list (or object) with something in it that may be a list: `| string` and `| int` say that it is none; else it",
        )
    }

    /// Whether an expression comes to a single value, or to a list that is as long as it is written.
    fn is_small(&self, expression: &Expr<'a>) -> bool {
        let all = |items: &[Expr<'a>]| items.iter().all(|item| self.is_small(item));
        match expression {
            Expr::List(list) => all(&list.items),
            Expr::Tuple(tuple) => all(&tuple.items),
            Expr::Map(map) => all(&map.keys) && all(&map.values),
            Expr::UnaryOp(unary) if matches!(unary.op, UnaryOpKind::Neg) => true,
            other => self.sort(other).is_single(),
        }
    }

    fn sort(&self, expression: &Expr<'a>) -> Sort {
        sort(expression, self.scope, &self.bound)
    }
}

/// Whether a step of a slice is written down, and small: the language negates it.
fn is_step(step: &Expr<'_>) -> bool {
    match step {
        Expr::Const(step) => step.value.as_i64().is_some_and(|step| step.unsigned_abs() <= STEP_MAX),
        Expr::UnaryOp(unary) => matches!(unary.op, UnaryOpKind::Neg) && is_step(&unary.expr),
        _ => false,
    }
}

/// Whether an argument is written down as a width that costs little.
fn is_narrow(argument: &Expr<'_>) -> bool {
    let Expr::Const(width) = argument else { return false };
    width.value.kind() == ValueKind::Bool || width.value.as_usize().is_some_and(|width| width <= INDENT_MAX)
}

fn known(filter: &str) -> Result<(), String> {
    if FILTERS.contains(&filter) {
        return Ok(());
    }
    refused(&format!("the filter `{filter}`"))
}

fn refused(what: &str) -> Result<(), String> {
    Err(format!("{what} is not available in templates that the node itself fills in"))
}
