//! Whether a project has to be built: a stamp beside its component says what that was made of.
//!
//! Builders of Python and JavaScript make other bytes of the same sources each time, and take ten seconds for it. What such a build depends
//! on is every file of the project that is not there for people, for cases or for missions ([`ASIDE`]), the builder itself, what the build
//! said that it read elsewhere, and this program. Where none of that is otherwise, the component that lies there is the one to use.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sortie_contract::digest::Digest;

/// What lies in a project and in no component: by its name at the top of the project.
const ASIDE: [&str; 12] = [
    ".git",
    ".gitignore",
    ".idea",
    ".venv",
    ".vscode",
    "README.md",
    "case.schema.json",
    "cases",
    "mission.json",
    "mission.schema.json",
    "node_modules",
    "target",
];

/// What running a program leaves behind, wherever that is.
const LEFTOVERS: [&str; 3] = ["__pycache__", ".cache", ".DS_Store"];

/// How the file of a stamp ends.
const STAMP: &str = "stamp";

/// What a component was made of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// All that it depends on.
    made_of: Digest,
    /// The component itself: somebody may have put another one there.
    component: Digest,
    /// Files elsewhere that were read for it.
    elsewhere: Vec<PathBuf>,
}

impl Stamp {
    /// The component of a project that need not be built: nothing that it was made of is otherwise. `builder` says which one would build it.
    pub(super) fn fresh(folder: &Path, component: &Path, builder: &str) -> Option<Vec<u8>> {
        let stamp: Self = serde_json::from_str(&crate::bounded::text(&beside(component)).ok()?).ok()?;
        let bytes = fs::read(component).ok()?;
        let is_as_it_was = Digest::of(&bytes) == stamp.component
            && made_of(folder, builder, &stamp.elsewhere).is_ok_and(|now| now == stamp.made_of);
        is_as_it_was.then_some(bytes)
    }

    /// Says of a component what it was made of. What was looked at `before` it was built has not changed meanwhile.
    pub(super) fn write(
        folder: &Path,
        (file, component): (&Path, &[u8]),
        builder: &str,
        before: Digest,
        elsewhere: Vec<PathBuf>,
    ) -> io::Result<()> {
        if made_of(folder, builder, &[])? != before {
            return Ok(());
        }
        let made_of = made_of(folder, builder, &elsewhere)?;
        let stamp = Self { made_of, component: Digest::of(component), elsewhere };
        fs::write(beside(file), serde_json::to_string(&stamp)?)
    }
}

/// Where the stamp of a component lies.
fn beside(component: &Path) -> PathBuf {
    let name = component.file_name().unwrap_or_default().to_string_lossy();
    component.with_file_name(format!(".{name}.{STAMP}"))
}

/// All that a component of the project depends on: each file of it, what was read elsewhere, the builder, and this program.
pub(super) fn made_of(folder: &Path, builder: &str, elsewhere: &[PathBuf]) -> io::Result<Digest> {
    let mut listed = format!("sortie {}\n{builder}\n", env!("CARGO_PKG_VERSION"));
    for entry in sorted(folder)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_made = [".wasm", &format!(".{STAMP}")].iter().any(|end| name.ends_with(end));
        if !is_made && !ASIDE.contains(&name.as_str()) {
            within(folder, &entry, &mut listed, contents)?;
        }
    }
    for file in elsewhere {
        // One that is gone is a change.
        let what = contents(file).unwrap_or_else(|error| error.kind().to_string());
        let _ = writeln!(listed, "{file:?} {what}");
    }
    Ok(Digest::of(listed.as_bytes()))
}

/// The files of a builder, each with how long it is and when it was written: they are many, and nobody edits them.
pub(super) fn installed(folder: &Path) -> String {
    let mut listed = String::new();
    let all = folder
        .canonicalize()
        .and_then(|whole| sorted(&whole)?.iter().try_for_each(|entry| within(&whole, entry, &mut listed, written)));
    all.map_or_else(|error| error.to_string(), |()| Digest::of(listed.as_bytes()).to_string())
}

/// How long a file is, and when it was written.
pub(super) fn written(file: &Path) -> io::Result<String> {
    let about = file.metadata()?;
    Ok(format!("{} {:?}", about.len(), about.modified()?))
}

/// What is in a file.
fn contents(file: &Path) -> io::Result<String> {
    // What is no file (a pipe) is not waited for.
    if !file.metadata()?.is_file() {
        return Ok("no file".to_owned());
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::open(file)?, &mut bytes)?;
    Ok(Digest::of(&bytes).to_string())
}

/// Lists a file, or those of a folder. Links to folders are not followed, as builders of Python do not, and where they lead is noted.
fn within(
    root: &Path,
    path: &Path,
    listed: &mut String,
    what: impl Fn(&Path) -> io::Result<String> + Copy,
) -> io::Result<()> {
    if path.file_name().is_some_and(|name| LEFTOVERS.iter().any(|left| name == *left)) {
        return Ok(());
    }
    let shown = path.strip_prefix(root).unwrap_or(path);
    let link = fs::read_link(path).ok();
    if path.is_dir() && link.is_none() {
        return sorted(path)?.iter().try_for_each(|entry| within(root, entry, listed, what));
    }
    let what = if path.is_dir() { "a folder".to_owned() } else { what(path).unwrap_or_else(|error| error.to_string()) };
    let _ = writeln!(listed, "{shown:?} {link:?} {what}");
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILDER: &str = "builder 1";

    fn project() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a folder");
        for file in ["plugin.py", "pyproject.toml", "inputs.schema.json", "vendor/a/b.py", "wit/mission.wit"] {
            put(place.path(), file, "as it was");
        }
        put(place.path(), "a.wasm", "a component");
        place
    }

    fn put(folder: &Path, file: &str, text: &str) {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().expect("it lies in the project")).expect("writable");
        fs::write(file, text).expect("writable");
    }

    fn stamp(folder: &Path, elsewhere: &[PathBuf]) {
        let before = made_of(folder, BUILDER, &[]).expect("a project");
        let component = folder.join("a.wasm");
        Stamp::write(folder, (&component, b"a component"), BUILDER, before, elsewhere.to_vec()).expect("writable");
    }

    #[test]
    fn what_goes_into_a_component_makes_it_be_built_and_nothing_else_does() {
        for (file, builds) in [
            ("plugin.py", true),
            ("new.py", true),
            ("pyproject.toml", true),
            ("package-lock.json", true),
            ("inputs.schema.json", true),
            ("vendor/a/b.py", true),
            ("vendor/a/c.py", true),
            ("wit/mission.wit", true),
            ("data/README.md", true),
            (".cargo/config.toml", true),
            // Somebody put another one there.
            ("a.wasm", true),
            ("README.md", false),
            ("cases/new.toml", false),
            ("mission.json", false),
            ("case.schema.json", false),
            (".git/HEAD", false),
            ("__pycache__/plugin.pyc", false),
            ("vendor/a/__pycache__/b.pyc", false),
            ("other.wasm", false),
        ] {
            let place = project();
            stamp(place.path(), &[]);
            let fresh = || Stamp::fresh(place.path(), &place.path().join("a.wasm"), BUILDER);
            assert_eq!(fresh().as_deref(), Some(&b"a component"[..]), "nothing changed");
            put(place.path(), file, "otherwise");
            assert_eq!(fresh().is_none(), builds, "{file}");
        }
    }

    #[test]
    fn a_file_that_is_gone_another_builder_and_what_lies_elsewhere_count_too() {
        let place = project();
        let shared = tempfile::tempdir().expect("a folder");
        let elsewhere = shared.path().join("shared.js");
        put(shared.path(), "shared.js", "as it was");
        let component = place.path().join("a.wasm");
        let is_fresh = |builder: &str| Stamp::fresh(place.path(), &component, builder).is_some();
        assert!(!is_fresh(BUILDER), "nobody has built it");
        stamp(place.path(), std::slice::from_ref(&elsewhere));
        assert!(is_fresh(BUILDER) && !is_fresh("builder 2"));
        put(shared.path(), "shared.js", "otherwise");
        assert!(!is_fresh(BUILDER), "it was read for it");
        put(shared.path(), "shared.js", "as it was");
        assert!(is_fresh(BUILDER), "as it was");
        fs::remove_file(&elsewhere).expect("it is there");
        assert!(!is_fresh(BUILDER), "it is gone");
        stamp(place.path(), &[]);
        fs::remove_file(place.path().join("vendor/a/b.py")).expect("it is there");
        assert!(!is_fresh(BUILDER), "one of its own is gone");
    }

    #[test]
    fn what_changes_while_it_is_built_is_no_part_of_what_it_was_made_of() {
        let place = project();
        let before = made_of(place.path(), BUILDER, &[]).expect("a project");
        put(place.path(), "plugin.py", "edited meanwhile");
        let component = place.path().join("a.wasm");
        Stamp::write(place.path(), (&component, b"a component"), BUILDER, before, Vec::new()).expect("writable");
        assert!(Stamp::fresh(place.path(), &component, BUILDER).is_none());
    }

    #[test]
    fn a_builder_is_told_by_its_files() {
        let place = tempfile::tempdir().expect("a folder");
        put(place.path(), "node_modules/builder/package.json", "1.0.0");
        let modules = place.path().join("node_modules");
        let first = installed(&modules);
        put(place.path(), "node_modules/.cache/a", "left behind");
        assert_eq!(installed(&modules), first);
        put(place.path(), "node_modules/builder/package.json", "1.0.10");
        assert_ne!(installed(&modules), first);
        assert_ne!(installed(&place.path().join("none")), first);
    }
}
