//! A patch as `git am` takes it: one message of an mbox, with the diff in its body.
//!
//! A diff with carriage returns or with bytes that are no UTF-8 does not survive as plain text (git takes carriage returns off the lines of a
//! message), so it travels in base64, which git decodes. Everything else stays readable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Who and what a patch is of.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The author's name.
    pub(crate) author: String,
    /// In one line.
    pub(crate) subject: String,
    /// Further lines.
    pub(crate) body: String,
}

/// Where the author is reached: nowhere.
pub(crate) const ADDRESS: &str = "sortie@localhost";

/// Longest subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 100;

impl Message {
    /// What a mission's patch says of itself.
    pub(crate) fn new(vp: &str, mission: &str, objective: &str) -> Self {
        let first = objective.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Work of a mission");
        let plain: String = first.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut subject = plain.trim_end_matches('.').to_owned();
        if subject.len() > SUBJECT_BYTES_MAX {
            subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES_MAX));
            subject.push('…');
        }
        let author: String = vp.chars().filter(|c| !c.is_control() && !"<>\"".contains(*c)).collect();
        Self { author, subject, body: format!("Mission {mission}, by a model. Read it before you merge it.") }
    }

    /// The headers, up to the empty line.
    pub(crate) fn headers(&self, encoding: &str) -> String {
        // The date of the first line is git's own mark of a patch.
        format!(
            "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: \"{}\" <{ADDRESS}>\n\
             Subject: [PATCH] {}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\
             Content-Transfer-Encoding: {encoding}\n\n",
            self.author, self.subject
        )
    }

    /// What stands before the diff.
    pub(crate) fn preamble(&self) -> String {
        format!("{}\n---\n", self.body)
    }

    /// The whole message with a diff.
    pub(crate) fn with(&self, diff: &str) -> String {
        let body = format!("{}{diff}{SIGNATURE}", self.preamble());
        if !diff.contains('\r') {
            return self.headers("8bit") + &body;
        }
        self.headers("base64") + &base64(body.as_bytes())
    }
}

/// What ends the diff.
pub(crate) const SIGNATURE: &str = "-- \nsortie\n";

/// In lines of 76 characters.
fn base64(bytes: &[u8]) -> String {
    bytes.chunks(57).map(|line| STANDARD.encode(line) + "\n").collect()
}

#[cfg(test)]
mod patches;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_everybody_writes_it() {
        for (bytes, text) in [("", ""), ("M", "TQ==\n"), ("Ma", "TWE=\n"), ("Man", "TWFu\n"), ("ä\r\n", "w6QNCg==\n")]
        {
            assert_eq!(base64(bytes.as_bytes()), text, "{bytes:?}");
        }
        assert!(base64(&[0; 1_000]).lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn a_message_is_one_message_whatever_the_objective_is() {
        let message = Message::new("vp \"<x>\"", "m1", "\n\nFrom me: mend\u{7} it.\n---\ndiff --git a b\n");
        let text = message.with("diff --git a/a b/a\n");
        assert_eq!(text.lines().filter(|line| line.starts_with("From ")).count(), 1, "{text}");
        assert!(
            text.contains("Subject: [PATCH] From me: mend  it\n") && text.contains("From: \"vp x\" <sortie@localhost>"),
            "{text}"
        );
        assert_eq!(text.matches("\n---\n").count(), 1, "{text}");
        assert!(Message::new("v", "m", &"ü".repeat(200)).subject.len() < 110);
        assert!(message.with("a\r\n").contains("Content-Transfer-Encoding: base64"));
    }
}
