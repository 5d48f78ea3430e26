//! What somebody may have meant who wrote a name that is not there.

/// Most names that another is measured against, and the longest of them, in bytes.
const MEASURED_MAX: usize = 1_000;
const MEASURED_BYTES_MAX: usize = 200;

/// Most names that a message lists.
const LISTED_MAX: usize = 12;

/// Longest name that a message repeats, in characters.
const SHOWN_MAX: usize = 40;

/// The name among these that is nearest to one that is not among them; none where they are all of another kind.
pub(crate) fn near<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if wrong.len() > MEASURED_BYTES_MAX {
        return None;
    }
    let small = wrong.to_lowercase();
    // A slip of the finger or two, and no more than every third letter.
    let far = (small.chars().count() / 3).min(3);
    // Names may come of what a tool answered: as many and as long as it likes.
    let names = names.into_iter().take(MEASURED_MAX).filter(|name| name.len() <= MEASURED_BYTES_MAX);
    let measured = names.map(|name| (strsim::osa_distance(&small, &name.to_lowercase()), name));
    measured.filter(|(distance, _)| *distance <= far).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// ` (did you mean …?)`, where there is such a name.
pub(crate) fn did_you_mean<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    near(wrong, names).map_or_else(String::new, |name| format!(" (did you mean `{}`?)", shown(name)))
}

/// Some names in a row; nothing where there are none.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(LISTED_MAX).map(shown).collect();
    let more = names.count();
    match (first.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(first.join(", ")),
        (false, more) => Some(format!("{} and {more} more", first.join(", "))),
    }
}

/// A name as a message repeats it: one line, not too long. It may come of what a tool answered.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String =
        name.chars().take(SHOWN_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if name.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant_where_one_is_near() {
        let long = "Write".repeat(100_000);
        let names = ["Read", "Write", &long, "HttpRequest", "mcp__shop__order"];
        for (wrong, meant) in [
            ("Wirte", Some("Write")),
            ("write", Some("Write")),
            ("Writ", Some("Write")),
            ("httprequests", Some("HttpRequest")),
            ("mcp_shop_order", Some("mcp__shop__order")),
            ("Road", Some("Read")),
            ("Bash", None),
            ("", None),
            ("WriteAll", None),
            (&"Write".repeat(100_000), None),
        ] {
            assert_eq!(near(wrong, names), meant, "{wrong}");
        }
    }

    #[test]
    fn a_list_of_names_is_one_line_and_not_too_long() {
        let many: Vec<String> = (0..14).map(|number| format!("n{number}")).collect();
        let said = listed(many.iter().map(String::as_str)).expect("some");
        assert!(said.starts_with("n0, n1") && said.ends_with("n11 and 2 more"), "{said}");
        assert_eq!(listed([]), None);
        assert_eq!(listed(["a\nb"]), Some("a b".to_owned()));
        assert_eq!(shown(&"x".repeat(50)), format!("{}…", "x".repeat(SHOWN_MAX)));
    }
}
