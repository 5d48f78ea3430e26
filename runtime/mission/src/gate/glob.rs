//! Texts with wildcards, as every scope writes them: `*` for any run of characters between two slashes, `**` for any run of whole parts.
//!
//! Owned here: the form, its compiled shape, and three questions: does it take a text, does it take *all* that another pattern takes, and
//! could the two have something in common. Nothing else is a wildcard: what is so small can be compared with other patterns, takes time
//! in proportion to its text, and needs no memory to speak of. Never here: what the text is (a path, an argument, a word).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use icu_normalizer::DecomposingNormalizerBorrowed;

/// A text in which `*` stands for any run of characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wild {
    /// What stands between the stars; one piece alone: no star at all.
    pieces: Box<[Box<str>]>,
}

impl Wild {
    pub(super) fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(Into::into).collect() }
    }

    /// Whether there is no star in it.
    pub(super) fn is_plain(&self) -> bool {
        self.pieces.len() == 1
    }

    /// What stands before the first star.
    pub(super) fn head(&self) -> &str {
        &self.pieces[0]
    }

    fn tail(&self) -> &str {
        &self.pieces[self.pieces.len() - 1]
    }

    /// Whether it takes the text. A star in the text is a character like any other, which only a star takes: so a pattern may be asked
    /// about, too, and then the answer is whether all that *it* takes is taken.
    pub(super) fn takes(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else { return *self.pieces[0] == *text };
        let Some(mut rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        // The leftmost place of each leaves the most to those behind it.
        middle.iter().all(|piece| match rest.find(&**piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }

    /// Whether it and the pattern `other` (with `*` and `?`) may take a text in common: their ends do not contradict each other.
    fn meets(&self, other: &str) -> bool {
        let Some(at) = other.find(['*', '?']) else { return self.takes(other) };
        let end = other.rfind(['*', '?']).map_or(other.len(), |at| at + 1);
        let (head, tail) = (&other[..at], &other[end..]);
        if self.is_plain() {
            let whole = self.head();
            return whole.len() >= head.len() + tail.len() && whole.starts_with(head) && whole.ends_with(tail);
        }
        let heads = self.head().starts_with(head) || head.starts_with(self.head());
        heads && (self.tail().ends_with(tail) || tail.ends_with(self.tail()))
    }
}

/// A part between two slashes.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Any run of parts.
    Deep,
    /// One that this takes.
    One(Wild),
}

/// A pattern of texts that consist of parts with slashes between them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts(Vec<Part>);

/// A part of what is asked about: of one text, or of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Any run of parts.
    Deep,
    /// Any part that this takes, with `*` and `?`.
    Like(String),
    /// This part.
    Is(String),
}

/// A part of what is asked about: nothing, where it is any run of parts.
pub(super) trait AskedPart {
    fn part(&self) -> Option<&str>;
}

impl AskedPart for Asked {
    fn part(&self) -> Option<&str> {
        match self {
            Self::Deep => None,
            Self::Like(part) | Self::Is(part) => Some(part),
        }
    }
}

impl AskedPart for &str {
    fn part(&self) -> Option<&str> {
        Some(self)
    }
}

impl Parts {
    /// The pattern of a text; `None` where `**` stands beside other characters, which would mean one thing to one reader and another to the next.
    pub(super) fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let part = |part: &str| match part {
            "**" => Some(Part::Deep),
            _ if part.contains("**") => None,
            _ => Some(Part::One(Wild::new(part))),
        };
        parts.into_iter().map(part).collect::<Option<_>>().map(Self)
    }

    /// Whether no wildcard is in it.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::One(wild) if wild.is_plain()))
    }

    /// Whether it may take a text whose first part this is: most are told apart by it.
    pub(super) fn may_begin_with(&self, first: Option<&str>) -> bool {
        match (self.0.first(), first) {
            (Some(Part::One(wild)), Some(first)) => wild.takes(first),
            _ => true,
        }
    }

    /// Whether it takes all that is asked about. `docs/**` takes what is in `docs` and not `docs` itself; `**` takes everything.
    pub(super) fn takes_all(&self, asked: &[impl AskedPart]) -> bool {
        let (mut p, mut a) = (0, 0);
        // Where to go on after a mismatch: behind the last `**`, one part further.
        let mut retry: Option<(usize, usize)> = None;
        while a < asked.len() {
            let fits = match self.0.get(p) {
                Some(Part::Deep) => {
                    p += 1;
                    if p == self.0.len() {
                        return true;
                    }
                    retry = Some((p, a));
                    continue;
                }
                Some(Part::One(wild)) => asked[a].part().is_some_and(|part| wild.takes(part)),
                None => false,
            };
            if fits {
                (p, a) = (p + 1, a + 1);
                continue;
            }
            let Some((behind, from)) = retry else { return false };
            (p, a) = (behind, from + 1);
            retry = Some((behind, from + 1));
        }
        // A last `**` that has met nothing takes nothing, but where it is all there is.
        p == self.0.len() || (p == 0 && matches!(self.0.as_slice(), [Part::Deep]))
    }

    /// Whether it takes anything of what is asked about, as far as can be told: rather yes than no. Here `docs/**` takes `docs`, too.
    pub(super) fn meets(&self, asked: &[Asked]) -> bool {
        // Most are told apart by their first part.
        if let (Some(Part::One(wild)), Some(Asked::Is(text))) = (self.0.first(), asked.first())
            && !wild.takes(text)
        {
            return false;
        }
        // From the ends: whether what is behind both places can be the same. One row of that table is held.
        let mut behind = vec![false; asked.len() + 1];
        for p in (0..=self.0.len()).rev() {
            let mut row = vec![false; asked.len() + 1];
            for a in (0..=asked.len()).rev() {
                let (part, other) = (self.0.get(p), asked.get(a));
                row[a] = match (part, other) {
                    (None, None) => true,
                    (Some(Part::Deep), None) => behind[a],
                    (Some(Part::Deep), Some(_)) => behind[a] || row[a + 1],
                    (None, Some(Asked::Deep)) => row[a + 1],
                    (Some(Part::One(_)), Some(Asked::Deep)) => row[a + 1] || behind[a],
                    (Some(Part::One(wild)), Some(Asked::Is(text))) => wild.takes(text) && behind[a + 1],
                    (Some(Part::One(wild)), Some(Asked::Like(text))) => wild.meets(text) && behind[a + 1],
                    (None, Some(_)) | (Some(Part::One(_)), None) => false,
                };
            }
            behind = row;
        }
        behind[0]
    }
}

/// The one form of texts that a file system, or a server, may take for the same: without regard to case and to how accents are composed.
pub(super) fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return text.to_ascii_lowercase().into();
        }
        return text.into();
    }
    let nfd = DecomposingNormalizerBorrowed::new_nfd();
    let lower = nfd.normalize(text).to_lowercase();
    nfd.normalize(&lower).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str) -> Vec<Asked> {
        text.split('/').filter(|part| !part.is_empty()).map(|part| Asked::Is(part.into())).collect()
    }

    fn like(text: &str) -> Vec<Asked> {
        let part = |part: &str| if part == "**" { Asked::Deep } else { Asked::Like(part.into()) };
        text.split('/').map(part).collect()
    }

    fn parts(text: &str) -> Parts {
        Parts::new(text.split('/')).unwrap()
    }

    #[test]
    fn a_star_stays_between_slashes_and_two_do_not() {
        for (pattern, text, takes) in [
            ("docs/*", "docs/a", true),
            ("docs/*", "docs/a/b", false),
            ("docs/*", "docs", false),
            ("docs/**", "docs/a", true),
            ("docs/**", "docs/a/b", true),
            ("docs/**", "docs", false),
            ("docs/**", "docsx/a", false),
            ("**", "a/b", true),
            ("**", "", true),
            ("**/*.md", "a.md", true),
            ("**/*.md", "a/b/c.md", true),
            ("**/*.md", "a/b/c.mdx", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("a/**/b/**", "a/b/b", true),
            ("*-*.md", "a-b.md", true),
            ("*-*.md", "ab.md", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "ab", false),
            ("*ab*ab*", "xabab", true),
            ("Docs/*", "docs/a", false),
        ] {
            assert_eq!(parts(pattern).takes_all(&is(text)), takes, "{pattern} {text}");
        }
        assert!(Parts::new(["a**"]).is_none());
    }

    #[test]
    fn one_pattern_within_another() {
        for (pattern, other, all, some) in [
            ("docs/**", "docs/**", true, true),
            ("docs/**", "docs/*.md", true, true),
            ("docs/**", "docs/a/**/b", true, true),
            ("docs/**", "**", false, true),
            ("docs/**", "*/a", false, true),
            ("docs/*.md", "docs/*.md", true, true),
            ("docs/*.md", "docs/a*.md", true, true),
            ("docs/*.md", "docs/*", false, true),
            ("docs/*.md", "docs/?.md", true, true),
            ("docs/*.md", "docs/**", false, true),
            ("docs/*.md", "docs/*.txt", false, false),
            ("docs/*", "docs/**", false, true),
            ("docs/*/x", "docs/**/x", false, true),
            ("**", "**", true, true),
            ("**/*.md", "docs/*.md", true, true),
            ("**/*.md", "docs/**/*.md", true, true),
            ("**/*.md", "docs/**", false, true),
            ("a/b", "a/*", false, true),
            ("a/b", "a/b*c", false, false),
            ("a/b", "c/**", false, false),
            ("a/*b", "a/c*", false, true),
        ] {
            assert_eq!(parts(pattern).takes_all(&like(other)), all, "{pattern} takes all of {other}");
            assert_eq!(parts(pattern).meets(&like(other)), some, "{pattern} meets {other}");
        }
        assert!(parts("docs/**").meets(&is("docs")));
    }

    #[test]
    fn what_a_file_system_may_take_for_the_same_is_folded_to_it() {
        assert_eq!(folded("Docs/A"), "docs/a");
        assert_eq!(folded("\u{c4}"), folded("a\u{308}"));
        assert_eq!(folded("\u{212a}"), "k");
        assert_ne!(folded("a"), folded("\u{e4}"));
    }
}
