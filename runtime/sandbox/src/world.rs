//! The worlds that this node runs: one table, which the installer and the linker both read.
//!
//! A world is a version of `sortie:mission`. A row is only ever added: what was installed for an old world runs on it for ever,
//! because missions stay on the plugin that they started with. A new version is a row of [`WORLDS`], its bindings
//! (`bindings.rs`), its exports (a file in `world/`), and a file for each new interface in `capability/`.
//!
//! Beside its world a component may import what the sandbox plays of WASI, which `world/wasi.rs` lists; it says nothing of the world.
//!
//! Which world a component is of, its imports say: [`of`] is asked when it is installed and whenever it is loaded.

mod exports;
mod v0_1;
mod v0_2;
mod wasi;

use futures_util::future::BoxFuture;
use sortie_contract::Mistake;
use sortie_contract::plugin::{Brief, Need, Verdict};
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::capability::{artifacts, human, limits, missions, model, report, time, tools, types};
use crate::guest::Guest;

/// The name of the package in `wit/`.
const PACKAGE: &str = "sortie:mission";

/// One version of the world.
pub(crate) struct World {
    pub(crate) version: &'static str,
    /// What a component of it may import.
    interfaces: &'static [Interface],
    /// Finds what a component of it must export, and refuses by name what does not fit.
    exports: fn(InstancePre<Guest>) -> wasmtime::Result<Box<dyn Exports>>,
}

/// An interface of a world.
struct Interface {
    name: &'static str,
    add_to_linker: fn(&mut Linker<Guest>) -> wasmtime::Result<()>,
}

/// Every world that this node runs, the newest last.
pub(crate) static WORLDS: [World; 2] = [
    World {
        version: "0.1.0",
        interfaces: &[
            Interface { name: "types", add_to_linker: types::add_to_linker },
            Interface { name: "tools", add_to_linker: tools::add_to_linker },
            Interface { name: "report", add_to_linker: report::add_to_linker },
            Interface { name: "artifacts", add_to_linker: artifacts::add_to_linker },
            Interface { name: "time", add_to_linker: time::add_to_linker },
            Interface { name: "human", add_to_linker: human::add_to_linker },
        ],
        exports: v0_1::exports,
    },
    World {
        version: "0.2.0",
        interfaces: &[
            Interface { name: "types", add_to_linker: v0_2::imports::types },
            Interface { name: "tools", add_to_linker: v0_2::imports::tools },
            Interface { name: "report", add_to_linker: v0_2::imports::report },
            Interface { name: "artifacts", add_to_linker: v0_2::imports::artifacts },
            Interface { name: "time", add_to_linker: v0_2::imports::time },
            Interface { name: "human", add_to_linker: v0_2::imports::human },
            Interface { name: "model", add_to_linker: model::add_to_linker },
            Interface { name: "limits", add_to_linker: limits::add_to_linker },
            Interface { name: "missions", add_to_linker: missions::add_to_linker },
        ],
        exports: v0_2::exports,
    },
];

/// What a component says of itself in `describe`, before anything of it is believed.
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) inputs_schema: Option<String>,
    pub(crate) needs: Vec<Need>,
    pub(crate) particulars: Particulars,
}

/// What it says beside that, where its world has words for it.
#[derive(Debug, Default, wasmtime::component::ComponentType, wasmtime::component::Lift)]
#[component(record)]
pub(crate) struct Particulars {
    #[component(name = "optional-tools")]
    pub(crate) optional_tools: Vec<String>,
    #[component(name = "memory-bytes")]
    pub(crate) memory_bytes: Option<u64>,
    #[component(name = "runtime-ms")]
    pub(crate) runtime_ms: Option<u64>,
    pub(crate) examples: Vec<String>,
    #[component(name = "outputs-schema")]
    pub(crate) outputs_schema: Option<String>,
}

/// What a component of some world exports, ready to be called. A store is for one call.
pub(crate) trait Exports: Send + Sync {
    /// Who the plugin says that it is.
    fn describe<'a>(&'a self, store: &'a mut Store<Guest>) -> BoxFuture<'a, wasmtime::Result<Described>>;

    /// What it finds wrong with a brief.
    fn check<'a>(&'a self, store: &'a mut Store<Guest>, brief: Brief) -> BoxFuture<'a, wasmtime::Result<Vec<Mistake>>>;

    /// Does the mission, with a handle for each of the guest's grants.
    fn run<'a>(&'a self, store: &'a mut Store<Guest>, brief: Brief) -> BoxFuture<'a, wasmtime::Result<Verdict>>;
}

/// Why a component is of no world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoWorld {
    /// An import that no world has.
    Foreign(String),
    /// An import of a version that this node does not run.
    Version(String),
    /// Imports of two versions.
    Mixed(String),
}

/// The world of a component with these imports: the one that all of them are of, but for those of WASI. Without any it is the newest.
pub(crate) fn of<'a>(imports: impl IntoIterator<Item = &'a str>) -> Result<&'static World, NoWorld> {
    let mut found: Option<&'static World> = None;
    for import in imports {
        if wasi::is_played(import) {
            continue;
        }
        let foreign = || NoWorld::Foreign(import.to_owned());
        let (package, rest) = import.split_once('/').ok_or_else(foreign)?;
        let (interface, version) = rest.split_once('@').ok_or_else(foreign)?;
        if package != PACKAGE {
            return Err(foreign());
        }
        let world = WORLDS.iter().find(|world| world.version == version);
        let world = world.ok_or_else(|| NoWorld::Version(import.to_owned()))?;
        if !world.interfaces.iter().any(|known| known.name == interface) {
            return Err(foreign());
        }
        if found.is_some_and(|other| !std::ptr::eq(other, world)) {
            return Err(NoWorld::Mixed(import.to_owned()));
        }
        found = Some(world);
    }
    Ok(found.unwrap_or(&WORLDS[WORLDS.len() - 1]))
}

/// The versions that this node runs, for people.
pub(crate) fn versions() -> String {
    WORLDS.iter().map(|world| world.version).collect::<Vec<_>>().join(", ")
}

/// A linker for each world.
pub(crate) struct Linkers(Vec<(&'static World, Linker<Guest>)>);

impl Linkers {
    /// Those of all worlds.
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let linkers = WORLDS.iter().map(|world| {
            let mut linker = Linker::new(engine);
            let interfaces = world.interfaces.iter().chain(&wasi::WASI);
            interfaces.into_iter().try_for_each(|interface| (interface.add_to_linker)(&mut linker))?;
            Ok((world, linker))
        });
        linkers.collect::<wasmtime::Result<_>>().map(Self)
    }

    /// Links a compiled component to its world.
    pub(crate) fn link(&self, component: &wasmtime::component::Component) -> wasmtime::Result<Box<dyn Exports>> {
        let kind = component.component_type();
        let imports = kind.imports(component.engine()).map(|(name, _)| name);
        let world = of(imports.filter(|name| name.contains('/')))
            .map_err(|none| wasmtime::Error::msg(format!("it is of no world of this node: {none:?}")))?;
        let (_, linker) = self.0.iter().find(|(other, _)| std::ptr::eq(*other, world)).expect("each has one");
        (world.exports)(linker.instantiate_pre(component)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_of_the_world_that_has_all_its_imports() {
        let foreign = |import: &str| Err(NoWorld::Foreign(import.to_owned()));
        let version = |import: &str| Err(NoWorld::Version(import.to_owned()));
        for (imports, expected) in [
            (vec![], Ok("0.2.0")),
            (vec!["sortie:mission/tools@0.1.0"], Ok("0.1.0")),
            (vec!["sortie:mission/types@0.1.0", "sortie:mission/human@0.1.0"], Ok("0.1.0")),
            (vec!["sortie:mission/model@0.2.0", "sortie:mission/tools@0.2.0"], Ok("0.2.0")),
            (vec!["sortie:mission/model@0.1.0"], foreign("sortie:mission/model@0.1.0")),
            (
                vec!["sortie:mission/tools@0.1.0", "sortie:mission/model@0.2.0"],
                Err(NoWorld::Mixed("sortie:mission/model@0.2.0".to_owned())),
            ),
            (vec!["sortie:mission/tools@0.9.0"], version("sortie:mission/tools@0.9.0")),
            (vec!["sortie:mission/tools@0.1.00"], version("sortie:mission/tools@0.1.00")),
            (vec!["sortie:mission/sockets@0.1.0"], foreign("sortie:mission/sockets@0.1.0")),
            (vec!["sortie:mission/tools"], foreign("sortie:mission/tools")),
            (vec!["sortie:missions/tools@0.1.0"], foreign("sortie:missions/tools@0.1.0")),
            (vec!["sortie:mission/tools@0.1.0", "wasi:cli/environment@0.2.0"], Ok("0.1.0")),
            (vec!["wasi:cli/environment@0.2.9"], Ok("0.2.0")),
            (vec!["sortie:mission/tools@0.1.0", "wasi:cli/environment@0.3.0"], foreign("wasi:cli/environment@0.3.0")),
            (vec!["sortie:mission/tools@0.2.0", "wasi:http/types@0.2.0"], foreign("wasi:http/types@0.2.0")),
            (vec!["env"], foreign("env")),
        ] {
            assert_eq!(of(imports.iter().copied()).map(|world| world.version), expected, "{imports:?}");
        }
    }

    #[test]
    fn every_version_has_one_row_and_the_newest_is_last() {
        let versions: Vec<semver::Version> = WORLDS.iter().map(|world| world.version.parse().unwrap()).collect();
        assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
        assert_eq!(versions[0], semver::Version::new(0, 1, 0), "it stays for ever");
    }

    /// The table says what the WIT files say: no interface is missing, and none is made up.
    #[test]
    fn each_row_has_the_interfaces_of_its_wit() {
        let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        for (folder, row) in [wit.join("0.1.0"), wit].iter().zip(&WORLDS) {
            let mut resolve = wit_parser::Resolve::default();
            let (package, _) = resolve.push_dir(folder).unwrap();
            let version = resolve.packages[package].name.version.clone().unwrap().to_string();
            assert_eq!(row.version, version, "a row for the version of {}", folder.display());
            let world = &resolve.worlds[resolve.select_world(&[package], Some("plugin")).unwrap()];
            let mut imported: Vec<String> = world
                .imports
                .values()
                .filter_map(|item| match item {
                    wit_parser::WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
                    _ => None,
                })
                .collect();
            imported.sort();
            let mut known: Vec<&str> = row.interfaces.iter().map(|interface| interface.name).collect();
            known.sort_unstable();
            assert_eq!(known, imported);
        }
    }
}
