//! What a database answers with, and what it means: whether to try again, to ask what became of a commit, or to stop.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why a store in a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What names it is not understood.
    #[error("`store` is not the URL of a PostgreSQL database: {why}. It looks like postgres://user@host:5432/database")]
    Url {
        /// What is wrong.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("no certificates of this machine can be used to know the database by: {why}")]
    Tls {
        /// What is wrong.
        why: String,
    },
    /// The authorities that the URL names cannot be read.
    #[error("`sslrootcert` of `store`: {}: {why}. It names a file of certificates of authorities, in PEM", path.display())]
    Roots {
        /// What it names.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It shows no certificate by which it is known.
    #[error(
        "the database of the store is not known by its certificate: {why}. Name its authority in the URL (`sslmode=verify-full&sslrootcert=FILE`) \
         and its host as the certificate does; where the way to it is your own, `sslmode=disable` does without"
    )]
    Unknown {
        /// What is wrong with it.
        why: String,
    },
    /// It has no TLS, and is to have it.
    #[error(
        "the database of the store has no TLS, and `sslmode` in the URL insists on it: turn it on there (`ssl = on`), or, where the way to it is \
         your own, write `sslmode=disable`"
    )]
    NoTls,
    /// It cannot be reached, or refused what was asked of it.
    #[error("the database of the store: {}", told(source))]
    Refused {
        /// What it said.
        #[source]
        source: Error,
    },
    /// Its tables are of an older version, or there are none.
    #[error("the store has tables of version {found}, and this sortie wants version {known}; run `sortie migrate`")]
    Older {
        /// What is there; 0: nothing.
        found: i64,
        /// What is wanted.
        known: i64,
    },
    /// Its tables are of a newer version.
    #[error(
        "the store has tables of version {found}, and this sortie knows version {known} at most; use the sortie that made them, \
         or a newer one"
    )]
    Newer {
        /// What is there.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// A newer Sortie wrote rows that cannot be read here.
    #[error(
        "the store has rows of format {found}, and this sortie knows format {known} at most; start it with the sortie that wrote \
         them, or a newer one"
    )]
    NewerFormat {
        /// What is there.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// Every share has been taken once.
    #[error(
        "the store has no share left for one more node: all up to number {most} have been taken. Begin with a new store"
    )]
    NoShares {
        /// The greatest that there can be.
        most: u32,
    },
    /// Another node of this name is there.
    #[error(
        "a node that is called `{name}` is there already: another data directory's (the store knows it by {node}), since {since}. Give this \
         one an `instance_id` of its own; where that one is gone and this one takes its place, start it once the lease has run out, in {} s",
        lease_left.as_secs() + 1
    )]
    NameTaken {
        /// The name.
        name: String,
        /// What the other is known by.
        node: String,
        /// Since when it is there.
        since: Timestamp,
        /// How long it is waited for.
        lease_left: Duration,
    },
    /// The process is short of something.
    #[error("no thread can be started for the store")]
    Thread(#[source] std::io::Error),
}

impl From<Error> for StoreError {
    fn from(source: Error) -> Self {
        let said = told(&source);
        if said.contains(NO_TLS) {
            return Self::NoTls;
        }
        match said.split_once(BAD_CERTIFICATE) {
            Some((_, why)) => Self::Unknown { why: why.to_owned() },
            None => Self::Refused { source },
        }
    }
}

/// What the driver says of a server that does not want to speak TLS.
const NO_TLS: &str = "server does not support TLS";

/// What stands before the reason why a certificate is not believed.
const BAD_CERTIFICATE: &str = "invalid peer certificate: ";

/// An error with what it was caused by: the driver keeps the sentence that helps behind its own.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Whether the same may go well a moment later: the connection is gone, the server stops or starts, has no room, reads only, or
/// somebody was in the way. Everything else is a mistake, which trying again repeats.
pub(crate) fn is_passing(error: &Error) -> bool {
    let Some(state) = error.code() else {
        // The driver's own: it lost its connection, unless it did not understand a value.
        let said = error.to_string();
        return !(said.starts_with("error serializing") || said.starts_with("error deserializing"));
    };
    passes(state)
}

/// What is damaged on the disk stays so, whoever waits for it.
fn passes(state: &SqlState) -> bool {
    ![&SqlState::DATA_CORRUPTED, &SqlState::INDEX_CORRUPTED].contains(&state)
        && matches!(state.code().get(..2), Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX"))
}

/// Whether it may go well at once, on the same connection: somebody was in the way.
pub(crate) fn is_a_collision(error: &Error) -> bool {
    error.code().is_some_and(|state| {
        [
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
            // Two that make the same table at once.
            &SqlState::UNIQUE_VIOLATION,
            &SqlState::DUPLICATE_TABLE,
            &SqlState::DUPLICATE_OBJECT,
        ]
        .contains(&state)
    })
}

pub(crate) fn is_no_such_table(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}

/// Said of what follows an error within its transaction: it is not the reason.
pub(crate) fn is_a_consequence(error: &Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_a_moment_later_passes_and_what_is_damaged_or_mistaken_does_not() {
        let passing = ["08006", "25006", "40001", "53100", "55P03", "57P01", "57014", "58030", "XX000"];
        let lasting = ["XX001", "XX002", "22P05", "23505", "42P01", "28P01"];
        for (codes, expected) in [(&passing[..], true), (&lasting[..], false)] {
            for code in codes {
                assert_eq!(passes(&SqlState::from_code(code)), expected, "{code}");
            }
        }
    }
}
