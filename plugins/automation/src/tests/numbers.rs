//! Numbers: the same digits out as in, wherever they come through, and what is computed with them is right.

use serde_json::json;

use super::run::run_in;
use super::world::Simulated;

/// Numbers that nobody chose, the same ones each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A whole number of any length, up to 64 bits.
fn whole(dice: &mut Dice) -> String {
    let bits = dice.below(64) as u32;
    match dice.below(2) {
        0 => (dice.next() >> bits).to_string(),
        _ => (dice.next() as i64 >> bits).to_string(),
    }
}

/// A decimal number as people write it: up to 15 digits, none of them superfluous, from 0.0001 on.
fn decimal(dice: &mut Dice) -> String {
    let digits = 1 + dice.below(15) as u32;
    let places = dice.below(u64::from(digits)) as usize;
    let number = dice.below(10_u64.pow(digits)).to_string();
    let number = format!("{number:0>width$}", width = places + 1);
    let (before, after) = number.split_at(number.len() - places);
    let after = after.trim_end_matches('0');
    let text = format!("{before}.{}", if after.is_empty() { "0" } else { after });
    let is_tiny = text.trim_start_matches(['0', '.']).is_empty() || text.starts_with("0.0000");
    let text = if is_tiny { format!("1{text}") } else { text };
    if dice.below(3) == 0 { format!("-{text}") } else { text }
}

/// Any double, in its shortest form.
fn double(dice: &mut Dice) -> String {
    loop {
        let double = f64::from_bits(dice.next());
        if double.is_finite() {
            return json!(double).to_string();
        }
    }
}

/// Any number that JSON can write.
fn written(dice: &mut Dice) -> String {
    let digits = |dice: &mut Dice, most: u64| -> String {
        (0..=dice.below(most)).map(|_| char::from(b'0' + dice.below(10) as u8)).collect()
    };
    let mut text = if dice.below(3) == 0 { "-".to_owned() } else { String::new() };
    match dice.below(4) {
        0 => text.push('0'),
        _ => text.push_str(&format!("{}{}", 1 + dice.below(9), digits(dice, 40))),
    }
    if dice.below(2) == 0 {
        text.push_str(&format!(".{}", digits(dice, 25)));
    }
    if dice.below(3) == 0 {
        let sign = ["", "+", "-"][dice.below(3) as usize];
        text.push_str(&format!("{}{sign}{}", ["e", "E"][dice.below(2) as usize], digits(dice, 3)));
    }
    text
}

/// What comes out of a mission that is given numbers: in `with`, through a template of one kind and another, through a result.
fn come_through(numbers: &[String]) -> Vec<String> {
    let list = format!("[{}]", numbers.join(","));
    let given = crate::digits::read(&list).expect("numbers");
    let mut steps = json!([
        { "id": "first", "tool": "Echo", "with": {} },
        { "id": "value", "tool": "Echo", "needs": ["first"], "with": { "out": "{{ inputs.n }}" } },
        { "id": "of", "tool": "Echo", "needs": ["value"], "with": { "out": "{{ steps.first.result.out }}" } },
        { "id": "read", "tool": "Echo", "needs": ["of"], "with": { "out": "{{ inputs.t | fromjson }}" } },
        { "id": "json", "tool": "Echo", "needs": ["read"], "with": { "out": "{{ inputs.n | tojson }}" } },
        { "id": "text", "tool": "Echo", "needs": ["json"], "with": { "out": "{{ inputs.n }} " } },
        { "id": "joined", "tool": "Echo", "needs": ["text"], "with": { "out": "{{ inputs.n | join(',') }}" } },
        { "id": "one", "tool": "Echo", "needs": ["joined"], "with": { "out": "{% for x in inputs.n %}{{ x }},{% endfor %}" } },
        { "id": "each", "tool": "Echo", "needs": ["one"], "for_each": "{{ inputs.n }}", "concurrency": 1, "with": { "out": "{{ item }}" } },
        { "id": "all", "tool": "Echo", "needs": ["each"], "with": { "out": "{{ steps.each.results | map(attribute='out') | list }}" } },
    ]);
    let mut world = Simulated::echo();
    // The macro would write exponents in its own way.
    steps[0]["with"]["out"] = given.clone();
    let mut inputs = json!({ "t": list });
    (inputs["n"], inputs["steps"]) = (given, steps);
    run_in(&mut world, inputs).expect("it completes");
    let out = |line: &String| -> String {
        let json = crate::digits::read(line.split_once(" Echo ").expect("a call").1).expect("JSON");
        json["out"].as_str().map_or_else(|| json["out"].to_string(), str::to_owned)
    };
    let mut came: Vec<String> = world.log.iter().map(out).collect();
    let each: Vec<String> = came.drain(8..8 + numbers.len()).collect();
    came.push(format!("[{}]", each.join(",")));
    came
}

#[test]
fn the_digits_that_go_in_come_out() {
    let mut dice = Dice(2026);
    for kind in [whole, decimal, double, written] {
        for _ in 0..40 {
            let numbers: Vec<String> = (0..25).map(|_| kind(&mut dice)).collect();
            for came in come_through(&numbers) {
                let came = came.trim_matches(['[', ']', ' ', ',']);
                assert_eq!(came, numbers.join(","));
            }
        }
    }
}

#[test]
fn what_is_compared_and_computed_is_numerically_right() {
    let mut dice = Dice(11);
    for _ in 0..200 {
        let (a, b) = (dice.next() as i64 >> dice.below(64), dice.next() as i64 >> dice.below(64));
        let (x, y): (f64, f64) =
            (decimal(&mut dice).parse().expect("a number"), decimal(&mut dice).parse().expect("a number"));
        let v = "{% set i = inputs %}{{ [i.a < i.b, i.a == i.b, i.a > i.x, i.x < i.y, i.a + i.b, i.a - i.b, i.x + i.y, i.x * i.y, \
                 [i.a, i.b] | max, [i.y, i.x] | sort | first] }}";
        let mut world = Simulated::echo();
        let steps = json!([{ "id": "s", "tool": "Echo", "with": { "v": v } }]);
        let (sum, difference) = (i128::from(a) + i128::from(b), i128::from(a) - i128::from(b));
        let is_in = |number: i128| i64::try_from(number).is_ok();
        // A sum beyond 64 bits is none that could leave as a number.
        if is_in(sum) && is_in(difference) {
            run_in(&mut world, json!({ "a": a, "b": b, "x": x, "y": y, "steps": steps })).expect("it completes");
            let expected = json!([
                a < b,
                a == b,
                (a as f64) > x,
                x < y,
                sum as i64,
                difference as i64,
                x + y,
                x * y,
                a.max(b),
                x.min(y)
            ]);
            assert_eq!(world.log, [format!("0 Echo {}", json!({ "v": expected.to_string() }))], "{a} {b} {x} {y}");
        }
    }
}
