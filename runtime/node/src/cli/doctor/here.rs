//! What `sortie doctor` finds in a configuration and its data directory: whatever `sortie serve` would refuse or change.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sortie_contract::Timestamp;
use sortie_contract::envelope::{MissionType, SecretRef};
use sortie_contract::is_nearly;
use sortie_contract::plugin::PluginRef;
use sortie_journal::{Examined, Options, examine};
use sortie_mcp::McpServer;
use sortie_models::{Configured, Health, Models as _};
use sortie_objects::{Fault, Objects};
use sortie_tools::{BuiltIn, ConfigError, Provider as _};

use super::{Finding, taken_by, with_causes};
use crate::builtin;
use crate::cli::text;
use crate::config::{Config, TOKEN_CHARS_MIN, is_weak};
use crate::dialects::Dialects;
use crate::http::auth::ADMIN;
use crate::node::{OpenError, system};
use crate::private::PRIVATE;

/// Looks. `runs` says that a node works on this data directory at the moment.
pub(super) async fn look(config: &Config, data_dir: &Path, runs: bool) -> Vec<Finding> {
    let mut findings = vec![
        Finding::new("configuration", configuration(config)),
        tokens(config, runs),
        secrets(config, runs).await,
        named_secrets(config, runs).await,
        Finding::new("data directory", writable(data_dir)),
        Finding::new("modes", modes(data_dir)),
        Finding::new("journal", kept(config, data_dir, runs).await),
        Finding::new("disk", space(config, data_dir)),
        Finding::new("clock", clock(system().wall())),
    ];
    findings.extend(bash(config, data_dir).await);
    findings.extend(collector(config, data_dir, runs).await);
    findings.extend(shared_store(config).await);
    findings.extend(bridge(config, runs).await);
    findings.extend(weak_tokens(config, data_dir));
    findings.extend(nearly_types(config));
    if !runs {
        findings.push(Finding::new("address", listenable(&config.node.listen).await));
        findings.push(Finding::new("plugins", plugins_to_be(config, data_dir)));
        findings.extend(tool_servers(config).await);
        findings.extend(models(config).await);
    }
    findings
}

/// Whether `sortie serve` would take the configuration: what it does with it before it opens the journal.
fn configuration(config: &Config) -> Result<String, String> {
    let tools = BuiltIn::with_secrets(config.tool.clone(), &config.secret).map_err(|error| with_causes(&error));
    let rules = tools.and_then(|_| crate::node::rules(config).map_err(|error| with_causes(&error)));
    let checked = [
        rules.map(drop),
        config.plugins().map(drop).map_err(|error| with_causes(&error)),
        config.retention().map(drop).map_err(|error| with_causes(&error)),
        config.request_expiry().map(drop).map_err(|error| with_causes(&error)),
        config.callback.examine().map_err(|error| with_causes(&error)),
        Configured::new(&config.model, config.folder(), system()).map(drop).map_err(|error| with_causes(&error)),
    ];
    let wrong: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok("it can be used".to_owned()) } else { Err(wrong.join("; ")) }
}

/// What confines commands here, where they are enabled: it is tried.
async fn bash(config: &Config, data_dir: &Path) -> Option<Finding> {
    let shell = crate::node::shell(data_dir);
    match BuiltIn::with_shell(config.tool.clone(), &config.secret, shell).await {
        Ok((_, None)) => None,
        Ok((_, Some(confinement))) if confinement.is_whole() => Some(Finding::new("Bash", Ok(confinement.to_string()))),
        Ok((_, Some(confinement))) => Some(Finding::note("Bash", confinement.to_string())),
        // Of the other tools it is told with the configuration.
        Err(ConfigError::Value { name, .. }) if name != "Bash" => None,
        Err(error @ ConfigError::Value { .. }) => Some(Finding::new("Bash", Err(with_causes(&error)))),
        Err(_) => None,
    }
}

/// How long a tool server may take to begin and to say what it has: as long as a node gives it.
const SERVER_LIMIT: Duration = Duration::from_secs(40);

/// Each tool server, tried: started or asked, listed, and let go of. Side by side, for each takes its time.
async fn tool_servers(config: &Config) -> Vec<Finding> {
    let Ok(servers) = config.mcp_servers() else { return Vec::new() };
    let tried = servers.iter().map(|server| async move {
        let name = server.name().to_owned();
        let tried = tokio::time::timeout(SERVER_LIMIT, try_server(server)).await;
        server.close().await;
        let says = tried.unwrap_or_else(|_| Err(format!("no answer within {} s", SERVER_LIMIT.as_secs())));
        Finding::new("tool server", says.map(|says| format!("{name}: {says}")).map_err(|why| format!("{name}: {why}")))
    });
    futures_util::future::join_all(tried).await
}

async fn try_server(server: &McpServer) -> Result<String, String> {
    server.connect().await.map_err(|error| error.to_string())?;
    let tools = server.tools().await.map_err(|error| error.to_string())?;
    server.health().await.map_err(|error| error.to_string())?;
    let seen = server.seen();
    let latency = seen.latency.unwrap_or_default().as_millis();
    let (called, protocol) = (seen.called.unwrap_or_default(), seen.protocol.unwrap_or_default());
    Ok(format!(
        "{called} speaks MCP {protocol} over {}; {} tools; answers in {latency} ms",
        server.transport(),
        tools.len()
    ))
}

/// Each model, asked something that costs nothing.
async fn models(config: &Config) -> Vec<Finding> {
    // What is wrong with the configuration is told with it.
    let Ok(models) = Configured::new(&config.model, config.folder(), system()) else { return Vec::new() };
    let checked = models.list().into_iter().map(|info| {
        let models = &models;
        async move {
            let name = info.name;
            match models.check(&name).await? {
                Health::Well => Some(Finding::new("model", Ok(format!("{name} answers")))),
                Health::Doubtful(why) => Some(Finding::note("model", format!("{name}: {why}"))),
                Health::Ill(why) => Some(Finding::new("model", Err(format!("{name}: {why}")))),
            }
        }
    });
    futures_util::future::join_all(checked).await.into_iter().flatten().collect()
}

/// Whether the collector of traces takes spans, where there is one: it is told none.
async fn collector(config: &Config, data_dir: &Path, runs: bool) -> Option<Finding> {
    const WHAT: &str = "traces";
    let exporter = match crate::traces::exporter(config, data_dir, &system()) {
        Ok(exporter) => exporter?,
        Err(error) => return Some(Finding::new(WHAT, Err(with_causes(&error)))),
    };
    let address = exporter.address();
    Some(match exporter.reach().await {
        Ok(()) => Finding::new(WHAT, Ok(format!("the collector at {address} takes spans"))),
        Err(why) => {
            let then = if runs {
                "missions go on, and it is told of them"
            } else {
                "missions will run, and it is told of them"
            };
            let says = format!(
                "the collector at {address} cannot be reached from here, or takes nothing: {why}; {then} once it does"
            );
            Finding::new(WHAT, Err(says))
        }
    })
}

/// The store that nodes share, tried: something small is written, read and removed.
async fn shared_store(config: &Config) -> Option<Finding> {
    const WHAT: &str = "shared store";
    // What is wrong with the configuration is told with it.
    let objects = Objects::open(&config.artifact).ok()??;
    let place = text::plain(objects.place());
    let me = format!("doctor-{}", std::process::id());
    let mut tried = objects.probe(&me).await;
    if tried.is_ok() && config.workspace.portable {
        tried = objects.gives_once(&me).await;
    }
    Some(match tried {
        Err(error @ Fault::Odd(_)) => {
            let says = format!(
                "{place} is not fit for `[workspace] portable`: {error}; two nodes could both have a workspace. Use another store"
            );
            Finding::new(WHAT, Err(says))
        }
        Ok(()) => Finding::new(WHAT, Ok(format!("{place} can be written and read from here"))),
        Err(error) => {
            let why = with_causes(&error);
            Finding::new(
                WHAT,
                Err(format!("{place} cannot be used from here: {why}; missions that need it wait for it")),
            )
        }
    })
}

/// Whether the Redis of the bridge answers; a node that runs says so itself.
async fn bridge(config: &Config, runs: bool) -> Option<Finding> {
    if runs {
        return None;
    }
    // What is wrong with the configuration is told with it.
    let bridge = Dialects::new(config, &system()).ok()?.bridge?;
    Some(Finding::new(
        "dialect",
        match bridge.reach().await {
            Ok(()) => Ok(format!("redis {}: it answers", bridge.stream())),
            Err(why) => Err(format!("redis {}: it cannot be reached from here: {why}", bridge.stream())),
        },
    ))
}

/// What is said of a reference that cannot be read from here: `from` is where it would come from.
enum Missing {
    /// An environment variable: that of a node is another than this shell's.
    Environment(String),
    /// Anything else.
    Other(String),
}

/// Of references that are missing: a variable that this shell has not is no alarm while the node is well, and is told as what it is.
fn told(what: &'static str, well: &str, missing: Vec<Missing>, runs: bool, consequence: &str) -> Finding {
    let (mut from_here, mut wrong) = (Vec::new(), Vec::new());
    for missing in missing {
        match missing {
            Missing::Environment(says) => from_here.push(says),
            Missing::Other(says) => wrong.push(says),
        }
    }
    let shell =
        |says: &[String], then: &str| format!("{}: not in the environment of this shell; {then}", says.join(", "));
    match (from_here.is_empty(), wrong.is_empty(), runs) {
        (true, true, _) => Finding::new(what, Ok(well.to_owned())),
        (false, true, true) => Finding::note(
            what,
            shell(&from_here, "the node that runs has one of its own, and its log says if it misses any"),
        ),
        _ => {
            if !from_here.is_empty() {
                wrong.push(shell(&from_here, "what a unit sets (`EnvironmentFile`) is not seen from here"));
            }
            Finding::new(what, Err(format!("{}; {consequence}", wrong.join("; "))))
        }
    }
}

/// The tokens of `[[token]]`, without which a node does not start.
fn tokens(config: &Config, runs: bool) -> Finding {
    let missing = config.token.iter().filter_map(|token| {
        let error = token.read().err()?;
        Some(match token.r#ref.parse() {
            Ok(SecretRef::Env(name)) if std::env::var_os(&name).is_none() => Missing::Environment(name),
            _ => Missing::Other(with_causes(&error)),
        })
    });
    told("tokens", "all of [[token]] can be read", missing.collect(), runs, "a node does not start without them")
}

/// Those of them that can be guessed, where there are any.
fn weak_tokens(config: &Config, data_dir: &Path) -> Option<Finding> {
    let own = std::fs::read_to_string(data_dir.join("token")).ok().filter(|token| !token.trim().is_empty());
    let further = config.token.iter().filter_map(|token| Some((token.name.clone(), token.read().ok()?)));
    let all = own.map(|token| (ADMIN.to_owned(), token)).into_iter().chain(further);
    let weak: Vec<String> = all.filter(|(_, token)| is_weak(token)).map(|(name, _)| format!("`{name}`")).collect();
    let says = || {
        format!(
            "{} can be guessed: fewer than {TOKEN_CHARS_MIN} characters; take a longer one, such as of `openssl rand -hex 32`",
            weak.join(", ")
        )
    };
    (!weak.is_empty()).then(|| Finding::new("tokens", Err(says())))
}

/// Keys of `[plugin]` that are nearly a mission type: each is taken for the name of a VP, and may be a slip.
fn nearly_types(config: &Config) -> Option<Finding> {
    let types = MissionType::ALL.map(MissionType::as_str);
    let nearly = config.plugin.keys().filter(|key| !types.contains(&key.as_str())).filter_map(|key| {
        let meant = types.into_iter().find(|known| is_nearly(key, known))?;
        Some(format!("`{key}` is taken for the name of a VP; if the mission type is meant, it is `{meant}`"))
    });
    let nearly: Vec<String> = nearly.collect();
    (!nearly.is_empty()).then(|| Finding::note("[plugin]", nearly.join("; ")))
}

async fn secrets(config: &Config, runs: bool) -> Finding {
    let Ok(missing) = config.callback.unavailable_secrets().await else {
        return Finding::note("secrets", "not looked at: [callback] is wrong");
    };
    let missing = missing.into_iter().map(|(reference, error)| match reference {
        SecretRef::Env(name) if std::env::var_os(&name).is_none() => Missing::Environment(name),
        _ => Missing::Other(with_causes(&error)),
    });
    // Of tools they are told apart: what waits for these is a delivery.
    told("secrets", "all of [callback] can be read", missing.collect(), runs, "deliveries that need them wait")
}

/// Those of `[secret.NAME]`, and the keys of tools.
async fn named_secrets(config: &Config, runs: bool) -> Finding {
    const WHAT: &str = "secrets of tools";
    let Ok(missing) = config.secret.unavailable(&config.tool).await else {
        return Finding::note(WHAT, "not looked at: [secret] is wrong");
    };
    let missing = missing.into_iter().map(|(place, reference, error)| match reference {
        SecretRef::Env(name) if std::env::var_os(&name).is_none() => Missing::Environment(format!("{name} ({place})")),
        _ => Missing::Other(format!("{place}: {}", with_causes(&error))),
    });
    told(WHAT, "all of [secret] and [tool] can be used", missing.collect(), runs, "calls that need them fail")
}

async fn listenable(listen: &str) -> Result<String, String> {
    match tokio::net::TcpListener::bind(listen).await {
        Ok(_) => Ok(format!("{listen} can be listened on")),
        Err(error) => Err(format!("cannot listen on {listen}: {error}")),
    }
}

/// The nearest folder above that is there: where `sortie serve` would make the others.
fn nearest(data_dir: &Path) -> Option<&Path> {
    let found = data_dir.ancestors().find(|folder| folder.exists())?;
    Some(if found.as_os_str().is_empty() { Path::new(".") } else { found })
}

fn writable(data_dir: &Path) -> Result<String, String> {
    let wrong =
        |folder: &Path, error| Err(format!("{} cannot be written: {error}; see its owner and mode", folder.display()));
    if data_dir.exists() {
        return match tempfile::tempfile_in(data_dir) {
            Ok(_) => Ok(format!("{} can be written", data_dir.display())),
            Err(error) => wrong(data_dir, error),
        };
    }
    let parent = nearest(data_dir).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(parent) {
        Ok(_) => Ok(format!("{} is not there yet; `sortie serve` makes it", data_dir.display())),
        Err(error) => wrong(parent, error),
    }
}

/// Whether others could read what is there. A start closes that where it may, and says so: what they could read they may have read.
fn modes(data_dir: &Path) -> Result<String, String> {
    let open = PRIVATE.iter().filter_map(|(name, mode)| {
        let path = data_dir.join(name);
        let found = std::fs::metadata(&path).ok()?.permissions().mode() & 0o777;
        (found & 0o077 != 0).then(|| format!("{} has mode {found:o} (wanted: {mode:o})", path.display()))
    });
    let open: Vec<String> = open.collect();
    if open.is_empty() {
        return Ok("nobody but their owner can read the data".to_owned());
    }
    Err(format!(
        "{}: others can read missions; the next start of the node closes it, or refuses where it may not",
        open.join(", ")
    ))
}

/// Whether what keeps the missions would be opened.
async fn kept(config: &Config, data_dir: &Path, runs: bool) -> Result<String, String> {
    let Some(store) = config.store().map_err(|error| error.to_string())? else {
        return journal(data_dir, runs).await;
    };
    let file = data_dir.join(crate::store::JOURNAL);
    if file.exists() {
        return Err(crate::store::two_stores(&file));
    }
    let looked = tokio::task::spawn_blocking(move || store.look()).await.map_err(|error| error.to_string())?;
    let version = looked.map_err(|error| with_causes(&error))?;
    Ok(format!("the database of the store answers, and has tables of version {version}"))
}

/// Whether the journal would be opened.
async fn journal(data_dir: &Path, runs: bool) -> Result<String, String> {
    if crate::backup::is_half_restored(data_dir) {
        return Err(OpenError::HalfRestored { path: data_dir.to_owned() }.to_string());
    }
    let path = data_dir.join("journal.redb");
    let looked = tokio::task::spawn_blocking(move || examine(&path, &Options::default())).await;
    match looked.map_err(|error| error.to_string())? {
        Err(sortie_journal::OpenError::InUse { .. }) if runs => Ok("it is in use by the node".to_owned()),
        Err(error) => Err(with_causes(&error)),
        Ok(Examined::Absent) => Ok("there is none yet; the first start makes it".to_owned()),
        Ok(Examined::Whole { bytes, marked: true }) => Ok(format!("it can be opened; it has {} MiB", bytes >> 20)),
        Ok(Examined::Whole { marked: false, .. }) => {
            Err("it can be opened, but `journal.redb.mark` is gone or damaged: whether \
            its newest commits are lost cannot be told; compare it with a backup. The next start makes the mark anew"
                .to_owned())
        }
    }
}

/// What is free, and what takes the rest of it here.
fn space(config: &Config, data_dir: &Path) -> Result<String, String> {
    let folder = nearest(data_dir).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let taken = crate::space::measure(data_dir, system().wall());
    let says = format!("{} MiB are free{}", free >> 20, taken_by(&taken.kinds()));
    let mib = |mib: u64| mib.saturating_mul(1 << 20);
    let (warn, reserve) = (mib(config.limits.disk_warn_mib), mib(config.limits.disk_reserve_mib));
    if free >= warn.max(reserve.saturating_mul(2)) {
        return Ok(says);
    }
    let then =
        if free < reserve { "a node takes no missions until there is more" } else { "a node stops taking missions" };
    Err(format!("{says}: make room, or shorten `[retention]`; {then}, where less than {} MiB are free", reserve >> 20))
}

/// A clock before the program was written is wrong, and every window with it.
fn clock(now: Timestamp) -> Result<String, String> {
    let earliest: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    if now > earliest {
        Ok(format!("it is {now}; zones as of {}", sortie_schedule::zone_data()))
    } else {
        Err(format!("it says {now}: set it, or windows mean nothing"))
    }
}

/// The plugins that a node would have.
fn plugins_to_be(config: &Config, data_dir: &Path) -> Result<String, String> {
    let carried = builtin::EMBEDDED.iter().map(|(name, _)| ((*name).to_owned(), None));
    // As the plugin store keeps them: `DIGEST.json` says what is installed.
    let installed = std::fs::read_dir(data_dir.join("plugins")).into_iter().flatten().flatten().filter_map(|entry| {
        let is_entry = entry.path().extension().is_some_and(|end| end == "json");
        let text = is_entry.then(|| std::fs::read(entry.path()).ok()).flatten()?;
        let identity = serde_json::from_slice::<Value>(&text).ok()?["identity"].take();
        Some((text::cell(&identity["name"]), Some(text::cell(&identity["version"]))))
    });
    named(config, &carried.chain(installed).collect())
}

/// Plugins by name and version; without one, any will do.
pub(super) type Plugins = BTreeSet<(String, Option<String>)>;

/// Whether there is every plugin that `[plugin]` names.
pub(super) fn named(config: &Config, there: &Plugins) -> Result<String, String> {
    if there.is_empty() {
        return Err("none are installed: `sortie plugin install FILE`".to_owned());
    }
    let is_there = |wanted: &PluginRef| {
        there.iter().any(|(name, version)| {
            *name == wanted.name && (wanted.version.is_none() || version.is_none() || *version == wanted.version)
        })
    };
    let missing = config.plugin.iter().filter(|(_, text)| text.parse().is_ok_and(|wanted| !is_there(&wanted)));
    let missing: Vec<String> = missing.map(|(key, text)| format!("`{text}` (plugin.{key})")).collect();
    if missing.is_empty() {
        let names: BTreeSet<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        Ok(names.into_iter().collect::<Vec<_>>().join(", "))
    } else {
        Err(format!("{} not installed: `sortie plugin install FILE`", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("TOML of this form")
    }

    #[test]
    fn a_key_that_is_nearly_a_mission_type_is_told() {
        let says = |text: &str| nearly_types(&config(text)).map(|finding| finding.says);
        assert_eq!(says("[plugin]\nautomation = \"a\"\nvp-night = \"b\""), None);
        assert!(says("[plugin]\nautmation = \"a\"").is_some_and(|says| says.contains("it is `automation`")));
    }

    #[tokio::test]
    async fn what_a_node_would_refuse_is_found() {
        for (text, expected) in [
            ("[tool.Nope]", "Nope"),
            ("[tool.WebFetch]\nhosts = [\"http://example.org/x\"]", "hosts"),
            ("[tool.WebSearch]\nprovider = \"brave\"\nkey = \"whsec_abc\"", "[tool.WebSearch]: key"),
            ("[secret.forge]\nref = \"whsec_abc\"\nhosts = [\"a.example\"]", "[secret.forge]: ref"),
            ("[secret.forge]\nref = \"env://A\"\nhosts = [\"*\"]", "[secret.forge]: hosts"),
            ("[callback]\nattempts = 0", "attempts"),
            ("[callback]\nsigning_secret = \"whsec_abc\"", "signing_secret"),
            ("[[callback.secret]]\nref = \"env://A\"\nhosts = []", "hosts"),
            ("[[lane]]\nid = \"a\"\nconcurrency = 0", "lane.concurrency"),
            ("[limits]\nmax_cost_usd = -1.0", "max_cost_usd"),
        ] {
            let says = configuration(&config(text)).expect_err(text);
            assert!(says.contains(expected) && !says.contains("whsec_abc"), "{text}: {says}");
        }
        assert_eq!(configuration(&Config::default()), Ok("it can be used".to_owned()));
    }

    #[tokio::test]
    async fn what_tools_need_and_have_not_is_told_without_its_value() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("forge");
        let text = format!("[secret.forge]\nref = \"file://{}\"\nhosts = [\"a.example\"]", path.display());
        for (value, expected) in
            [(None, "cannot be read"), (Some("hush-1"), "8 to 4096 bytes"), (Some("hush\nhush-hush"), "header")]
        {
            if let Some(value) = value {
                std::fs::write(&path, value).expect("written");
            }
            let Finding { level, says, .. } = named_secrets(&config(&text), true).await;
            assert_eq!(level, Level::Look, "{says}");
            assert!(says.contains("[secret.forge]") && says.contains(expected) && !says.contains("hush-"), "{says}");
        }
        std::fs::write(&path, "hush-hush\n").expect("written");
        assert_eq!(named_secrets(&config(&text), true).await.level, Level::Well);
        let key = "[tool.WebSearch]\nprovider = \"brave\"\nkey = \"env://SORTIE_NOT_SET\"";
        let Finding { level, says, .. } = named_secrets(&config(key), false).await;
        assert!(level == Level::Look && says.contains("SORTIE_NOT_SET ([tool.WebSearch] key)"), "{says}");
    }

    #[tokio::test]
    async fn a_shell_is_not_the_environment_of_a_node() {
        let token = "[[token]]\nname = \"hq\"\nref = \"env://SORTIE_NOT_SET\"\nscopes = []";
        let signing = "[callback]\nsigning_secret = \"env://SORTIE_NOT_SET\"";
        let secret = "[[callback.secret]]\nref = \"env://SORTIE_NOT_SET\"\nhosts = [\"a.example\"]";
        for runs in [false, true] {
            let found = [
                tokens(&config(token), runs),
                secrets(&config(signing), runs).await,
                secrets(&config(secret), runs).await,
            ];
            for Finding { level, says, .. } in found {
                assert!(says.contains("SORTIE_NOT_SET: not in the environment of this shell"), "{says}");
                // An alarm where the next start may go wrong; none while the node is well.
                assert_eq!(level, if runs { Level::Note } else { Level::Look }, "{says}");
            }
        }
        let file = "[[callback.secret]]\nref = \"file:///not/there\"\nhosts = [\"a.example\"]";
        assert_eq!(secrets(&config(file), true).await.level, Level::Look, "a file is the same for both");
        for runs in [false, true] {
            assert_eq!(secrets(&Config::default(), runs).await.level, Level::Well);
            assert_eq!(tokens(&Config::default(), runs).level, Level::Well);
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let further = dir.path().join("further");
        let text = format!("[[token]]\nname = \"hq\"\nref = \"file://{}\"\nscopes = []", further.display());
        for (own, hq, expected) in [
            ("0123456789abcdef", "0123456789abcdef", None),
            ("0123456789abcde\n", "0123456789abcdef", Some("`admin` can be guessed")),
            ("0123456789abcdef", "hush", Some("`hq` can be guessed")),
            ("a", "b", Some("`admin`, `hq` can be guessed")),
        ] {
            std::fs::write(dir.path().join("token"), own).expect("written");
            std::fs::write(&further, hq).expect("written");
            let found = weak_tokens(&config(&text), dir.path());
            assert_eq!(found.is_some(), expected.is_some(), "{own} {hq}");
            if let (Some(Finding { level, says, .. }), Some(expected)) = (found, expected) {
                assert!(level == Level::Look && says.starts_with(expected), "{says}");
            }
        }
    }

    #[tokio::test]
    async fn a_data_directory_is_looked_at_as_a_start_would() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let chmod = |name: &str, mode| {
            std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        std::fs::create_dir(&data).expect("a folder");
        chmod("", 0o700);
        assert!(modes(&data).is_ok() && journal(&data, false).await.is_ok_and(|says| says.contains("none yet")));
        let path = data.join("journal.redb");
        let (opened, _) = sortie_journal::Journal::open(&path, &Options::default()).expect("a journal");
        assert_eq!(journal(&data, true).await, Ok("it is in use by the node".to_owned()));
        let says = journal(&data, false).await.expect_err("somebody else has it");
        assert!(says.contains("in use by another process"), "{says}");
        drop(opened);
        assert!(journal(&data, false).await.is_ok_and(|says| says.contains("it can be opened")));
        std::fs::write(data.join("journal.redb.mark"), format!("sortie journal, commits: {:020}\n", 99))
            .expect("written");
        let says = journal(&data, false).await.expect_err("an older copy");
        assert!(says.contains("the newest are lost"), "{says}");
        let half = data.join("restore-in-progress");
        std::fs::write(&half, "").expect("written");
        let says = journal(&data, false).await.expect_err("half of two nodes");
        assert!(says.contains("was broken off") && says.contains("--replace"), "{says}");
        std::fs::remove_file(&half).expect("removed");
        for (name, mode) in [("", 0o755), ("journal.redb", 0o644)] {
            chmod(name, mode);
            let says = modes(&data).expect_err("open");
            assert!(says.contains(&format!("mode {mode:o}")) && says.contains("others can read"), "{says}");
        }
    }

    #[test]
    fn plugins_that_are_not_there_are_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let says = |text: &str| plugins_to_be(&config(text), dir.path());
        assert_eq!(
            says(""),
            Ok("automation, briefing, coding, docs-keeper, hello, research".to_owned()),
            "their own names, as a node lists them"
        );
        assert!(says("[plugin]\nautomation = \"automation\"").is_ok());
        let missing = says("[plugin]\nautomation = \"nope\"").expect_err("not there");
        assert!(missing.contains("`nope` (plugin.automation)"), "{missing}");
        std::fs::create_dir(dir.path().join("plugins")).expect("a folder");
        let entry = r#"{"identity": {"name": "nope", "version": "1.0.0"}}"#;
        std::fs::write(dir.path().join("plugins/0.json"), entry).expect("written");
        assert!(says("[plugin]\nautomation = \"nope@1.0.0\"").is_ok());
        assert!(says("[plugin]\nautomation = \"nope@2.0.0\"").is_err());
    }
}
