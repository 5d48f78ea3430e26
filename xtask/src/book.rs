//! The documents as a site: `cargo xtask book`.
//!
//! The documents stay as they are, with links that work where the project is read. Here they are laid out for mdBook as they lie in the
//! project, together with the files that they link to, so that the same links work on the site; and what leads nowhere there is an error.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Project};

/// The version that the site is built with.
const MDBOOK: &str = "0.5.4";

/// Builds the site.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    let mdbook = mdbook(project)?;
    let source = project.target().join("book-source");
    lay_out(project.root(), &source)?;
    shell::run(Command::new(mdbook).arg("build").arg(&source))?;
    let site = project.target().join("book");
    let dead = dead_links(&site)?;
    if !dead.is_empty() {
        return Err(format!("links of the site lead nowhere:\n  {}", dead.join("\n  ")));
    }
    eprintln!("the site is {}", site.join("index.html").display());
    Ok(())
}

/// mdBook: the one on the path, if it is that version; else one of our own, which is compiled once.
fn mdbook(project: &Project) -> Result<PathBuf, String> {
    let is_right = |program: &Path| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("mdbook v{MDBOOK}"))
    };
    let folder = project.target().join("tools").join("mdbook");
    let own = folder.join("bin/mdbook");
    if let Some(there) = [PathBuf::from("mdbook"), own.clone()].into_iter().find(|program| is_right(program)) {
        return Ok(there);
    }
    let mut install = project.cargo_with("install mdbook --locked --version");
    install.arg(MDBOOK).arg("--root").arg(&folder);
    // Its target folder is a temporary one: nothing of it is ours.
    shell::run(install.env_remove("CARGO_TARGET_DIR"))?;
    Ok(own)
}

/// Lays the documents out that the summary names, with what they link to.
fn lay_out(root: &Path, source: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
    match fs::remove_dir_all(source) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(source, &error)),
        _ => {}
    }
    let put = |path: &Path, text: &[u8]| {
        let to = source.join("src").join(path);
        let folder = to.parent().unwrap_or(source);
        fs::create_dir_all(folder).and_then(|()| fs::write(&to, text)).map_err(|error| failed(&to, &error))
    };
    let read = |path: &Path| fs::read(root.join(path)).map_err(|error| failed(path, &error));
    let summary = read(Path::new("docs/SUMMARY.md"))?;
    let mut summary = String::from_utf8_lossy(&summary).into_owned();
    let mut left: Vec<PathBuf> = links(&summary).iter().map(|link| joined(Path::new("docs"), link)).collect();
    // On the site the summary lies beside the README.
    for link in links(&summary) {
        let there = joined(Path::new("docs"), &link);
        summary = summary.replace(&format!("]({link})"), &format!("]({})", there.display()));
    }
    put(Path::new("SUMMARY.md"), as_index(&summary).as_bytes())?;
    let mut done = BTreeSet::new();
    while let Some(path) = left.pop() {
        if !done.insert(path.clone()) || !root.join(&path).is_file() {
            continue;
        }
        let text = read(&path)?;
        if path.extension().is_none_or(|end| end != "md") {
            put(&path, &text)?;
            continue;
        }
        let text = String::from_utf8_lossy(&text);
        let folder = path.parent().unwrap_or(Path::new(""));
        left.extend(links(&text).iter().map(|link| joined(folder, link)));
        let path = if path.ends_with("README.md") { folder.join("index.md") } else { path };
        put(&path, as_index(&text).as_bytes())?;
    }
    let book = read(Path::new("docs/book.toml"))?;
    let to = source.join("book.toml");
    fs::write(&to, book).map_err(|error| failed(&to, &error))
}

/// A text with links to the page of a folder as the site has it: mdBook calls it `index`, and leaves links to `README` as they are.
fn as_index(text: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        let is_own = !target.contains("://");
        let target = if is_own { target.replace("README.md", "index.md") } else { target.to_owned() };
        let end = if part.contains(')') { ")" } else { "" };
        format!("{all}]({target}{end}{rest}")
    })
}

/// The relative links of a document, less what leads to a place within one.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|file| !file.is_empty() && !file.contains("://")).map(str::to_owned).collect()
}

/// Where a link leads to that stands in a document of this folder.
fn joined(folder: &Path, link: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in folder.join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The links of the pages that lead to no file of the site, or to no place in its page.
fn dead_links(site: &Path) -> Result<Vec<String>, String> {
    let mut pages = Vec::new();
    let mut folders = vec![site.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "html") {
                pages.push(path);
            }
        }
    }
    let mut dead = Vec::new();
    // The page of all pages repeats the links of the others; what is not found is shown at any path.
    for page in pages.iter().filter(|page| !page.ends_with("print.html") && !page.ends_with("404.html")) {
        let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
        for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") || file.starts_with("data:") {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap_or(site).join(file) };
            let leads = match fs::read_to_string(&target) {
                Ok(found) => place.is_empty() || found.contains(&format!("id=\"{place}\"")),
                Err(_) => target.exists() && place.is_empty(),
            };
            if !leads {
                dead.push(format!("{}: {link}", page.strip_prefix(site).unwrap_or(page).display()));
            }
        }
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_where_they_stand() {
        for (folder, link, expected) in [
            ("docs", "../README.md", "README.md"),
            ("docs", "MODELS.md", "docs/MODELS.md"),
            ("", "docs/MCP.md", "docs/MCP.md"),
            ("examples/workflows", "../../docs/AUTOMATION.md", "docs/AUTOMATION.md"),
        ] {
            assert_eq!(joined(Path::new(folder), link), Path::new(expected), "{folder} {link}");
        }
        let text = "[a](b.md#c), [d](#e), [f](https://example.org/g.md) and [h](i/j.rs)";
        assert_eq!(links(text), ["b.md", "i/j.rs"]);
        let text = "[a](../README.md#b), README.md, [c](https://example.org/README.md) and an end](";
        assert_eq!(as_index(text), "[a](../index.md#b), README.md, [c](https://example.org/README.md) and an end](");
    }
}
