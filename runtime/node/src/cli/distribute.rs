//! `sortie plugin install` and `push`: plugins from files, addresses and registries, and into registries.
//!
//! What comes from elsewhere the node fetches, which knows from where it may; what is pushed the command itself brings there, for it is its
//! user who has the credentials.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_origin::{Credentials, Kept, Place, Pushed, Reference, SIGNATURE_BYTES_MAX, digest_of, of_docker, push};
use sortie_sandbox::component_of;

use super::client::Client;
use super::input::component;
use super::text::{self, Progress};
use super::{Exit, Failure};
use crate::config::Config;

/// What is installed.
#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// A `.wasm` file; or a place that the node fetches it from: `https://HOST/FILE.wasm` (with `#sha256=DIGEST` behind it, if you like) or
    /// `oci://HOST/REPOSITORY:TAG`.
    #[arg(value_name = "FILE|URL|oci://…")]
    from: PathBuf,
    /// The file with its signature [default: FILE.minisig, where there is one].
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The SHA-256 of the plugin that is meant (`sha256:…`): another one is not installed.
    #[arg(long)]
    digest: Option<String>,
}

/// What is pushed, and where to.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The `.wasm` file.
    file: PathBuf,
    /// `oci://HOST/REPOSITORY:TAG`. Credentials: `[plugin_source.registry."HOST"]` of the configuration, else docker's.
    #[arg(value_name = "oci://…")]
    to: String,
    /// The file with its signature [default: FILE.minisig, where there is one].
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// Has a plugin installed: what the node says of it.
pub(super) async fn install(args: &InstallArgs, client: &Client) -> Result<Value, Failure> {
    let patient = client.patient();
    let shown = text::plain(&args.from.display().to_string());
    if let Some(place) = args.from.to_str().filter(|from| is_place(from)) {
        // Here, so that a slip of the pen is one of the command's and no node's.
        Place::parse(place).map_err(Failure::unusable)?;
        let signature = args.signature.as_deref().map(read_signature).transpose()?;
        let asked = json!({ "from": place, "digest": args.digest, "signature": signature });
        let request = client.request(Method::POST, &["v1", "plugin-fetch"]);
        let request = request.header("content-type", "application/json").body(asked.to_string());
        return Progress::during(format!("the node fetches {shown}"), patient.json(request, "digest")).await;
    }
    let bytes = component(&args.from)?;
    if let Some(wanted) = &args.digest {
        let (wanted, found) = (digest_of(wanted).map_err(Failure::unusable)?, Digest::of(&bytes));
        if wanted != found {
            return Err(Failure::unusable(format!("{shown}: its SHA-256 is {found}, and {wanted} was meant")));
        }
    }
    let mut request = client.request(Method::POST, &["v1", "plugins"]).header("content-type", "application/wasm");
    if let Some(signature) = signature_beside(&args.from, args.signature.as_deref())? {
        request = request.header("plugin-signature", BASE64_STANDARD.encode(signature));
    }
    Progress::during(format!("the node compiles {shown}"), patient.json(request.body(bytes), "digest")).await
}

/// Brings a plugin to a registry.
pub(super) async fn push_plugin(args: &PushArgs, config: &Config, as_json: bool) -> Result<Exit, Failure> {
    let place = match Place::parse(&args.to).map_err(Failure::unusable)? {
        Place::Registry(place) => place,
        Place::Web(..) => {
            return Err(Failure::unusable("plugins are pushed to registries: `oci://HOST/REPOSITORY:TAG`"));
        }
    };
    let bytes = component(&args.file)?;
    let whole = component_of(bytes.clone()).map_err(Failure::unusable)?;
    let signature = signature_beside(&args.file, args.signature.as_deref())?;
    if signature.is_some() && whole != bytes {
        let file = args.file.display();
        let why = "it is a core module, and what is pushed is the component that is made of it: sign what `sortie plugin build` writes";
        return Err(Failure::unusable(format!("{file}: {why}")));
    }
    let credentials = credentials(&place, config).await?;
    let scheme = config.plugin_source.scheme_of(place.host());
    let what = format!("{} is pushed to {place}", text::plain(&args.file.display().to_string()));
    let pushing = async {
        push(whole, signature.as_deref(), &place, scheme, credentials)
            .await
            .map_err(|error| Failure { exit: Exit::Undone, error: error.into() })
    };
    let Pushed { place, manifest, component } = Progress::during(what, pushing).await?;
    if as_json {
        text::json(&json!({
            "place": place, "manifest": manifest, "digest": component, "signed": signature.is_some(),
        }))?;
    } else {
        writeln!(std::io::stdout(), "{}", text::plain(&place))?;
    }
    Ok(Exit::Completed)
}

/// Whether a word names a place that is fetched from, and no file.
fn is_place(word: &str) -> bool {
    ["https://", "http://", "oci://"].iter().any(|scheme| word.starts_with(scheme))
}

/// The signature of a file: the one that is named, else the one that lies beside it.
fn signature_beside(file: &Path, named: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(named) = named {
        return read_signature(named).map(Some);
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(".minisig");
    let beside = Path::new(&beside);
    if beside.exists() { read_signature(beside).map(Some) } else { Ok(None) }
}

fn read_signature(file: &Path) -> Result<String, Failure> {
    let unusable = |why: String| Failure::unusable(format!("{}: {why}", file.display()));
    let text = sortie_callback::read_small(&file.to_string_lossy()).map_err(|error| unusable(error.to_string()))?;
    if text.len() > SIGNATURE_BYTES_MAX {
        return Err(unusable(format!("it is longer than {SIGNATURE_BYTES_MAX} bytes, and no signature of minisign")));
    }
    Ok(text)
}

/// What opens a registry: what the configuration says, else what docker keeps.
async fn credentials(place: &Reference, config: &Config) -> Result<Option<Credentials>, Failure> {
    let known = config.plugin_source.registries().map_err(Failure::unusable)?;
    if let Some(reference) = known.get(place.host()) {
        return Credentials::at(reference, place.host()).await.map(Some).map_err(Failure::unusable);
    }
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(".docker"))
    });
    let Some(folder) = folder else { return Ok(None) };
    match of_docker(&folder, place.host()).map_err(Failure::unusable)? {
        Kept::Nothing => Ok(None),
        Kept::Here(found) => Ok(Some(found)),
        Kept::With(helper) => helper.ask().await.map_err(Failure::unusable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_is_named_or_lies_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, other) = (folder.path().join("a.wasm"), folder.path().join("other"));
        let found = |named: Option<&Path>| signature_beside(&file, named).map_err(|failure| failure.error.to_string());
        assert_eq!(found(None), Ok(None));
        assert!(found(Some(&other)).is_err());
        std::fs::write(&other, "named").expect("written");
        std::fs::write(folder.path().join("a.wasm.minisig"), "beside").expect("written");
        assert_eq!(found(None), Ok(Some("beside".to_owned())));
        assert_eq!(found(Some(&other)), Ok(Some("named".to_owned())));
        std::fs::write(&other, "x".repeat(SIGNATURE_BYTES_MAX + 1)).expect("written");
        assert!(found(Some(&other)).expect_err("too long").contains("no signature"));
        for (word, expected) in
            [("a.wasm", false), ("https.wasm", false), ("oci://a/b", true), ("https://a/b", true), ("oci:/a", false)]
        {
            assert_eq!(is_place(word), expected, "{word}");
        }
    }
}
