//! Links that lead nowhere: a file that is not there, a heading that a page does not have, a web page that is gone.

use std::collections::{BTreeMap, BTreeSet};

use sortie_plugin::{Tools, Value, json};

use crate::files::{self, Folders, folder};
use crate::page::{self, Page, Target};

/// Most web pages that one mission looks at.
const WEB_MAX: usize = 200;

/// How much of a web page is asked for: whether it is there, and not what it says.
const WEB_BYTES: u64 = 1_024;

/// Statuses that say that a page is gone. Others may say that this node is not wanted, or not now.
const GONE: [u64; 2] = [404, 410];

/// A link that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) page: String,
    pub(crate) line: usize,
    pub(crate) written: String,
    pub(crate) to: Target,
    pub(crate) why: String,
    /// How it should be written, where there is just one way.
    pub(crate) instead: Option<String>,
}

/// What came of looking at the links.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) broken: Vec<Broken>,
    /// Where nobody can tell, and why.
    pub(crate) unclear: Vec<(String, String)>,
    /// Links that were looked at.
    pub(crate) count: usize,
}

/// Looks at every link of the pages.
pub(crate) fn look(tools: &Tools, pages: &BTreeMap<String, Page>, go_on: &mut dyn FnMut() -> bool) -> Looked {
    let mut looked = Looked::default();
    let mut folders = Folders::default();
    let paths: BTreeSet<&str> = files_linked(pages).collect();
    folders.list(tools, paths.iter().map(|path| folder(path).to_owned()).collect(), go_on);
    // What is no file may be a folder.
    let missing = paths.iter().filter(|path| !matches!(folders.has(path), Some(Ok(true))));
    let missing: BTreeSet<String> = missing.map(|path| (*path).to_owned()).collect();
    folders.list(tools, missing, go_on);
    let others = anchored_elsewhere(tools, pages, &folders, go_on);
    let web = look_at_web(tools, pages, go_on);

    for page in pages.values() {
        for link in &page.links {
            let broken = match &link.to {
                Target::Other => continue,
                Target::Outside => Some(("it leads out of the workspace".to_owned(), None)),
                Target::Web(url) => match web.get(url) {
                    Some(Ok(())) => None,
                    Some(Err(Web::Gone(why))) => Some((why.clone(), None)),
                    Some(Err(Web::Unclear(why))) => {
                        looked.unclear.push((url.clone(), why.clone()));
                        continue;
                    }
                    None => continue,
                },
                Target::File { path, anchor } => {
                    let is_there =
                        pages.contains_key(path) || path.is_empty() || folders.has_folder(path) == Some(true);
                    match folders.has(path) {
                        Some(Ok(false)) if !is_there => Some(("there is no such file".to_owned(), None)),
                        Some(Err(why)) if !is_there => {
                            looked.unclear.push((format!("{path} (linked by {})", page.path), why.to_owned()));
                            continue;
                        }
                        _ => anchor.as_deref().and_then(|anchor| {
                            let to = pages.get(path).or_else(|| others.get(path))?;
                            wrong_anchor(to, anchor, &link.written)
                        }),
                    }
                }
            };
            looked.count += 1;
            if let Some((why, instead)) = broken {
                let (page, line, written) = (page.path.clone(), link.line, link.written.clone());
                looked.broken.push(Broken { page, line, written, to: link.to.clone(), why, instead });
            }
        }
    }
    find_moved(tools, &mut looked.broken, go_on);
    looked.unclear.sort();
    looked.unclear.dedup();
    looked
}

fn files_linked(pages: &BTreeMap<String, Page>) -> impl Iterator<Item = &str> {
    let links = pages.values().flat_map(|page| &page.links);
    links.filter_map(|link| match &link.to {
        Target::File { path, .. } if !path.is_empty() && !pages.contains_key(path) => Some(path.as_str()),
        _ => None,
    })
}

/// Pages that are not among those that are kept, and of which a heading is linked.
fn anchored_elsewhere(
    tools: &Tools,
    pages: &BTreeMap<String, Page>,
    folders: &Folders,
    go_on: &mut dyn FnMut() -> bool,
) -> BTreeMap<String, Page> {
    let links = pages.values().flat_map(|page| &page.links);
    let paths: BTreeSet<&String> = links
        .filter_map(|link| match &link.to {
            Target::File { path, anchor: Some(_) } if path.ends_with(".md") && !pages.contains_key(path) => Some(path),
            _ => None,
        })
        .filter(|path| matches!(folders.has(path), Some(Ok(true))))
        .collect();
    let (Some(read), paths) = (tools.get("Read"), paths.into_iter().cloned().collect::<Vec<_>>()) else {
        return BTreeMap::new();
    };
    let answers = files::side_by_side(read, &paths, |path| json!({ "path": path }), go_on);
    let read = answers.into_iter().filter_map(|(path, answer)| {
        let text = answer?.ok()?["content"].as_str()?.to_owned();
        Some((path.clone(), Page::new(&path, text)))
    });
    read.collect()
}

/// Why an anchor leads nowhere, and how the link should be written where just one heading differs in nothing but its marks.
fn wrong_anchor(to: &Page, anchor: &str, written: &str) -> Option<(String, Option<String>)> {
    if to.anchors.contains(anchor) || anchor == "top" {
        return None;
    }
    let plain =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let mut alike = to.anchors.iter().filter(|other| plain(other) == plain(anchor));
    let instead = alike.next().filter(|_| alike.next().is_none());
    let path = written.split('#').next().unwrap_or_default();
    Some((format!("{} has no heading #{anchor}", to.path), instead.map(|anchor| format!("{path}#{anchor}"))))
}

/// What came of asking for a web page.
enum Web {
    Gone(String),
    Unclear(String),
}

fn look_at_web(
    tools: &Tools,
    pages: &BTreeMap<String, Page>,
    go_on: &mut dyn FnMut() -> bool,
) -> BTreeMap<String, Result<(), Web>> {
    let links = pages.values().flat_map(|page| &page.links);
    let urls: BTreeSet<&String> = links
        .filter_map(|link| match &link.to {
            Target::Web(url) => Some(url),
            _ => None,
        })
        .collect();
    let urls: Vec<String> = urls.into_iter().cloned().collect();
    let Some(fetch) = tools.get("WebFetch") else {
        let unclear = || Err(Web::Unclear("the mission was not granted WebFetch".to_owned()));
        return urls.into_iter().map(|url| (url, unclear())).collect();
    };
    let (asked, beyond) = urls.split_at(urls.len().min(WEB_MAX));
    let arguments = |url: &String| json!({ "url": url, "max_bytes": WEB_BYTES, "raw": true });
    let answers = files::side_by_side(fetch, asked, arguments, go_on);
    let told = answers.into_iter().map(|(url, answer)| (url, what_it_says(answer)));
    let beyond = beyond.iter().map(|url| {
        (url.clone(), Err(Web::Unclear(format!("a mission looks at {WEB_MAX} web pages, and this is one more"))))
    });
    told.chain(beyond).collect()
}

fn what_it_says(answer: Option<Result<Value, sortie_plugin::CallError>>) -> Result<(), Web> {
    match answer {
        None => Err(Web::Unclear("there was no time left for it".to_owned())),
        Some(Err(error)) => Err(Web::Unclear(error.to_string())),
        Some(Ok(answer)) => match answer["status"].as_u64().unwrap_or_default() {
            status if GONE.contains(&status) => Err(Web::Gone(format!("it answers with status {status}"))),
            200..300 => Ok(()),
            status => Err(Web::Unclear(format!("it answers with status {status}"))),
        },
    }
}

/// Looks for files that are not where a link says, and are somewhere else: just one of that name.
fn find_moved(tools: &Tools, broken: &mut [Broken], go_on: &mut dyn FnMut() -> bool) {
    let Some(glob) = tools.get("Glob") else { return };
    let target = |broken: &Broken| match &broken.to {
        Target::File { path, .. } => Some(path.clone()),
        _ => None,
    };
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_plain = |name: &String| !name.is_empty() && !name.contains(['*', '?', '[', '{', '\\', '!']);
    let wanted = broken.iter().filter(|broken| broken.instead.is_none()).filter_map(target);
    let names: BTreeSet<String> = wanted.map(|path| name(&path)).filter(is_plain).collect();
    let names: Vec<String> = names.into_iter().collect();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let arguments = |name: &String| json!({ "pattern": format!("**/{name}") });
    for (name, answer) in files::side_by_side(glob, &names, arguments, go_on) {
        let Some(Ok(listed)) = answer else { continue };
        let paths = listed["paths"].as_array().map_or(&[][..], Vec::as_slice);
        if let ([only], false) = (paths, listed["truncated"] == true) {
            places.extend(only.as_str().map(|path| (name, path.to_owned())));
        }
    }
    for broken in broken.iter_mut().filter(|broken| broken.instead.is_none()) {
        let Some(path) = target(broken) else { continue };
        if let Some(place) = places.get(&name(&path)).filter(|place| **place != path) {
            let rest = broken.written.find(['#', '?']).map_or("", |at| &broken.written[at..]);
            broken.instead = Some(format!("{}{rest}", page::relative(&broken.page, place)));
        }
    }
}
