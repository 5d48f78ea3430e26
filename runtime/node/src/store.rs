//! Where the missions are kept: in the journal of the data directory, or in the database that `[node] store` names. The data directory is
//! this process's either way: workspaces, artifacts, plugins and tokens lie there.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use sortie_engine::OpenLog;
use sortie_journal::{Claim, Claimed, EmbeddedLog, Journal, Options, PostgresLog, Store, StoreError, claim};

use crate::config::{Config, ConfigError};
use crate::node::OpenError;

/// What holds the missions of a data directory where no store is named.
pub(crate) const JOURNAL: &str = "journal.redb";

/// By what a store knows the node of a data directory from one process to the next.
pub(crate) const IDENTITY: &str = "store.id";

/// Bytes of chance in it.
const IDENTITY_BYTES: usize = 16;

/// What was opened.
pub(crate) struct Kept {
    pub(crate) log: OpenLog,
    /// How large the file is; 0 where there is none.
    pub(crate) bytes: u64,
    /// What the store knows this node by, where others may write it, too.
    pub(crate) node: Option<String>,
    /// Where the journal's own hold on the data directory is none: this is it.
    pub(crate) seat: Option<Claim>,
}

/// Opens what the configuration names. Blocks.
pub(crate) fn open(config: &Config, data_dir: &Path) -> Result<Kept, OpenError> {
    let path = data_dir.join(JOURNAL);
    let Some(store) = config.store()? else {
        let (journal, opened) = Journal::open(&path, &Options::default())?;
        let bytes = opened.bytes;
        let log: OpenLog = Box::new(move |visit| Ok(Arc::new(EmbeddedLog::new(journal, &opened, visit)?)));
        return Ok(Kept { log, bytes, node: None, seat: None });
    };
    if path.exists() {
        return Err(OpenError::TwoStores { path });
    }
    let seat = claim(&path)?.ok_or(sortie_journal::OpenError::InUse { path })?;
    let node = identity(data_dir).map_err(|source| OpenError::DataDir { path: data_dir.to_owned(), source })?;
    let claimed = Claimed::new(&Store { node: node.clone(), ..store })?;
    tracing::info!(commits = claimed.commits(), "the missions are in the database that `store` names");
    let log: OpenLog = Box::new(move |visit| Ok(Arc::new(PostgresLog::new(claimed, visit)?)));
    Ok(Kept { log, bytes: 0, node: Some(node), seat: Some(seat) })
}

/// What the store knows this data directory by. Whoever holds the directory is the only one that says it.
fn identity(data_dir: &Path) -> io::Result<String> {
    use rand::Rng as _;
    let path = data_dir.join(IDENTITY);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() == IDENTITY_BYTES * 2 => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0_u8; IDENTITY_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let fresh: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = tempfile::Builder::new().prefix(".store").tempfile_in(data_dir)?;
    writeln!(file, "{fresh}")?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(fresh)
}

impl Config {
    /// The database that `[node] store` names, with the password from where the configuration says; nothing, where it names none.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a password that is not there.
    pub(crate) fn store(&self) -> Result<Option<Store>, ConfigError> {
        use sortie_contract::envelope::SecretRef;
        let Some(url) = &self.node.store else { return Ok(None) };
        let wrong = |why: String| ConfigError::Value { key: "node.store_password".to_owned(), why };
        let password = match &self.node.store_password {
            None => None,
            Some(reference) => {
                Some(match reference.parse::<SecretRef>().map_err(|error| wrong(error.to_string()))? {
                    SecretRef::Env(name) => std::env::var(&name).map_err(|_| wrong(format!("`{name}` is not set")))?,
                    SecretRef::File(path) => {
                        sortie_callback::read_small(&path).map_err(|error| wrong(format!("{path}: {error}")))?
                    }
                })
            }
        };
        let password = password.map(|password| password.trim_end_matches(['\r', '\n']).to_owned());
        Ok(Some(Store { password, lease: self.node.lease, ..Store::at(url, "", &self.node.instance_id) }))
    }

    /// What says that a command is about a file, where the missions are in a database.
    pub(crate) fn refuse_with_store(&self, what: &str, instead: &str) -> Result<(), String> {
        match &self.node.store {
            None => Ok(()),
            Some(_) => {
                Err(format!("{what}, and the missions are in the database that `[node] store` names: {instead}"))
            }
        }
    }
}

/// Whether that says that the configuration names no store that can be.
pub(crate) fn is_of_the_configuration(error: &StoreError) -> bool {
    matches!(error, StoreError::Url { .. } | StoreError::Roots { .. })
}

/// The file that a store in a database leaves no room for.
pub(crate) fn two_stores(path: &Path) -> String {
    format!(
        "{} holds missions, and `[node] store` names a database that holds others; move the file away (with `{}.mark`) to work with the \
         database, or take `store` out to work with the file",
        path.display(),
        path.display()
    )
}
