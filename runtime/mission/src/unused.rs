//! Which installed plugins nobody needs any more.
//!
//! Whoever collects them asks about all versions at once. One stays that is chosen where none is named, that somebody holds or names, and that
//! comes back at each start; and, where they have a time for it, one that was replaced by a newer one only lately.

use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use semver::Version;
use sortie_contract::plugin::PluginIdentity;

/// A version of a plugin, and what has to be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// Which.
    pub identity: PluginIdentity,
    /// When it was installed, where that is known.
    pub installed_at: Option<Timestamp>,
    /// Whether missions may begin on it: what nobody vouches for replaces nothing.
    pub may_be_chosen: bool,
    /// Whether the node itself brings it along.
    pub is_carried: bool,
    /// Whether a mission has it: one that is not over, or one that is kept, whose record may be gone over again.
    pub is_held: bool,
    /// Whether a schedule, or the configuration, names this version.
    pub is_named: bool,
}

/// Why a version stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It comes back at each start.
    Carried,
    /// It is the one that is taken where none is named, or a later pre-release.
    Newest,
    /// Missions have it.
    Held,
    /// A schedule or the configuration names it.
    Named,
    /// A newer one is there for less than the time that is given it.
    Lately,
}

impl Stays {
    /// In a word, for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Newest => "newest",
            Self::Held => "held",
            Self::Named => "named",
            Self::Lately => "lately",
        }
    }
}

/// Why each of them stays; nothing, where it goes. `since` is the time that a version is given once a newer one is there, and what time it
/// is: one of which that is not known stays. Without it each goes at once.
#[must_use]
pub fn stays(all: &[Shelved], since: Option<(SignedDuration, Timestamp)>) -> Vec<Option<Stays>> {
    all.iter().map(|one| stays_for(one, all, since)).collect()
}

fn stays_for(one: &Shelved, all: &[Shelved], since: Option<(SignedDuration, Timestamp)>) -> Option<Stays> {
    let newer: Vec<&Shelved> = all.iter().filter(|other| replaces(other, one)).collect();
    let is_lately = || {
        since.is_some_and(|(age, now)| {
            // It was needed at least until the first of those was there that are newer.
            let replaced_at = newer.iter().filter_map(|other| other.installed_at).min();
            let replaced_at = replaced_at.max(one.installed_at);
            replaced_at.is_none_or(|at| now.duration_since(at) < age)
        })
    };
    if one.is_carried {
        Some(Stays::Carried)
    } else if newer.is_empty() {
        Some(Stays::Newest)
    } else if one.is_held {
        Some(Stays::Held)
    } else if one.is_named {
        Some(Stays::Named)
    } else if is_lately() {
        Some(Stays::Lately)
    } else {
        None
    }
}

/// Whether `other` is taken in the place of `one` where no version is named. A pre-release takes the place of earlier pre-releases alone.
fn replaces(other: &Shelved, one: &Shelved) -> bool {
    if other.identity.name != one.identity.name {
        return false;
    }
    let (Ok(newer), Ok(older)) = (Version::parse(&other.identity.version), Version::parse(&one.identity.version))
    else {
        // What is no version is left to people.
        return false;
    };
    other.may_be_chosen && newer > older && (newer.pre.is_empty() || !older.pre.is_empty())
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::string::ToString as _;
    use alloc::vec;

    use sortie_contract::digest::Digest;

    use super::*;

    fn shelved(text: &str, installed_at: i64) -> Shelved {
        let (name, version) = text.split_once('@').expect("a version");
        Shelved {
            identity: PluginIdentity {
                name: name.to_string(),
                version: version.to_string(),
                digest: Digest::of(text.as_bytes()),
            },
            installed_at: Timestamp::from_second(installed_at).ok(),
            may_be_chosen: true,
            is_carried: false,
            is_held: false,
            is_named: false,
        }
    }

    fn check(all: &[Shelved], since: Option<(i64, i64)>, expected: &[Option<Stays>]) {
        let since =
            since.map(|(age, now)| (SignedDuration::from_secs(age), Timestamp::from_second(now).expect("in range")));
        assert_eq!(stays(all, since), expected, "{all:?}");
    }

    #[test]
    fn what_is_taken_where_no_version_is_named_stays() {
        let versions = |all: &[&str]| all.iter().map(|text| shelved(text, 0)).collect::<Vec<_>>();
        let (newest, gone) = (Some(Stays::Newest), None);
        for (all, expected) in [
            (&["a@1.0.0"][..], vec![newest]),
            (&["a@1.9.0", "a@1.10.0", "b@0.1.0"], vec![gone, newest, newest]),
            // A pre-release is not taken in the place of a release, and the release not in that of a later pre-release.
            (&["a@1.0.0", "a@2.0.0-rc.1", "a@2.0.0-rc.2"], vec![newest, gone, newest]),
            (&["a@1.0.0-rc.1", "a@1.0.0"], vec![gone, newest]),
            (&["a@0.1.0-a", "a@0.1.0-b"], vec![gone, newest]),
            (&["a@1.0.0", "aa@2.0.0"], vec![newest, newest]),
        ] {
            check(&versions(all), None, &expected);
        }
    }

    #[test]
    fn what_somebody_needs_stays() {
        let with = |change: fn(&mut Shelved)| {
            let mut one = shelved("a@1.0.0", 0);
            change(&mut one);
            vec![one, shelved("a@2.0.0", 0)]
        };
        for (all, expected) in [
            (with(|_| {}), None),
            (with(|one| one.is_carried = true), Some(Stays::Carried)),
            (with(|one| one.is_held = true), Some(Stays::Held)),
            (with(|one| one.is_named = true), Some(Stays::Named)),
        ] {
            check(&all, None, &[expected, Some(Stays::Newest)]);
        }
        let aside = Shelved { may_be_chosen: false, ..shelved("a@2.0.0", 0) };
        check(&[shelved("a@1.0.0", 0), aside], None, &[Some(Stays::Newest), Some(Stays::Newest)]);
        let mut odd = shelved("a@1.0.0", 0);
        odd.identity.version = "one".to_owned();
        check(&[odd, shelved("a@2.0.0", 0)], None, &[Some(Stays::Newest), Some(Stays::Newest)]);
    }

    #[test]
    fn what_was_replaced_lately_stays_for_a_time() {
        let (lately, newest) = (Some(Stays::Lately), Some(Stays::Newest));
        let since = |now| Some((100, now));
        let all = [shelved("a@1.0.0", 0), shelved("a@2.0.0", 1_000), shelved("a@3.0.0", 2_000)];
        check(&all, since(1_099), &[lately, lately, newest]);
        check(&all, since(1_100), &[None, lately, newest]);
        check(&all, since(2_100), &[None, None, newest]);
        // An older one that was installed after the newer one: its time begins with that.
        check(&[shelved("a@1.0.0", 5_000), shelved("a@2.0.0", 0)], since(5_099), &[lately, newest]);
        check(&[shelved("a@1.0.0", 5_000), shelved("a@2.0.0", 0)], since(5_100), &[None, newest]);
        // Clocks that are set back make nothing old.
        check(&all[1..], since(0), &[lately, newest]);
        let unknown = |text| Shelved { installed_at: None, ..shelved(text, 0) };
        check(&[unknown("a@1.0.0"), unknown("a@2.0.0")], since(i64::from(u32::MAX)), &[lately, newest]);
        check(&[unknown("a@1.0.0"), unknown("a@2.0.0")], None, &[None, newest]);
    }
}
