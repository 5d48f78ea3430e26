//! Which names a text takes from outside, and which its loops and blocks bind.

use std::collections::BTreeSet;

use minijinja::machinery::ast::{Call, CallArg, Expr, Macro, Stmt};

/// The names that are bound around a place, from the outermost block to the innermost.
#[derive(Default)]
pub(crate) struct Bound<'a>(Vec<BTreeSet<&'a str>>);

impl<'a> Bound<'a> {
    /// Whether a name is bound here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|names| names.contains(name))
    }

    /// Enters the body of a loop.
    pub(crate) fn enter_loop(&mut self, target: &Expr<'a>) {
        self.enter();
        self.bind("loop");
        self.target(target);
    }

    /// Binds what a `set` sets, from here to the end of its block.
    pub(crate) fn set(&mut self, target: &Expr<'a>) {
        self.target(target);
    }

    /// Leaves what was entered last.
    pub(crate) fn leave(&mut self) {
        self.0.pop();
    }

    fn enter(&mut self) {
        self.0.push(BTreeSet::new());
    }

    fn bind(&mut self, name: &'a str) {
        if self.0.is_empty() {
            self.enter();
        }
        self.0.last_mut().expect("one was entered").insert(name);
    }

    fn target(&mut self, target: &Expr<'a>) {
        match target {
            Expr::Var(name) => self.bind(name.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.target(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.target(item)),
            _ => {}
        }
    }
}

/// The names that an expression takes from outside.
pub(crate) fn of_expression(expression: &Expr<'_>) -> BTreeSet<String> {
    let mut finder = Finder::default();
    finder.expression(expression);
    finder.names
}

/// The names that a text with statements takes from outside.
pub(crate) fn of_text(text: &Stmt<'_>) -> BTreeSet<String> {
    let mut finder = Finder::default();
    finder.statement(text);
    finder.names
}

#[derive(Default)]
struct Finder<'a> {
    bound: Bound<'a>,
    names: BTreeSet<String>,
}

impl<'a> Finder<'a> {
    fn expression(&mut self, expression: &Expr<'a>) {
        if let Expr::Var(name) = expression
            && !self.bound.has(name.id)
        {
            self.names.insert(name.id.to_owned());
        }
        children(expression).into_iter().for_each(|child| self.expression(child));
    }

    fn statements(&mut self, statements: &[Stmt<'a>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'a>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
            Stmt::EmitExpr(emitted) => self.expression(&emitted.expr),
            Stmt::IfCond(choice) => {
                self.expression(&choice.expr);
                self.statements(&choice.true_body);
                self.statements(&choice.false_body);
            }
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                self.statements(&each.else_body);
                self.bound.enter_loop(&each.target);
                each.filter_expr.iter().for_each(|filter| self.expression(filter));
                self.statements(&each.body);
                self.bound.leave();
            }
            Stmt::WithBlock(with) => {
                self.bound.enter();
                for (target, value) in &with.assignments {
                    self.expression(value);
                    self.bound.target(target);
                }
                self.statements(&with.body);
                self.bound.leave();
            }
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.bound.set(&set.target);
            }
            Stmt::SetBlock(set) => {
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.statements(&set.body);
                self.bound.set(&set.target);
            }
            Stmt::AutoEscape(escape) => {
                self.expression(&escape.enabled);
                self.statements(&escape.body);
            }
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter);
                self.statements(&block.body);
            }
            Stmt::Macro(made) => {
                self.bound.bind(made.name);
                self.made(made);
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call);
                self.made(&block.macro_decl);
            }
            Stmt::Do(done) => self.call(&done.call),
        }
    }

    fn made(&mut self, made: &Macro<'a>) {
        made.defaults.iter().for_each(|default| self.expression(default));
        self.bound.enter();
        self.bound.bind("caller");
        made.args.iter().for_each(|argument| self.bound.target(argument));
        self.statements(&made.body);
        self.bound.leave();
    }

    fn call(&mut self, call: &Call<'a>) {
        self.expression(&call.expr);
        call.args.iter().map(argument).for_each(|argument| self.expression(argument));
    }
}

/// What an argument of a call holds.
pub(crate) fn argument<'e, 'a>(argument: &'e CallArg<'a>) -> &'e Expr<'a> {
    match argument {
        CallArg::Pos(value) | CallArg::Kwarg(_, value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => value,
    }
}

/// The expressions that stand in an expression.
pub(crate) fn children<'e, 'a>(expression: &'e Expr<'a>) -> Vec<&'e Expr<'a>> {
    match expression {
        Expr::Var(_) | Expr::Const(_) => Vec::new(),
        Expr::Slice(slice) => {
            let bounds = [&slice.start, &slice.stop, &slice.step];
            std::iter::once(&slice.expr).chain(bounds.into_iter().flatten()).collect()
        }
        Expr::UnaryOp(unary) => vec![&unary.expr],
        Expr::BinOp(binary) => vec![&binary.left, &binary.right],
        Expr::Compare(compared) => {
            std::iter::once(&compared.expr).chain(compared.ops.iter().map(|with| &with.expr)).collect()
        }
        Expr::IfExpr(choice) => [&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr).collect(),
        Expr::Filter(filter) => filter.expr.iter().chain(filter.args.iter().map(argument)).collect(),
        Expr::Test(test) => std::iter::once(&test.expr).chain(test.args.iter().map(argument)).collect(),
        Expr::GetAttr(get) => vec![&get.expr],
        Expr::GetItem(get) => vec![&get.expr, &get.subscript_expr],
        Expr::Call(call) => std::iter::once(&call.expr).chain(call.args.iter().map(argument)).collect(),
        Expr::List(list) => list.items.iter().collect(),
        Expr::Tuple(tuple) => tuple.items.iter().collect(),
        Expr::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}
