//! Expressions that nobody would write, held against croner.

use proptest::prelude::*;
use proptest::sample::select;
use sortie_contract::Timestamp;

use crate::croner::Pair;
use crate::table::ZONES;

/// A field of `min` to `max`: a wildcard, a value, a range, a step, a list.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let value = move || min..=max;
    let range = move || (value(), value()).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let item = prop_oneof![
        3 => value().prop_map(|value| value.to_string()),
        2 => range().prop_map(|(from, to)| format!("{from}-{to}")),
        1 => (range(), 1..=(max - min) / 2).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (1..=(max - min) / 2).prop_map(|step| format!("*/{step}")),
        6 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

/// As [`field`], without a step after a wildcard: where crontab and croner disagree about what that restricts.
fn days(min: u32, max: u32) -> impl Strategy<Value = String> {
    field(min, max).prop_map(|text| if text.starts_with("*/") { "*".to_owned() } else { text })
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 23), days(1, 31), field(1, 12), days(0, 7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_expressions_are_those_of_croner(
        expression in expression(),
        (zone, _) in select(&ZONES[..]),
        from in 1_293_840_000_i64..1_900_000_000,
    ) {
        // An expression without a day is refused, and has no oracle.
        if let Some(pair) = Pair::find(zone, &expression) {
            let from = Timestamp::from_second(from).expect("in range");
            pair.hold(from, Timestamp::from_second(1_990_000_000).expect("in range"), 40);
        }
    }
}
