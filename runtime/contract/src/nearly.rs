//! Names that were meant for others: what a slip of the hand makes of one.
//!
//! Owns when two names are nearly the same. Never says what follows: whoever asks refuses, or suggests.

/// Whether `entry` is nearly the name `known`: the same without regard to case, dashes, underscores and spaces, or but for one slip of
/// the hand, or two in a long name: a letter more, less or another, or two neighbours that changed places. Of a short name any
/// slip makes another.
#[must_use]
pub fn is_nearly(entry: &str, known: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let slips = if known.len() >= 8 { 2 } else { 1 };
    // What is much longer is not looked into.
    if entry.len() > known.len() * 2 + slips {
        return false;
    }
    let (entry, known) = (plain(entry), plain(known));
    entry == known
        || known.len() >= 4
            && entry.len().abs_diff(known.len()) <= slips
            && strsim::osa_distance(&entry, &known) <= slips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_nearly_the_name() {
        for (entry, known, expected) in [
            ("Wriet", "Write", true),
            ("Writ", "Write", true),
            ("write", "Write", true),
            ("Wrong", "Write", false),
            ("web-fetch", "WebFetch", true),
            ("WbFtch", "WebFetch", true),
            ("on-gap", "on_gap", true),
            ("zones", "zone", true),
            ("run", "runs", true),
            ("ID", "id", true),
            ("ids", "id", false),
            ("note", "once", false),
            ("", "zone", false),
        ] {
            assert_eq!(is_nearly(entry, known), expected, "{entry}, {known}");
        }
    }
}
