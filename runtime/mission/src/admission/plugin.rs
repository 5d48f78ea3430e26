//! Which plugin a mission runs on, and in which version.
//!
//! Owned here: what an envelope's type and `plugin` mean on a node with these plugins, and what is wrong with them. Never here: the
//! plugins themselves.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use semver::Version;
use sortie_contract::envelope::{Envelope, MissionType};
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::plugin::{PluginIdentity, PluginRef};

/// The plugin that will run it: the envelope's, else its VP's, else its type's, in the version that is meant of those that are
/// `installed` under its name.
pub(crate) fn choose(
    envelope: &Envelope,
    plugins_by: &BTreeMap<String, PluginRef>,
    installed: &dyn Fn(&str) -> Vec<PluginIdentity>,
) -> Result<PluginIdentity, Mistake> {
    let kind = envelope.mission_type.as_str();
    let missing = |detail: String| Mistake::new(Pointer::root().join("plugin"), code::PLUGIN_NOT_INSTALLED, detail);
    let wanted = wanted(envelope, plugins_by).ok_or_else(|| {
        missing(format!("no plugin runs {kind} missions on this node: name one in the field `plugin`"))
    })?;
    meant(wanted, installed(&wanted.name)).ok_or_else(|| {
        missing(format!(
            "the plugin `{wanted}` that {kind} missions run on is not installed on this node; `sortie plugin ls` lists those that are"
        ))
    })
}

/// What the configuration says of a mission type it says of no VP of that name.
fn wanted<'a>(envelope: &'a Envelope, plugins_by: &'a BTreeMap<String, PluginRef>) -> Option<&'a PluginRef> {
    let vp = envelope.vp_id.as_str();
    let of_vp = || plugins_by.get(vp).filter(|_| !MissionType::ALL.iter().any(|kind| kind.as_str() == vp));
    envelope.plugin.as_ref().or_else(of_vp).or_else(|| plugins_by.get(envelope.mission_type.as_str()))
}

/// The version that is named; without one, the newest that is no pre-release, else the newest.
fn meant(wanted: &PluginRef, installed: Vec<PluginIdentity>) -> Option<PluginIdentity> {
    let mut versions = installed.into_iter().filter_map(|plugin| Some((Version::parse(&plugin.version).ok()?, plugin)));
    let meant = match &wanted.version {
        Some(named) => {
            let named = Version::parse(named).ok()?;
            versions.find(|(version, _)| *version == named)
        }
        None => versions.max_by(|(a, _), (b, _)| (a.pre.is_empty(), a).cmp(&(b.pre.is_empty(), b))),
    };
    meant.map(|(_, plugin)| plugin)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;

    use sortie_contract::digest::Digest;

    use super::*;

    fn identity(name: &str, version: &str) -> PluginIdentity {
        PluginIdentity { name: name.to_string(), version: version.to_string(), digest: Digest::of(b"plugin") }
    }

    #[test]
    fn the_envelopes_plugin_comes_first_then_its_vps_then_its_types() {
        let plugins: BTreeMap<String, PluginRef> =
            [("automation", "automation"), ("coding", "coder"), ("vp.own", "own"), ("vp.gone", "gone")]
                .map(|(key, name)| (key.to_string(), name.parse().expect("a name")))
                .into();
        for (vp, kind, plugin, expected) in [
            ("vp.any", "automation", None, Ok("automation@1.0.0")),
            ("vp.own", "coding", None, Ok("own@1.0.0")),
            ("vp.own", "coding", Some("mine@2.1.0"), Ok("mine@2.1.0")),
            // A VP that is named like a type is no type.
            ("automation", "coding", None, Ok("coder@1.0.0")),
            ("coding", "automation", None, Ok("automation@1.0.0")),
            ("automation", "research", None, Err("no plugin runs research missions")),
            ("vp.gone", "coding", None, Err("`gone` that coding missions run on is not installed")),
            ("vp.any", "coding", Some("gone"), Err("`gone` that coding missions run on is not installed")),
            ("vp.any", "coding", Some("mine@3.0.0"), Err("`mine@3.0.0` that coding missions run on is not installed")),
        ] {
            let mut text = serde_json::json!({
                "mission_id": "m", "vp_id": vp, "source_instance_id": "s", "target_instance_id": "t", "mission_type": kind,
                "objective": "o", "idempotency_key": "k", "trace_id": "t", "created_at": "2026-11-22T00:00:00Z",
            });
            if let Some(plugin) = plugin {
                text["plugin"] = plugin.into();
            }
            let envelope = Envelope::parse(&text.to_string()).expect("valid").envelope;
            let installed = |name: &str| match name {
                "gone" => Vec::new(),
                "mine" => vec![identity(name, "2.1.0"), identity(name, "2.2.0")],
                _ => vec![identity(name, "1.0.0")],
            };
            match (choose(&envelope, &plugins, &installed), expected) {
                (Ok(chosen), Ok(expected)) => assert_eq!(chosen.to_string(), expected, "{vp} {kind} {plugin:?}"),
                (Err(mistake), Err(expected)) => {
                    assert_eq!((mistake.pointer.as_str(), mistake.code.as_str()), ("/plugin", "plugin_not_installed"));
                    assert!(mistake.detail.contains(expected), "{mistake:?}");
                }
                (chosen, expected) => panic!("{vp} {kind} {plugin:?}: {chosen:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn without_a_version_the_newest_release_is_meant() {
        for (wanted, installed, expected) in [
            ("a", &["1.9.0", "1.10.0", "2.0.0-rc.1"][..], Some("1.10.0")),
            ("a", &["2.0.0-rc.1", "1.10.0", "1.9.0"], Some("1.10.0")),
            ("a", &["0.1.0-alpha", "0.1.0-beta"], Some("0.1.0-beta")),
            ("a@1.9.0", &["1.9.0", "1.10.0"], Some("1.9.0")),
            ("a@2.0.0-rc.1", &["1.9.0", "2.0.0-rc.1"], Some("2.0.0-rc.1")),
            ("a@1.9.1", &["1.9.0", "1.10.0"], None),
            ("a@1.9.0+b", &["1.9.0"], None),
            ("a", &[], None),
        ] {
            let all = installed.iter().map(|version| identity("a", version)).collect();
            let meant = meant(&wanted.parse().expect("a name"), all).map(|plugin| plugin.version);
            assert_eq!(meant.as_deref(), expected, "{wanted} of {installed:?}");
        }
    }
}
