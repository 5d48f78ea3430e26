//! The filters, and how numbers come through.

use serde_json::{Value as Json, json};

use super::run::run_in;
use super::world::Simulated;

/// What one `{{ … }}` gives, as JSON text; or the failure, after `! `.
fn give(inputs: &Json, expression: &str) -> String {
    let mut world = Simulated::echo();
    let mut inputs = inputs.clone();
    // Behind a step, so that what fails fails in the run.
    inputs["steps"] = json!([
        { "id": "first", "tool": "Echo" },
        { "id": "a", "tool": "Echo", "needs": ["first"], "with": { "v": format!("{{{{ {expression} }}}}") } },
    ]);
    match run_in(&mut world, inputs) {
        Ok(_) => world.log[1].trim_start_matches("10 Echo {\"v\":").trim_end_matches('}').to_owned(),
        Err(failure) => format!("! {}", failure.summary),
    }
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    let inputs = json!({
        "t": "id=42; id=7", "z": "2026-11-26T18:30:05.25Z", "l": "2026-11-26T23:30:00-06:00", "s": 1_795_718_405, "ms": 1_795_718_405.5,
        "long": "a".repeat(100_000),
    });
    for (expression, expected) in rows {
        let given = give(&inputs, expression);
        let fits = expected
            .strip_prefix("! ")
            .map_or(given == *expected, |why| given.starts_with("! ") && given.contains(why));
        assert!(fits, "{expression}\n gives {given}\n not   {expected}");
    }
}

#[test]
fn json_in_a_text_is_read_and_written() {
    check(&[
        (r#"'{"b":1,"a":[true,null,"x\\u00e4"]}' | fromjson"#, r#"{"b":1,"a":[true,null,"xä"]"#),
        (r#"('{"b":{"c":[1,2]}}' | fromjson).b.c[1]"#, "2"),
        (r#"(' [1] ' | fromjson) | length"#, "1"),
        (r#"'{"a":1,"a":2}' | fromjson"#, r#"{"a":2"#),
        ("'{' | fromjson", "! fromjson: this is no JSON"),
        ("'' | fromjson", "! fromjson: this is no JSON"),
        ("'1 2' | fromjson", "! fromjson: this is no JSON"),
        ("[1] | fromjson", "! fromjson takes a text"),
        ("('[' * 90 ~ ']' * 90) | fromjson | length", "1"),
        ("('[' * 120 ~ ']' * 120) | fromjson | length", "! fromjson"),
        ("'1' | fromjson(numbers='x')", "! numbers is \"text\""),
        (r#"{"a": "<&'>", "b": [1, none]} | tojson"#, r#""{\"a\":\"<&'>\",\"b\":[1,null]}""#),
        (r#"{"a": [1]} | tojson(indent=2)"#, r#""{\n  \"a\": [\n    1\n  ]\n}""#),
        (r#"("<" | tojson) ~ ("x" | tojson)"#, r#""\"<\"\"x\"""#),
    ]);
}

#[test]
fn numbers_in_a_text_keep_their_digits_and_are_worth_what_they_say() {
    check(&[
        ("'[0.1, 1.5e300, -0.0, 5e-324, 1e22]' | fromjson", "[0.1,1.5e300,-0.0,5e-324,1e22]"),
        (
            "'[9007199254740993, 18446744073709551615, -9223372036854775808]' | fromjson",
            "[9007199254740993,18446744073709551615,-9223372036854775808]",
        ),
        ("'12345678901234567890123' | fromjson", "12345678901234567890123"),
        ("('12345678901234567890123' | fromjson) + 1", "12345678901234567890124"),
        ("('12345678901234567890123' | fromjson) ~ ''", r#""12345678901234567890123""#),
        ("('-12345678901234567890123' | fromjson) ~ ''", r#""-12345678901234567890123""#),
        ("('[12345678901234567890123]' | fromjson) | tojson", r#""[12345678901234567890123]""#),
        ("('12345678901234567890123' | fromjson) + 1 == ('12345678901234567890124' | fromjson)", "true"),
        ("'1e400' | fromjson", "1e400"),
        ("('1e400' | fromjson) > 1e300", "true"),
        (
            "'[1.10, 1e400, 0.10000000000000000000001]' | fromjson(numbers='text')",
            r#"["1.10","1e400","0.10000000000000000000001"]"#,
        ),
        ("'-0' | fromjson", "-0"),
        ("'1.10' | fromjson", "1.10"),
        ("('[1.10, 2.50]' | fromjson) | last", "2.50"),
        ("('[1.10, 2.50]' | fromjson) | sum", "3.6"),
        ("('[2.50, 1.10]' | fromjson) | sort", "[1.1,2.5]"),
        ("('1.10' | fromjson) * 2", "2.2"),
        ("('1.10' | fromjson) is number", "true"),
        ("('1.00' | fromjson) == 1", "true"),
        ("'yes' if ('0.00' | fromjson) else 'no'", r#""no""#),
        ("1 if (('{\"a\":[1.10]}' | fromjson).a[0] in [1.1]) else 0", "1"),
        (
            "('[{\"a\":2.50},{\"a\":1.10}]' | fromjson) | sort(attribute='a') | tojson",
            r#""[{\"a\":1.10},{\"a\":2.50}]""#,
        ),
    ]);
}

#[test]
fn regular_expressions_find_and_replace() {
    check(&[
        ("inputs.t | regex_match('id=[0-9]+')", "true"),
        ("inputs.t | regex_match('^[0-9]')", "false"),
        (r"inputs.t | regex_find('id=(\\d+)', 1)", r#""42""#),
        (r"inputs.t | regex_find('id=(?<n>\\d+); id=(?<m>\\d+)', 'm')", r#""7""#),
        ("inputs.t | regex_find('id=[0-9]+')", r#""id=42""#),
        ("inputs.t | regex_find('nothing')", "null"),
        ("inputs.t | regex_find('(a)?id', 1)", "null"),
        ("inputs.t | regex_find('id', 1)", "! has no group 1"),
        ("inputs.t | regex_find('id', 'x')", "! has no group x"),
        (r"inputs.t | regex_replace('id=(\\d+)', '<$1>')", r#""<42>; <7>""#),
        ("'a.b.c' | regex_replace('[.]', '')", r#""abc""#),
        ("'abc' | regex_replace('', '-')", r#""-a-b-c-""#),
        ("'a' | regex_replace('a', '$$1')", r#""$1""#),
        ("inputs.t | regex_match(inputs.l ~ '(')", "! is no regular expression"),
        ("5 | regex_match('5')", "! regex_match takes a text"),
        (
            "inputs.long | regex_match('(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*b' * 9)",
            "! fuel",
        ),
        ("(inputs.long | regex_replace('a', inputs.long)) | length", "! fuel"),
    ]);
}

#[test]
fn times_are_told_in_another_way() {
    check(&[
        ("inputs.z | date('%Y-%m-%d')", r#""2026-11-26""#),
        ("inputs.z | date", r#""2026-11-26T18:30:05.25Z""#),
        ("inputs.l | date", r#""2026-11-26T23:30:00-06:00""#),
        ("inputs.l | date('%F %H:%M')", r#""2026-11-26 23:30""#),
        ("inputs.l | date('%F %H:%M', offset='Z')", r#""2026-11-27 05:30""#),
        ("inputs.z | date('%a, %d %b %Y %T %z', offset='+05:30')", r#""Fri, 27 Nov 2026 00:00:05 +0530""#),
        ("inputs.z | date('%F', add='-1d')", r#""2026-11-25""#),
        ("inputs.z | date('%T', add='90m')", r#""20:00:05""#),
        ("inputs.s | date", r#""2026-11-26T18:40:05Z""#),
        ("inputs.ms | date", r#""2026-11-26T18:40:05.5Z""#),
        ("inputs.z | date('%s') | int - 5", "1795717800"),
        // Up to the last moment that can be written, and no further.
        ("'9999-12-31T23:59:59Z' | date", r#""9999-12-31T23:59:59Z""#),
        ("'9999-12-31T23:59:59.999999999Z' | date('%F %T')", r#""9999-12-31 23:59:59""#),
        ("'9999-12-31T23:59:59-12:00' | date('%F %:z')", r#""9999-12-31 -12:00""#),
        ("'9999-12-31T23:59:59Z' | date(offset='-06:00')", r#""9999-12-31T17:59:59-06:00""#),
        ("'9999-12-31T23:59:59Z' | date('%F', add='-1d')", r#""9999-12-30""#),
        ("253402300799 | date", r#""9999-12-31T23:59:59Z""#),
        ("'0000-01-01T00:00:00Z' | date", r#""0000-01-01T00:00:00Z""#),
        ("'9999-12-31T23:59:59Z' | date(offset='+01:00')", "! date"),
        ("'9999-12-31T23:59:59Z' | date(add='1s')", "! date"),
        ("253402300800 | date", "! are no moment"),
        ("'9999-12-31T23:59:60.5+99:00' | date", "! is no RFC 3339 time"),
        ("inputs.z | date('%!')", "! is no format"),
        ("'2026-11-26' | date('%F')", "! is no RFC 3339 time"),
        ("'2026-11-26T10:00:00' | date('%F')", "! is no RFC 3339 time"),
        ("'soon' | date('%F')", "! is no RFC 3339 time"),
        ("1e30 | date('%F')", "! are no moment"),
        ("inputs.z | date('%F', offset='Europe/Berlin')", "! names of zones are not known"),
        ("inputs.z | date('%F', add='1 month')", "! date: add is"),
        ("[] | date('%F')", "! date takes an RFC 3339 text"),
    ]);
}

#[test]
fn digests_and_base64() {
    check(&[
        ("'abc' | sha256", r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#),
        ("'' | sha256", r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#),
        ("{} | sha256", "! sha256 takes a text"),
        ("'user:pässword?' | b64", r#""dXNlcjpww6Rzc3dvcmQ/""#),
        ("'user:pässword?' | b64(url=true)", r#""dXNlcjpww6Rzc3dvcmQ_""#),
        ("'a' | b64", r#""YQ==""#),
        ("'a' | b64(url=true)", r#""YQ""#),
        ("'YQ==' | b64(decode=true)", r#""a""#),
        ("'Y\nQ' | b64(decode=true)", r#""a""#),
        ("'_w' | b64(decode=true, url=true)", "! is no UTF-8 text"),
        ("'a!' | b64(decode=true)", "! is no base64"),
        ("'x' | b64(decod=true)", "! unknown keyword argument"),
    ]);
}

#[test]
fn a_text_is_paid_for_before_it_is_built() {
    for (template, is_paid) in [
        ("<{{ [inputs.long] * 30 }}>", true),
        ("<{{ [inputs.long] * 100000 }}>", false),
        ("{% for n in range(3) %}{{ [inputs.long] * 30 }}{% endfor %}", false),
        ("{% set all %}{{ [inputs.long] * 100000 }}{% endset %}{{ all | length }}", false),
        ("<{{ inputs.long * 100 }}>", true),
    ] {
        let mut world = Simulated::echo();
        let step = json!({ "id": "a", "tool": "Echo", "needs": ["first"], "with": { "v": template } });
        let inputs = json!({ "long": "a".repeat(100_000), "steps": [{ "id": "first", "tool": "Echo" }, step] });
        match run_in(&mut world, inputs) {
            Ok(_) => assert!(is_paid, "{template}"),
            Err(failure) => assert!(!is_paid && failure.summary.contains("out of fuel"), "{template}: {failure:?}"),
        }
    }
}

#[test]
fn what_a_filter_costs_is_what_it_does() {
    check(&[
        // Repetitions within repetitions are as many parts as their product.
        ("inputs.long | regex_match('(?:(?:a{12}){12}){12}b')", "! fuel"),
        ("inputs.long | regex_replace('(?:(?:a{12}){12}){12}b', '')", "! fuel"),
        ("inputs.long | regex_find('(?:(?:(?:(?:(?:a{2}){3}){4}){3}){4}){2}b')", "! fuel"),
        ("inputs.long | regex_match('a{12}b')", "false"),
        ("inputs.t | regex_match('(?:(?:a{12}){12}){12}b')", "false"),
        ("[1] | tojson(indent=9)", "! tojson: indent is 8 at most"),
        ("[1] | tojson(indent=0)", r#""[1]""#),
        ("([1] | tojson(indent=8)) | length", "13"),
        ("([inputs.long] * 700) | tojson | length", "! fuel"),
        // What one text can pay once, a thousand of it cannot; nothing of that is built first.
        ("([inputs.long] * 10) | string | length", "1000031"),
        ("([inputs.long] * 100000) | string | length", "! fuel"),
        ("([inputs.long] * 10) | join | length", "1000000"),
        ("([inputs.long] * 100000) | join | length", "! fuel"),
        ("([[inputs.long]] * 100000) | join | length", "! fuel"),
        ("([inputs.long] * 100000) | join('-') | length", "! fuel"),
        ("('[' * 90 ~ '1' ~ ',1' * 10000 ~ ']' * 90) | fromjson | tojson(indent=8) | length", "7295161"),
        ("('[' * 90 ~ '1' ~ ',1' * 90000 ~ ']' * 90) | fromjson | tojson(indent=8) | length", "! fuel"),
    ]);
}
