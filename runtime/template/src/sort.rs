//! Of which sort a value is, as far as that is certain before anything is worked out.

use minijinja::machinery::ast::{BinOpKind, Expr, UnaryOpKind};
use minijinja::value::ValueKind;
use serde_json::Value;

use crate::names::Bound;

/// What is certain of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Number,
    Text,
    /// True, false, or nothing.
    Plain,
    /// It may be a list or an object.
    Unknown,
}

impl Sort {
    /// Whether it is certain that nothing is in it.
    pub(crate) fn is_single(self) -> bool {
        self != Self::Unknown
    }

    fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

/// The sort of an expression over these names.
pub(crate) fn sort(expression: &Expr<'_>, scope: &Value, bound: &Bound<'_>) -> Sort {
    let of = |expression: &Expr<'_>| sort(expression, scope, bound);
    match expression {
        Expr::Const(constant) => of_constant(&constant.value),
        Expr::UnaryOp(unary) => match unary.op {
            UnaryOpKind::Not => Sort::Plain,
            UnaryOpKind::Neg => Sort::Number,
        },
        Expr::BinOp(binary) => of_operation(binary.op, of(&binary.left), of(&binary.right)),
        Expr::Compare(_) | Expr::Test(_) => Sort::Plain,
        Expr::IfExpr(choice) => {
            let otherwise = choice.false_expr.as_ref();
            otherwise.map_or(of(&choice.true_expr), |otherwise| of(&choice.true_expr).or(of(otherwise)))
        }
        Expr::Slice(slice) => match of(&slice.expr) {
            Sort::Text => Sort::Text,
            _ => Sort::Unknown,
        },
        Expr::Filter(filter) => match filter.name {
            "default" | "d" => Sort::Unknown,
            name => of_filter(name),
        },
        Expr::GetAttr(get) if is_loop(&get.expr, bound) => match get.name {
            "index" | "index0" | "revindex" | "revindex0" | "length" | "depth" | "depth0" => Sort::Number,
            "first" | "last" => Sort::Plain,
            _ => Sort::Unknown,
        },
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
            found(expression, scope, bound).map_or(Sort::Unknown, of_value)
        }
        Expr::Call(_) | Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => Sort::Unknown,
    }
}

/// Whether an expression is the `loop` of a loop around it.
pub(crate) fn is_loop(expression: &Expr<'_>, bound: &Bound<'_>) -> bool {
    matches!(expression, Expr::Var(name) if name.id == "loop" && bound.has("loop"))
}

fn of_operation(operation: BinOpKind, left: Sort, right: Sort) -> Sort {
    use BinOpKind as Op;
    let either = |sort| left == sort || right == sort;
    match operation {
        Op::Eq | Op::Ne | Op::Lt | Op::Lte | Op::Gt | Op::Gte | Op::In => Sort::Plain,
        Op::ScAnd | Op::ScOr => left.or(right),
        // What is anything else fails.
        Op::Sub | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow => Sort::Number,
        Op::Concat => Sort::Text,
        Op::Add | Op::Mul if either(Sort::Text) => Sort::Text,
        Op::Add | Op::Mul if either(Sort::Number) => Sort::Number,
        Op::Add | Op::Mul => Sort::Unknown,
    }
}

fn of_filter(name: &str) -> Sort {
    match name {
        "length" | "count" | "round" | "abs" | "int" | "float" => Sort::Number,
        "bool" => Sort::Plain,
        "safe" | "escape" | "e" | "lower" | "upper" | "title" | "capitalize" | "replace" | "trim" | "join"
        | "string" | "indent" | "pprint" | "tojson" | "urlencode" | "format" => Sort::Text,
        _ => Sort::Unknown,
    }
}

fn of_constant(value: &minijinja::Value) -> Sort {
    match value.kind() {
        ValueKind::Number => Sort::Number,
        ValueKind::String => Sort::Text,
        ValueKind::None | ValueKind::Bool => Sort::Plain,
        _ => Sort::Unknown,
    }
}

fn of_value(value: &Value) -> Sort {
    match value {
        Value::Number(_) => Sort::Number,
        Value::String(_) => Sort::Text,
        Value::Null | Value::Bool(_) => Sort::Plain,
        Value::Array(_) | Value::Object(_) => Sort::Unknown,
    }
}

/// The value that a path of names leads to, where each of its steps is written down.
fn found<'s>(path: &Expr<'_>, scope: &'s Value, bound: &Bound<'_>) -> Option<&'s Value> {
    match path {
        Expr::Var(name) if !bound.has(name.id) => scope.get(name.id),
        Expr::GetAttr(get) => found(&get.expr, scope, bound)?.get(get.name),
        Expr::GetItem(get) => {
            let Expr::Const(key) = &get.subscript_expr else { return None };
            let within = found(&get.expr, scope, bound)?;
            match key.value.as_str() {
                Some(key) => within.get(key),
                None => within.get(key.value.as_usize()?),
            }
        }
        _ => None,
    }
}
