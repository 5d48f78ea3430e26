//! What is told, before it has a form: a title, and for each kind a heading, the newest few, and how many more there are.
//!
//! Texts of missions come here as one line each, bounded ([`crate::news`]); escaping them is each form's own.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::ledger::{Group, Groups};
use crate::news::{About, Item, Kind, Wanted, bounded_line, one_line};

/// Most lines of a section.
const LINES_MAX: usize = 8;

/// Longest line of a night, in bytes: it has all its counts.
const NIGHT_BYTES_MAX: usize = 1_000;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The node.
    pub node: String,
    /// What it comes to, in a line.
    pub title: String,
    /// When it was made.
    pub at: Timestamp,
    /// Whether people are waited for.
    pub urgent: bool,
    /// What happened.
    pub sections: Vec<Section>,
    /// Where to look further; nothing, where the node is not known by an address.
    pub url: Option<String>,
}

/// What happened of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The kind, by its name in the configuration; `test` of a test.
    pub kind: &'static str,
    /// How often, in words.
    pub heading: String,
    /// How often.
    pub count: u64,
    /// The newest of it, oldest first.
    pub lines: Vec<Line>,
    /// What is not among the lines, in words; empty, where all of it is.
    pub more: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The same by the clock of the node's zone, to the minute.
    pub when: String,
    /// The mission or the schedule.
    pub name: String,
    /// In words; empty, where the channel is told no texts of missions.
    pub text: String,
    /// Where to look, or to decide.
    pub url: Option<String>,
    /// Whether that leads to a decision.
    pub decides: bool,
}

/// What a message of a channel is made with.
pub(crate) struct Telling<'a> {
    pub(crate) node: &'a str,
    pub(crate) now: Timestamp,
    /// Whether the words of missions are told.
    pub(crate) texts: bool,
    /// Where the node is asked for pages, without a slash behind it.
    pub(crate) public_url: Option<&'a str>,
    /// The link to a decision, where the channel has them.
    pub(crate) link: &'a dyn Fn(&str, Wanted) -> Option<String>,
    /// A time by the clock of the node's zone.
    pub(crate) local: &'a dyn Fn(Timestamp) -> String,
}

impl Telling<'_> {
    /// Of what happened.
    pub(crate) fn of_groups(&self, groups: &Groups) -> Message {
        let sections: Vec<Section> = groups.iter().map(|(kind, group)| self.section(*kind, group)).collect();
        let counts: Vec<String> = groups.iter().map(|(kind, group)| counted(*kind, group.count)).collect();
        let urgent = groups.contains_key(&Kind::Blocked) || groups.contains_key(&Kind::Budget);
        self.message(&counts.join(", "), urgent, sections)
    }

    /// Of a night, in the words of `sortie night`: the line, and who needs people.
    pub(crate) fn of_night(&self, line: &str, needs: &[Item]) -> Message {
        let lines = needs.iter().map(|item| self.line(item)).collect();
        let count = needs.len() as u64;
        let section = Section {
            kind: Kind::Digest.as_str(),
            heading: bounded_line(line, NIGHT_BYTES_MAX),
            count,
            lines,
            more: String::new(),
        };
        self.message("the night", false, vec![section])
    }

    /// To see that a channel works.
    pub(crate) fn of_test(&self, channel: &str) -> Message {
        let heading = format!("This is a test of the channel {channel}: messages arrive.");
        let section = Section { kind: "test", heading, count: 1, lines: Vec::new(), more: String::new() };
        self.message("a test", false, vec![section])
    }

    fn message(&self, what: &str, urgent: bool, sections: Vec<Section>) -> Message {
        let (node, at) = (self.node.to_owned(), self.now);
        let url = self.public_url.map(|url| format!("{url}/"));
        Message { title: format!("{node}: {what}"), node, at, urgent, sections, url }
    }

    fn section(&self, kind: Kind, group: &Group) -> Section {
        let first = group.newest.len().saturating_sub(LINES_MAX);
        let lines: Vec<Line> = group.newest.iter().skip(first).map(|item| self.line(item)).collect();
        let further = group.count.saturating_sub(lines.len() as u64);
        let more = match further {
            0 => String::new(),
            further => format!("{further} more since {}", (self.local)(group.since)),
        };
        Section { kind: kind.as_str(), heading: counted(kind, group.count), count: group.count, lines, more }
    }

    fn line(&self, item: &Item) -> Line {
        let Item { at, about, text, wanted } = item;
        let decision = match about {
            About::Mission(mission) => wanted.and_then(|wanted| (self.link)(mission, wanted)),
            About::Schedule(_) => None,
        };
        let decides = decision.is_some();
        let page = || {
            let mut url = url::Url::parse(self.public_url?).ok()?;
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty();
            match about {
                About::Mission(mission) => path.extend(["missions", mission.as_str()]),
                About::Schedule(_) => path.push("schedules"),
            };
            drop(path);
            Some(url.into())
        };
        let text = if self.texts { text.clone() } else { String::new() };
        let name = one_line(about.name());
        Line { at: *at, when: (self.local)(*at), name, text, url: decision.or_else(page), decides }
    }
}

/// So many of a kind, in words.
fn counted(kind: Kind, count: u64) -> String {
    match (kind, count) {
        (Kind::Blocked, 1) => "1 request waits for people".to_owned(),
        (Kind::Blocked, count) => format!("{count} requests wait for people"),
        (Kind::Budget, count) => format!("{count} about budgets"),
        (Kind::Failed, count) => format!("{count} failed"),
        (Kind::Missed, count) => format!("{count} missed"),
        (Kind::Hold, count) => format!("{count} held"),
        (Kind::Digest, _) => "the night".to_owned(),
    }
}

impl Line {
    /// What it says, without its address.
    pub(crate) fn said(&self) -> String {
        let colon = if self.text.is_empty() { "" } else { ": " };
        format!("{} {}{colon}{}", self.when, self.name, self.text)
    }
}

impl Message {
    /// Those that a form is tried with: of nothing in particular, as of a test or a quiet night; of one thing; and of two kinds with several
    /// things each, without words and addresses.
    pub(crate) fn examples() -> [Self; 3] {
        let page = "https://example.org/missions/mission-1";
        let line = |text: &str, url: Option<&str>| Line {
            at: Timestamp::UNIX_EPOCH,
            when: "00:00".to_owned(),
            name: "mission-1".to_owned(),
            text: text.to_owned(),
            url: url.map(str::to_owned),
            decides: false,
        };
        let section = |kind: Kind, lines: &[Line], more: &str| {
            let (lines, count) = (lines.to_vec(), lines.len() as u64);
            Section { kind: kind.as_str(), heading: counted(kind, count), count, lines, more: more.to_owned() }
        };
        let message = |what: &str, urgent: bool, sections: Vec<Section>, url: Option<&str>| {
            let (node, title) = ("factory-1".to_owned(), format!("factory-1: {what}"));
            Self { node, title, at: Timestamp::UNIX_EPOCH, urgent, sections, url: url.map(str::to_owned) }
        };
        let said = line("It did not go well.", Some(page));
        let bare = [line("", None), line("", None)];
        let both = vec![section(Kind::Blocked, &bare, "9 more since 00:00"), section(Kind::Failed, &bare, "")];
        [
            message("the night", false, vec![section(Kind::Digest, &[], "")], Some("https://example.org/")),
            message("1 failed", false, vec![section(Kind::Failed, &[said], "")], Some("https://example.org/")),
            message("2 requests wait for people, 2 failed", true, both, None),
        ]
    }

    /// As plain text, of at most so many bytes.
    pub(crate) fn text(&self, bytes_max: usize) -> String {
        let mut text = String::new();
        for section in &self.sections {
            let mut part = String::new();
            let _ = writeln!(part, "{}", section.heading);
            for line in &section.lines {
                let _ = writeln!(part, "- {}", line.said());
                if let Some(url) = &line.url {
                    let _ = writeln!(part, "  {}{url}", if line.decides { "Decide: " } else { "" });
                }
            }
            if !section.more.is_empty() {
                let _ = writeln!(part, "- {}", section.more);
            }
            let gap = if text.is_empty() { "" } else { "\n" };
            let room = bytes_max.saturating_sub(text.len() + gap.len());
            text.push_str(gap);
            text.push_str(&whole_lines(&part, room));
        }
        text.trim_end().to_owned()
    }
}

/// As many lines as there is room for: half an address leads nowhere.
fn whole_lines(text: &str, bytes: usize) -> String {
    let mut held = String::new();
    for line in text.split_inclusive('\n') {
        if held.len() + line.len() > bytes {
            break;
        }
        held.push_str(line);
    }
    held
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message of what was given.
    pub(crate) fn sample(texts: &[&str], links: bool) -> Message {
        let at: Timestamp = "2026-11-27T01:10:00Z".parse().expect("a time");
        let item = |(number, text): (usize, &&str)| Item {
            at,
            about: About::Mission(format!("m-{number}")),
            text: one_line(text),
            wanted: Some(Wanted { request: 1, expires_at: at }),
        };
        let mut group = Group::new(at);
        texts.iter().enumerate().map(item).for_each(|item| group.push(item));
        let link = move |mission: &str, wanted: Wanted| {
            links.then(|| format!("https://factory.example/go/{mission}-{}", wanted.request))
        };
        let telling = Telling {
            node: "factory-1",
            now: at,
            texts: true,
            public_url: Some("https://factory.example"),
            link: &link,
            local: &|at| at.strftime("%H:%M").to_string(),
        };
        telling.of_groups(&Groups::from([(Kind::Blocked, group)]))
    }

    #[test]
    fn a_message_has_the_newest_few_and_the_number_of_the_others() {
        let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
        let message = sample(&texts.iter().map(String::as_str).collect::<Vec<_>>(), true);
        assert_eq!(message.title, "factory-1: 20 requests wait for people");
        let section = &message.sections[0];
        assert_eq!((section.lines.len(), section.more.as_str()), (LINES_MAX, "12 more since 01:10"));
        assert_eq!(section.lines.last().map(|line| line.text.as_str()), Some("text 19"));
        let text = message.text(10_000);
        assert!(
            text.ends_with("- 01:10 m-19: text 19\n  Decide: https://factory.example/go/m-19-1\n- 12 more since 01:10")
        );
        assert!(message.text(300).len() <= 300 && !message.text(300).is_empty());
        assert!(message.text(300).lines().all(|line| text.contains(&format!("{line}\n"))), "no line is cut");
        let without = sample(&["a"], false);
        assert_eq!(without.sections[0].lines[0].url.as_deref(), Some("https://factory.example/missions/m-0"));
        assert!(!without.sections[0].lines[0].decides);
    }
}
