//! Which commits the work has, and which of them somebody else made: a hook of the repository, a script, a `make`.
//!
//! The plugin knows its own commit by what it put into it. A commit of the model's is known by the commands that the model gave: each `git
//! commit` of them makes one, `git merge` and its like make what they make, which stands behind the last commit that was known before them
//! (those that move commits, such as `git rebase`, may put it anywhere before the next). All that is left over was made by something else.
//! Nothing here looks into a commit, so that a hook which *replaces* the model's own commit while the model makes it is not found out; one that
//! replaces the plugin's is.

use crate::makes::{Makes, makes};

/// Commits that are looked at, and that the line of an ending names.
pub(crate) const COMMITS_MAX: usize = 200;
const NAMED_MAX: usize = 3;

/// Most of a subject that is compared, and that is told.
const SUBJECT_CHARS_MAX: usize = 60;

/// What `git log` says of each.
pub(crate) const FORMAT: &str = "%H%x09%P%x09%T%x09%<(100,trunc)%s";

/// A commit of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) hash: String,
    parents: String,
    tree: String,
    subject: String,
}

/// What the plugin committed: on which commit, and which tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) parent: String,
    pub(crate) tree: String,
}

/// A command of the model's.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) text: String,
    /// Whether it ended well, as far as anybody knows.
    pub(crate) is_well: bool,
}

/// The commits that git lists, the oldest first, and what stands behind the list.
pub(crate) fn parse(said: &str) -> (Vec<Commit>, &str) {
    let (mut commits, mut at) = (Vec::new(), 0);
    for line in said.split_inclusive('\n') {
        let Some(commit) = commit(line.trim_end_matches('\n')) else { break };
        commits.push(commit);
        at += line.len();
    }
    (commits, &said[at..])
}

fn commit(line: &str) -> Option<Commit> {
    let mut parts = line.splitn(4, '\t');
    let (hash, parents, tree, subject) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hash = |text: &str| text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash(hash) && is_hash(tree)).then(|| Commit {
        hash: hash.to_owned(),
        parents: parents.to_owned(),
        tree: tree.to_owned(),
        subject: subject.trim_end().to_owned(),
    })
}

/// Those that neither the plugin nor a command of the model's made.
pub(crate) fn of_others<'a>(commits: &'a [Commit], own: Option<&Own>, commands: &[Command]) -> Vec<&'a Commit> {
    // Behind the commit on which the plugin's own stands nobody else had a turn.
    let from = own.map_or(commits.len(), |own| {
        commits.iter().position(|commit| commit.hash == own.parent).map_or(0, |at| at + 1)
    });
    let is_own = |commit: &&Commit| own.is_some_and(|own| commit.parents == own.parent && commit.tree == own.tree);
    let mut others = not_of(commands, &commits[..from]);
    others.extend(commits[from..].iter().filter(|commit| !is_own(commit)));
    others
}

/// What an ending says of them; nothing where there are none.
pub(crate) fn told(others: &[&Commit]) -> Option<String> {
    let name = |commit: &&Commit| {
        let plain = commit.subject.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c });
        format!("{} {}", &commit.hash[..7], plain.take(SUBJECT_CHARS_MAX).collect::<String>()).trim_end().to_owned()
    };
    let shown = others.iter().take(NAMED_MAX).map(name).collect::<Vec<_>>().join("; ");
    let more = others.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    match others.len() {
        0 => None,
        1 => Some(format!("1 commit was made by something else (a hook?): {shown}")),
        n => Some(format!("{n} commits were made by something else (hooks?): {shown}{more}")),
    }
}

/// Those that are left when each command has taken what it can have made.
fn not_of<'a>(commands: &[Command], commits: &'a [Commit]) -> Vec<&'a Commit> {
    let mut makes: Vec<(String, Makes)> =
        commands.iter().map(|command| (plain(&command.text), makes(&command.text))).collect();
    // First what a command says in so many words; a chain that failed at its end may have committed before.
    let mut named: Vec<Option<usize>> = Vec::new();
    for commit in commits {
        let subject: String = plain(&commit.subject).chars().take(SUBJECT_CHARS_MAX).collect();
        let said =
            |(text, makes): &(String, Makes)| makes.commits > 0 && !subject.is_empty() && text.contains(&subject);
        let by = makes.iter().position(said);
        by.into_iter().for_each(|by| makes[by].1.commits -= 1);
        named.push(by);
    }
    // Where all else that a command made can stand: behind what was known before it, and before what is known to have come after it.
    let place = |by: usize, moves: bool| {
        let is_earlier = |named: &Option<usize>| named.is_some_and(|named| named < by);
        let from = if moves { None } else { named.iter().rposition(is_earlier) };
        let to = named.iter().position(|named| named.is_some_and(|named| named > by));
        from.map_or(0, |at| at + 1)..to.unwrap_or(named.len())
    };
    let well = || (0..commands.len()).filter(|by| commands[*by].is_well);
    let mut taken: Vec<bool> = named.iter().map(Option::is_some).collect();
    // The words of some stand elsewhere: in a file, in an editor's place, in the commit before.
    for by in well() {
        for _ in 0..makes[by].1.commits {
            let free = place(by, false).find(|at| !taken[*at]);
            free.into_iter().for_each(|at| taken[at] = true);
        }
    }
    for by in well().filter(|by| makes[*by].1.brings) {
        place(by, makes[by].1.moves).for_each(|at| taken[at] = true);
    }
    commits.iter().zip(taken).filter(|(_, taken)| !taken).map(|(commit, _)| commit).collect()
}

/// Without what a shell would take away, and with one blank between words.
fn plain(text: &str) -> String {
    text.replace(['\\', '"', '\''], "").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> String {
        format!("{n:02x}").repeat(20)
    }

    /// Commits one on the other, with these subjects; the first stands on the commit 0, and each has its own number as its tree.
    fn chain(subjects: &[&str]) -> Vec<Commit> {
        let line = |(at, subject): (usize, &&str)| {
            let n = at as u8 + 1;
            format!("{}\t{}\t{}\t{subject:100}\n", hash(n), hash(n - 1), hash(n))
        };
        let said: String = subjects.iter().enumerate().map(line).collect();
        let (commits, rest) = parse(&said);
        assert_eq!((commits.len(), rest), (subjects.len(), ""));
        commits
    }

    #[test]
    fn what_git_lists_ends_where_something_else_begins() {
        let line = format!("{}\t{}\t{}\tMend \tit\n", hash(1), hash(0), hash(2));
        let said = format!("{line} 1 file changed, 1 insertion(+)\n1\t0\ta\n");
        let (commits, rest) = parse(&said);
        assert_eq!((commits[0].subject.as_str(), rest), ("Mend \tit", &said[line.len()..]));
        assert_eq!(parse("1\t0\ta\tb\n").1, "1\t0\ta\tb\n", "a path is no commit");
    }

    #[test]
    fn a_commit_is_of_whoever_can_have_made_it() {
        let well = |text: &str| Command { text: text.to_owned(), is_well: true };
        let failed = |text: &str| Command { is_well: false, ..well(text) };
        for (subjects, commands, others) in [
            (vec![], vec![], vec![]),
            (vec!["hooked"], vec![], vec!["hooked"]),
            (vec!["hooked"], vec![well("git status && git add -A; git log --oneline")], vec!["hooked"]),
            (vec!["mine"], vec![well("git add -A && git commit -m 'mine'")], vec![]),
            // One call makes one, and it is the one that it names.
            (vec!["mine", "hooked"], vec![well("git commit -qm mine")], vec!["hooked"]),
            (vec!["hooked", "mine"], vec![well("git commit -qm mine")], vec!["hooked"]),
            (vec!["a", "h", "b", "h"], vec![well("git commit -m a && git commit -m b")], vec!["h", "h"]),
            (vec!["mine", "mine"], vec![well("git commit -m mine")], vec!["mine"]),
            (vec!["say \"x\" twice"], vec![well("git commit -m \"say \\\"x\\\"  twice\"")], vec![]),
            // Its words are elsewhere.
            (vec!["from a file", "hooked"], vec![well("git -C . -c user.name=x commit -F msg")], vec!["hooked"]),
            (vec!["mine"], vec![failed("git commit -m mine && make test")], vec![]),
            (vec!["hooked"], vec![failed("git commit -m mine")], vec!["hooked"]),
            (vec!["x", "y", "z"], vec![well("git cherry-pick x..z")], vec![]),
            (vec!["x"], vec![failed("git pull")], vec!["x"]),
            (vec!["released"], vec![well("make release")], vec!["released"]),
            (vec!["alias"], vec![well("git ci -am x")], vec![]),
            (vec!["x"], vec![well("cat .git/config; ls git")], vec!["x"]),
            // A message, or a search, is no call of git.
            (
                vec!["Teach git rebase to wait", "hooked"],
                vec![well("git commit -qm 'Teach git rebase to wait'")],
                vec!["hooked"],
            ),
            (vec!["Fix git detection", "hooked"], vec![well("git commit -qm 'Fix git detection'")], vec!["hooked"]),
            (
                vec!["hooked"],
                vec![well("grep -rn 'git merge' docs; git shortlog; git show-ref; which git python")],
                vec!["hooked"],
            ),
            // What others made comes behind what was known, and before what is known to be later.
            (vec!["x", "y"], vec![well("git reset --hard other")], vec![]),
            (
                vec!["hooked", "a", "x", "y", "b", "hooked"],
                vec![well("git commit -m a"), well("git merge other"), well("git commit -m b")],
                vec!["hooked", "hooked"],
            ),
            (
                vec!["x", "a", "b", "hooked"],
                vec![well("git commit -m a"), well("git rebase main"), well("git commit -m b")],
                vec!["hooked"],
            ),
            (vec!["x", "a"], vec![well("git merge other && git commit -m a")], vec![]),
            (vec!["b", "hooked"], vec![well("git commit -m a"), well("git commit --amend -m b")], vec!["hooked"]),
            (
                vec!["a", "from a file", "b", "hooked"],
                vec![well("git commit -m a"), well("git commit -F msg"), well("git commit -m b")],
                vec!["hooked"],
            ),
        ] {
            let commits = chain(&subjects);
            let found: Vec<&str> =
                of_others(&commits, None, &commands).iter().map(|commit| commit.subject.as_str()).collect();
            assert_eq!(found, others, "{subjects:?} by {commands:?}");
        }
    }

    #[test]
    fn the_plugins_own_commit_is_the_one_that_it_made() {
        let commits = chain(&["mine", "own", "hooked"]);
        let mine = [Command { text: "git commit -m mine".to_owned(), is_well: true }];
        let own = |parent: u8, tree: u8| Own { parent: hash(parent), tree: hash(tree) };
        for (own, commands, others) in [
            (own(1, 2), &mine[..], vec!["hooked"]),
            (own(1, 2), &[], vec!["mine", "hooked"]),
            // Amended: the tree is another, or what it stood on is gone.
            (own(1, 9), &mine, vec!["own", "hooked"]),
            (own(9, 2), &mine, vec!["mine", "own", "hooked"]),
            (own(2, 3), &mine, vec!["own"]),
        ] {
            let found: Vec<&str> =
                of_others(&commits, Some(&own), commands).iter().map(|commit| commit.subject.as_str()).collect();
            assert_eq!(found, others, "{own:?}");
        }
        let all = chain(&["1", "2", "3", "4`\u{7}"]);
        let told = |count: usize| told(&all.iter().rev().take(count).collect::<Vec<_>>());
        assert_eq!(told(0), None);
        assert_eq!(told(1).as_deref(), Some("1 commit was made by something else (a hook?): 0404040 4"));
        assert_eq!(
            told(4).as_deref(),
            Some("4 commits were made by something else (hooks?): 0404040 4; 0303030 3; 0202020 2; and 1 more")
        );
    }
}
