//! `sortie plugin new`: a project for a plugin, written from what the binary carries.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use sortie_contract::id::is_reserved;
use sortie_contract::plugin::PluginRef;

use super::super::text;
use super::super::{Exit, Failure};
use super::{LANGUAGES, Language};
use crate::kit;

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What stands in templates for the plugin's name, and nothing else does.
const NAME: &str = "{{name}}";

/// Which plugin is begun.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// Its name: a-z, 0-9 and `-`, at most 64 characters.
    #[arg(value_parser = plugin_name)]
    name: String,
    /// What it is written in.
    #[arg(long, default_value = "rust", value_parser = PossibleValuesParser::new(LANGUAGES.map(|language| language.name)))]
    lang: String,
    /// The folder of the project; without it one of the plugin's name, here. It must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The name of a plugin that also does as one of a package.
fn plugin_name(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(PluginRef { name, version: None }) if is_reserved(&name) => {
            Err(format!("no node installs a plugin `{name}`: it is a word of the paths of its API"))
        }
        Ok(PluginRef { name, version: None })
            if name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-') =>
        {
            Ok(name)
        }
        _ => Err("a plugin's name is made of a-z, 0-9 and `-`, and begins with a letter".to_owned()),
    }
}

pub(super) fn new(args: &NewArgs, as_json: bool) -> Result<Exit, Failure> {
    let language = LANGUAGES.iter().find(|language| language.name == args.lang).ok_or("no such language")?;
    if let Some(why) = (language.refuses)(&args.name) {
        let lang = language.name;
        return Err(Failure::unusable(format!("a plugin in {lang} cannot be called `{}`: {why}", args.name)));
    }
    let files = files(language, &args.name)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    is_free(&folder).map_err(Failure::unusable)?;
    for (place, text) in &files {
        let path = folder.join(place);
        write(&path, text).map_err(|source| Failure::unusable(Unwritten { path, source }))?;
    }
    let shown = folder.display().to_string();
    if as_json {
        let files: Vec<&String> = files.iter().map(|(place, _)| place).collect();
        let next = next(language, &shown);
        text::json(
            &json!({ "name": args.name, "lang": language.name, "folder": shown, "files": files, "next": next }),
        )?;
    } else {
        let next = next(language, &shown).join("\n  ");
        writeln!(io::stdout(), "{}: {} files. What comes next:\n\n  {next}", text::plain(&shown), files.len())?;
    }
    Ok(Exit::Completed)
}

/// The commands that come next, for a project in that folder.
fn next(language: &Language, folder: &str) -> Vec<String> {
    let commands = [Some(format!("cd {}", text::word(folder))), language.setup.map(str::to_owned)];
    commands.into_iter().flatten().chain(["sortie plugin check".to_owned()]).collect()
}

/// Why a project is not begun in a folder.
#[derive(Debug, thiserror::Error)]
enum Occupied {
    #[error("{} is there already: name another folder with --dir", .0.display())]
    There(PathBuf),
    #[error("{} is no folder, or lies below what is none: name another with --dir", .0.display())]
    File(PathBuf),
    #[error("whether {} is there cannot be told", .0.display())]
    Unknown(PathBuf, #[source] io::Error),
}

/// A file of a project that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written", path.display())]
struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

/// Whether a folder can become a project: there is nothing in it.
fn is_free(folder: &Path) -> Result<(), Occupied> {
    match folder.read_dir().map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Occupied::There(folder.to_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            io::ErrorKind::NotADirectory => Err(Occupied::File(folder.to_owned())),
            _ => Err(Occupied::Unknown(folder.to_owned(), error)),
        },
    }
}

/// The files of a project, each with its place.
fn files(language: &Language, name: &str) -> Result<Vec<(String, String)>, Failure> {
    let Some((_, templates)) = TEMPLATES.iter().find(|(of, _)| *of == language.name) else {
        let carried: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        let (wanted, carried) = (language.name, carried.join(", "));
        return Err(Failure::unusable(format!(
            "this build of sortie carries no project in {wanted}; it has {carried}"
        )));
    };
    let vendored = VENDORED.iter().filter(|(of, _)| *of == language.name).flat_map(|(_, files)| files.iter());
    let written = templates.iter().map(|(place, text)| ((*place).to_owned(), text.replace(NAME, name)));
    let mut files: Vec<(String, String)> = written.collect();
    files.extend(vendored.map(|(place, text)| ((*place).to_owned(), (*text).to_owned())));
    files.push(("case.schema.json".to_owned(), format!("{:#}\n", kit::case_schema().to_value())));
    Ok(files)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_plugins_name_and_nothing_is_left_to_fill_in() {
        let files = files(&LANGUAGES[0], "my-plugin").unwrap_or_else(|failure| panic!("{}", failure.error));
        let text = |wanted: &str| {
            let found = files.iter().find(|(place, _)| place == wanted);
            found.map(|(_, text)| text.as_str()).unwrap_or_else(|| panic!("no {wanted}"))
        };
        assert!(text("Cargo.toml").contains("name = \"my-plugin\""));
        assert!(text("mission.json").contains("\"plugin\": \"my-plugin\""));
        assert!(text("vendor/sortie-plugin/Cargo.toml").contains("serde = { version"), "it stands alone");
        let whole = ["workspace = true", "[lints]"];
        assert!(!whole.iter().any(|left| text("vendor/sortie-plugin/Cargo.toml").contains(left)));
        assert!(text("wit/mission.wit").contains("package sortie:mission"));
        assert!(text("case.schema.json").contains("allOf") || text("case.schema.json").contains("properties"));
        let left: Vec<&String> = files
            .iter()
            .filter(|(place, text)| !place.starts_with("vendor/") && text.contains("{{"))
            .map(|(place, _)| place)
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn what_comes_next_is_what_the_language_needs() {
        for (name, expected) in
            [("rust", None), ("python", Some("pip install componentize-py==")), ("javascript", Some("npm install"))]
        {
            let language = LANGUAGES.iter().find(|language| language.name == name).expect("a language");
            let next = next(language, "my folder");
            assert_eq!((next[0].as_str(), next[next.len() - 1].as_str()), ("cd 'my folder'", "sortie plugin check"));
            assert_eq!(next.len(), 2 + usize::from(expected.is_some()), "{name}");
            assert!(expected.is_none_or(|part| next[1].contains(part)), "{name}: {next:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_a_project_is_told_with_the_cause() {
        let place = tempfile::tempdir().expect("a folder");
        let begin = |dir: &Path| {
            let args = NewArgs { name: "mine".to_owned(), lang: "rust".to_owned(), dir: Some(dir.to_owned()) };
            let told = new(&args, false).map_err(|failure| crate::cli::with_causes(failure.error.as_ref()));
            told.expect_err("nothing can be written there")
        };
        let file = place.path().join("file");
        std::fs::write(&file, "").expect("writable");
        assert!(begin(&file).contains("is no folder"), "{}", begin(&file));
        // There no folder can be made, by anybody.
        let told = begin(Path::new("/proc/mine"));
        assert!(told.starts_with("/proc/mine/") && told.contains("cannot be written: No such file"), "{told}");
        assert!(begin(&file.join("below")).contains("is no folder"), "{}", begin(&file.join("below")));
        assert!(begin(place.path()).contains("--dir"));
    }

    #[test]
    fn names_are_those_of_packages_too() {
        for (name, does) in [
            ("a", true),
            ("my-plugin2", true),
            ("2a", false),
            ("A", false),
            ("a@1.0.0", false),
            ("a-", false),
            ("batch", false),
        ] {
            assert_eq!(plugin_name(name).is_ok(), does, "{name}");
        }
    }
}
