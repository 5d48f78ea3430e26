//! Whether a template does more with what it sees than to hand it on: found in its tokens, before anything is run.

use minijinja::machinery::{Span, Token};

/// Filters that take texts, or choose among values, and ask no number what it is worth.
const HAND_ON: [&str; 26] = [
    "b64",
    "capitalize",
    "count",
    "d",
    "default",
    "escape",
    "e",
    "first",
    "fromjson",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "regex_find",
    "regex_match",
    "regex_replace",
    "replace",
    "reverse",
    "safe",
    "sha256",
    "string",
    "title",
    "tojson",
    "upper",
];

/// Whether something is computed: an operator, a comparison, a test, or a filter or function that is not known to hand on.
pub(super) fn computes(tokens: &[(Token<'_>, Span)]) -> bool {
    (0..tokens.len()).any(|at| computes_at(tokens, at))
}

fn computes_at(tokens: &[(Token<'_>, Span)], at: usize) -> bool {
    let token = |at: usize| tokens.get(at).map(|(token, _)| token);
    let before = |back: usize| at.checked_sub(back).and_then(token);
    let is_called = matches!(token(at + 1), Some(Token::ParenOpen));
    match &tokens[at].0 {
        Token::Ident(name) => match (*name, before(1)) {
            (_, Some(Token::Dot)) => is_called,
            ("map", Some(Token::Pipe)) => {
                !is_called
                    || !matches!((token(at + 2), token(at + 3)), (Some(Token::Ident("attribute")), Some(Token::Assign)))
            }
            (name, Some(Token::Pipe)) => !HAND_ON.contains(&name),
            ("is", _) => true,
            ("in", _) => !is_of_loop(tokens, at),
            (name, _) => {
                is_called && !["dict", "namespace", "if", "elif", "else", "and", "or", "not", "in"].contains(&name)
            }
        },
        Token::BracketOpen if is_looked_into(before(1)) => {
            let inside = tokens[at + 1..]
                .iter()
                .map(|(token, _)| token)
                .take_while(|token| !matches!(token, Token::BracketClose));
            !inside.into_iter().all(|token| {
                matches!(token, Token::Int(_) | Token::Minus | Token::Colon | Token::Str(_) | Token::String(_))
            })
        }
        // An index from the end.
        Token::Minus => !matches!(before(1), Some(Token::BracketOpen | Token::Colon)),
        Token::Plus
        | Token::Mul
        | Token::Div
        | Token::FloorDiv
        | Token::Pow
        | Token::Mod
        | Token::Eq
        | Token::Ne
        | Token::Gt
        | Token::Gte
        | Token::Lt
        | Token::Lte => true,
        _ => false,
    }
}

/// Whether a bracket behind this looks into it; elsewhere it begins a list.
fn is_looked_into(before: Option<&Token<'_>>) -> bool {
    match before {
        Some(Token::Ident(name)) => !["in", "if", "elif", "else", "and", "or", "not"].contains(name),
        Some(Token::BracketClose | Token::ParenClose | Token::BraceClose | Token::Str(_) | Token::String(_)) => true,
        _ => false,
    }
}

/// Whether this `in` is that of `{% for … in … %}`: the first one behind it.
fn is_of_loop(tokens: &[(Token<'_>, Span)], at: usize) -> bool {
    let start = tokens[..at].iter().rposition(|(token, _)| matches!(token, Token::BlockStart | Token::VariableStart));
    let Some([(Token::BlockStart, _), (Token::Ident("for"), _), names @ ..]) = start.map(|start| &tokens[start..at])
    else {
        return false;
    };
    !names.iter().any(|(token, _)| matches!(token, Token::Ident("in")))
}

#[cfg(test)]
mod tests {
    use minijinja::machinery::tokenize;

    use super::*;

    #[test]
    fn what_computes_is_told_from_what_hands_on() {
        let of = |source: &str| {
            let tokens: Vec<_> = tokenize(source, false, minijinja::syntax::SyntaxConfig::default())
                .collect::<Result<_, _>>()
                .expect("tokens");
            computes(&tokens)
        };
        for source in [
            "a - b < c",
            "{{ inputs.price }}",
            "{{ steps['fetch-all'].result[0].a[-1] }}",
            "{{ inputs.list[1:-1] | map(attribute='price') | list | tojson(indent=2) }}",
            "{% for x in inputs.n %}{{ x }},{{ loop.index }}{% endfor %}",
            "{% if inputs.flag and not inputs.other %}{{ inputs.price }}{% else %}{{ (inputs.a) }}{% endif %}",
            "{{ [inputs.a, inputs.b] | first }} {{ {'a': inputs.a} | tojson }} {{ dict(a=inputs.a) }}",
            "{{ inputs.a ~ ' ' ~ inputs.b if inputs.c else [inputs.a] }}",
            "{{ (inputs.t | fromjson).a | default('none') | upper }}",
            "{% set x = inputs.a %}{{ x.in }}",
        ] {
            assert!(!of(source), "{source}");
        }
        for source in [
            "{{ inputs.a + 1 }}",
            "{{ inputs.a - 1 }}",
            "{{ -inputs.a }}",
            "{{ inputs.a > 1 }}",
            "{{ inputs.a is number }}",
            "{{ inputs.a in inputs.b }}",
            "{% for x in inputs.n if x in inputs.m %}{{ x }}{% endfor %}",
            "{{ range(inputs.a) }}",
            "{{ inputs.list[inputs.a] }}",
            "{{ inputs.list | sort }}",
            "{{ inputs.list | map('round') }}",
            "{{ inputs.a | round }}",
            "{% if inputs.a == 1 %}{{ inputs.a }}{% endif %}",
        ] {
            assert!(of(source), "{source}");
        }
    }
}
