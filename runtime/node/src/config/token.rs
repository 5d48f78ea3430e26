//! `[[token]]`: further bearer tokens and what each may do. What it may do is held against each route (`http/auth.rs`), not here.

use serde::Deserialize;
use sortie_contract::envelope::SecretRef;

use super::ConfigError;


