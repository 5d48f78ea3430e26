//! The workspace of a recorded mission: which of its calls left which files, as far as a record and the artifacts say what was in them.

use std::collections::BTreeMap;

use serde_json::Value;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::record::ArtifactSource;
use sortie_contract::tool::Written;

use super::super::case::Case;

/// What stands where nobody knows any more what was there.
const UNKNOWN: &str = "What was here is not on record.\n";

/// The longest text that a case says of a file, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Which files there were.
pub(super) struct Workspace<'a> {
    texts: &'a BTreeMap<Digest, String>,
    /// What is in each as it was left last, where that is known.
    there: BTreeMap<String, Option<String>>,
    /// Files that lay there before, of which artifacts were made.
    before: BTreeMap<String, String>,
}

impl<'a> Workspace<'a> {
    pub(super) fn new(texts: &'a BTreeMap<Digest, String>) -> Self {
        Self { texts, there: BTreeMap::new(), before: BTreeMap::new() }
    }

    /// What a call left: texts by path.
    pub(super) fn wrote(&mut self, tool: &str, arguments: &Value, wrote: &[Written]) -> BTreeMap<String, String> {
        let mut writes = BTreeMap::new();
        for written in wrote {
            let before = self.there.get(&written.path).cloned().flatten();
            let text = match tool {
                "Write" => arguments["content"].as_str().map(str::to_owned),
                "Edit" => before.and_then(|before| edited(&before, arguments)),
                _ => None,
            };
            // What its digest denies was not in it.
            let is_it = |text: &String| written.sha256.is_none_or(|sha256| Digest::of(text.as_bytes()) == sha256);
            let known = || self.texts.get(&written.sha256?).cloned();
            let text = text.filter(is_it).or_else(known).filter(|text| text.len() <= TEXT_BYTES_MAX);
            writes.insert(written.path.clone(), text.clone().unwrap_or_else(|| UNKNOWN.to_owned()));
            self.there.insert(written.path.clone(), text);
        }
        writes
    }

    /// An artifact was made of a file.
    pub(super) fn stored(&mut self, artifact: &Artifact, source: &ArtifactSource) {
        let ArtifactSource::File { path } = source else { return };
        let path = path.trim_start_matches("./").to_owned();
        if !self.there.contains_key(&path) {
            let text = self.texts.get(&artifact.sha256).filter(|text| text.len() <= TEXT_BYTES_MAX);
            self.before.insert(path, text.cloned().unwrap_or_else(|| UNKNOWN.to_owned()));
        }
    }

    /// Puts what lay there before where the case has it.
    pub(super) fn lay_out(&mut self, case: &mut Case) {
        case.files.append(&mut self.before);
    }
}

/// A text as `Edit` leaves it.
fn edited(before: &str, arguments: &Value) -> Option<String> {
    let (old, new) = (arguments["old"].as_str()?, arguments["new"].as_str()?);
    let all = arguments["all"] == true;
    Some(if all { before.replace(old, new) } else { before.replacen(old, new, 1) })
}
