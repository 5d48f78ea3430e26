//! Work in a repository with git: a worktree and a branch of the mission's own, commits, and the patch of all of it.
//!
//! The branch is `mission/ID`, its worktree `worktrees/ID` in the workspace. The repository's own checkout is never touched, whatever state it
//! is in. Each command is plain, so that scoped allowances can mean it (`Bash(cd *)`, `Bash(git *)`), and can be repeated after a crash.

use std::collections::BTreeSet;

use sortie_plugin::{CallError, Failure, artifacts};

use crate::changed::Changed;
use crate::commits::{self, COMMITS_MAX, Command, Own};
use crate::inputs::Source;
use crate::mbox::{ADDRESS, Message, SIGNATURE};
use crate::place::{Place, quoted};
use crate::shell::{Ran, Shell};

/// A branch of a mission's own.
#[derive(Debug)]
pub(crate) struct Branch<'a> {
    shell: Shell<'a>,
    /// How git is called.
    git: &'static str,
    /// Where it is checked out.
    pub(crate) place: Place,
    /// Its name.
    pub(crate) name: String,
    /// The commit that it began at.
    pub(crate) base: String,
}

/// Why there is no branch to work on.
#[derive(Debug)]
pub(crate) enum NoBranch {
    /// It can be done on the files alone; why that is so.
    FilesAlone(String),
    /// It cannot be done.
    Failed(Failure),
}

/// What became of the work at the end.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Whether it is committed; if not, why.
    pub(crate) committed: Result<(), String>,
    /// What the plugin committed, where that was left to do.
    own: Option<Own>,
    /// New files that commands made, which are in no commit.
    pub(crate) left_out: BTreeSet<String>,
    /// What the model wrote and git ignores.
    pub(crate) ignored: BTreeSet<String>,
    /// What the model wrote and git would not take: the path, and why.
    pub(crate) refused: Vec<(String, String)>,
    /// The branch that the model had switched to; nothing: none at all.
    pub(crate) strayed: Option<String>,
}

/// Git without what the repository's configuration would have it run beside its work (hooks, a monitor of its files, maintenance), which is
/// whoever's; a scoped allowance such as `Bash(git *)` does not take it. Its filters are part of the work: without them files are not what
/// they are to be.
const ALONE: &str = "git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c maintenance.auto=false";

/// A part of a name of a branch that git takes, the same for no two missions: `+` is in no mission's id.
pub(crate) fn branch_part(mission: &str) -> String {
    let mut part = String::new();
    let last = mission.chars().count().saturating_sub(1);
    for (at, c) in mission.chars().enumerate() {
        let is_odd = c == ':' || c == '.' && (at == 0 || at == last || part.ends_with('.'));
        part.push(if is_odd { '+' } else { c });
    }
    match part.strip_suffix(".lock") {
        Some(start) => format!("{start}+lock"),
        None => part,
    }
}

impl<'a> Branch<'a> {
    /// Finds the repository, or gets it, and makes the branch.
    pub(crate) fn make(
        shell: Shell<'a>,
        source: &Source,
        base: Option<&str>,
        mission: &str,
        notes: &mut Vec<String>,
    ) -> Result<Self, NoBranch> {
        let part = branch_part(mission);
        let repository = match source {
            Source::Folder(folder) => Place::new(folder),
            Source::Url(url) => clone(shell, url, &part)?,
        };
        let asked = base.unwrap_or("HEAD");
        let verify = |git: &str, name: &str| {
            format!("{git} rev-parse --verify --quiet --end-of-options {}", quoted(&format!("{name}^{{commit}}")))
        };
        // A fresh clone has but one branch, and all others as the remote's.
        let of_remote = |git: &str| match source {
            Source::Url(_) if base.is_some() => format!(" || {}", verify(git, &format!("origin/{asked}"))),
            _ => String::new(),
        };
        // As few commands as can be: before and after each of them the node looks through the whole workspace.
        let look = |git: &str| {
            let chain = format!(
                "{git} rev-parse --show-prefix && {}{} && {git} status --porcelain --untracked-files=no",
                verify(git, asked),
                of_remote(git)
            );
            shell.run(&repository, &chain, "find the repository and the commit to begin at")
        };
        let mut git = ALONE;
        let mut looked = look(git);
        if matches!(looked, Err(CallError::Denied(_))) {
            git = "git";
            looked = look(git);
        }
        let looked = looked.map_err(|error| alone(source, &error.to_string()))?;
        let mut lines = looked.stdout.lines();
        match lines.next() {
            Some("") => {}
            Some(prefix) => {
                let why = format!("`{}` is the folder {prefix} of another repository", repository.folder());
                return Err(alone(source, &why));
            }
            None => return Err(alone(source, &format!("git: {}", looked.complaint()))),
        }
        let Some(commit) = lines.next() else {
            let why = format!("the repository has no commit `{asked}`");
            return Err(NoBranch::Failed(Failure::new(why).next_action("Name one that it has in inputs.base.")));
        };
        let commit = commit.to_owned();
        notes.extend(state(lines));
        let name = format!("mission/{part}");
        let place = Place::new(&format!("worktrees/{part}"));
        if git != ALONE {
            notes.push(
                "The mission's allowances take no `git -c`: what the repository has git run was run (hooks for checkouts and commits, \
                 `core.fsmonitor`)."
                    .to_owned(),
            );
        }
        if check_out(shell, git, &repository, &place, &name, &commit)? {
            notes.push(
                "The repository has submodules. Their folders are empty in the worktree: nothing was fetched for them."
                    .to_owned(),
            );
        }
        Ok(Self { shell, git, place, name, base: commit })
    }

    /// Commits what was written.
    pub(crate) fn commit(&self, message: &Message, written: &[String]) -> Result<Kept, Failure> {
        let git = self.git;
        let mut kept = Kept {
            committed: Ok(()),
            own: None,
            left_out: BTreeSet::new(),
            ignored: BTreeSet::new(),
            refused: Vec::new(),
            strayed: None,
        };
        let rest =
            format!("{git} branch --show-current && {git} add -u && {git} status --porcelain --untracked-files=normal");
        let what_for = "add what was changed, and see what there is";
        let mut pieces: Vec<&[String]> = pieces(written);
        let last = pieces.pop().unwrap_or_default();
        for paths in pieces {
            self.add(paths, &mut kept)?;
        }
        let mut ran = match last {
            [] => self.git(&rest, what_for)?,
            paths => self.git(&format!("{} && {rest}", self.adds(paths)), what_for)?,
        };
        if !ran.is_well() && !last.is_empty() {
            self.add(last, &mut kept)?;
            ran = self.git(&rest, what_for)?;
        }
        if !ran.is_well() {
            return Err(self.failed("git add -u", &ran));
        }
        let lines =
            |sign: &str| ran.stdout.lines().filter_map(|line| line.strip_prefix(sign)).map(str::to_owned).collect();
        kept.left_out = lines("?? ");
        kept.ignored.extend::<BTreeSet<String>>(lines("!! "));
        // All other lines have blanks between their parts.
        let head = ran.stdout.lines().find(|line| !line.is_empty() && !line.contains(' '));
        if head != Some(self.name.as_str()) {
            kept.strayed = Some(head.unwrap_or_default().to_owned());
            kept.committed = self.come_back();
        }
        let is_staged =
            |line: &str| line.get(1..3).is_some_and(|code| code.ends_with(' ')) && !line.starts_with([' ', '?', '!']);
        if kept.committed.is_ok() && ran.stdout.lines().any(is_staged) {
            match self.commit_as(message) {
                Ok(own) => kept.own = own,
                Err(why) => kept.committed = Err(why),
            }
        }
        Ok(kept)
    }

    /// What adds new files that were written, and tells which of them git ignores. What is gone again is not listed by the first command, and
    /// so keeps nothing else out, as it would of `git add`.
    fn adds(&self, paths: &[String]) -> String {
        let paths: Vec<String> = paths.iter().map(|path| quoted(&format!(":(literal){path}"))).collect();
        let (git, paths) = (self.git, paths.join(" "));
        format!(
            "{git} ls-files -z --others --exclude-standard -- {paths} | {git} update-index --add -z --stdin && \
             {git} status --porcelain --ignored --untracked-files=all -- {paths}"
        )
    }

    /// The same; where git does not take all, one by one.
    fn add(&self, paths: &[String], kept: &mut Kept) -> Result<(), Failure> {
        let what_for = "add what was written";
        let ran = self.git(&self.adds(paths), what_for)?;
        if ran.is_well() {
            kept.ignored.extend(ran.stdout.lines().filter_map(|line| line.strip_prefix("!! ")).map(str::to_owned));
        } else if let [path] = paths {
            kept.refused.push((path.clone(), ran.complaint()));
        } else {
            for path in paths {
                self.add(std::slice::from_ref(path), kept)?;
            }
        }
        Ok(())
    }

    /// Whatever was checked out is what the mission's branch has from here on: the model may have switched to another one.
    fn come_back(&self) -> Result<(), String> {
        let (git, own) = (self.git, quoted(&format!("refs/heads/{}", self.name)));
        let mut why = String::new();
        // A branch without a commit has no `HEAD`: then what there is follows on what the mission's has.
        for command in [
            format!("{git} update-ref {own} HEAD && {git} symbolic-ref HEAD {own}"),
            format!("{git} symbolic-ref HEAD {own}"),
        ] {
            match self.git(&command, "come back to the mission's branch") {
                Ok(ran) if ran.is_well() => return Ok(()),
                Ok(ran) => why = ran.complaint(),
                Err(failure) => why = failure.summary,
            }
        }
        Err(why)
    }

    /// In the mission's name where the mission may say so, else in the repository's. What was committed, so that it can be told from what
    /// hooks make of it.
    fn commit_as(&self, message: &Message) -> Result<Option<Own>, String> {
        let git = self.git;
        let texts = format!("-m {} -m {}", quoted(&message.subject), quoted(&message.body));
        let commit = format!("commit --quiet --no-verify --no-gpg-sign {texts}");
        let own = format!(
            "-c {} -c {}",
            quoted(&format!("user.name={}", message.author)),
            quoted(&format!("user.email={ADDRESS}"))
        );
        let mut why = String::new();
        for command in [format!("{git} {own} {commit}"), format!("{git} {commit}")] {
            let command = format!("{git} rev-parse HEAD && {git} write-tree && {command}");
            match self.shell.run(&self.place, &command, "commit") {
                Ok(ran) if ran.is_well() => {
                    let mut lines = ran.stdout.lines().map(str::to_owned);
                    return Ok(lines.next().zip(lines.next()).map(|(parent, tree)| Own { parent, tree }));
                }
                Ok(ran) => why = ran.complaint(),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Leaves the patch of the whole branch as an artifact where there is something in it, and says what is: which files, and what there is to
    /// say of commits that somebody else made.
    pub(crate) fn leave_patch(
        &self,
        message: &Message,
        kept: &Kept,
        commands: &[Command],
        artifact: &str,
    ) -> Result<(Changed, Option<String>), Failure> {
        let (git, base) = (self.git, &self.base);
        // What is told of the patch is from the output that has it: in between, a hook may do anything.
        let log = format!(
            "{git} log --first-parent --reverse --max-count={COMMITS_MAX} --no-show-signature --no-color {} {base}..HEAD",
            quoted(&format!("--format={}", commits::FORMAT))
        );
        let tip = |tip: &str| match kept.committed {
            Ok(()) => format!("{base} {tip}"),
            Err(_) => format!("--cached {base}"),
        };
        let diff = |what: &str, tip: &str| {
            format!(
                "{git} diff {what} --full-index --no-color --no-ext-diff --no-textconv --submodule=short \
                 --src-prefix=a/ --dst-prefix=b/ {tip}"
            )
        };
        let head = tip("HEAD");
        let all = format!(
            "{git} rev-parse HEAD && {log} && {} && {}",
            diff("--shortstat", &head),
            diff("--numstat --summary --patch --binary", &head)
        );
        let ran = self.git(&all, "make the patch, and see what is in it")?;
        if !ran.is_well() {
            return Err(self.failed("git diff", &ran));
        }
        let (last, said) = ran.stdout.split_once('\n').unwrap_or_default();
        let (commits, rest) = commits::parse(said);
        let others = commits::told(&commits::of_others(&commits, kept.own.as_ref(), commands));
        let (changed, patch) = Changed::parse(rest);
        if changed.is_empty() {
            return Ok((changed, others));
        }
        let is_whole = !ran.truncated && !patch.contains('\u{fffd}') && !patch.contains('\r');
        if is_whole {
            artifacts::put(artifact, "text/x-patch", message.with(patch))?;
            return Ok((changed, others));
        }
        // Too long for a result, or with bytes that no text has: written by the command itself, in a form that mail keeps.
        let file = format!("../{}.patch", self.place.folder().rsplit('/').next().unwrap_or("mission"));
        let tip = tip(last);
        let write = format!(
            "{{ printf %s {}; {{ printf %s {}; {}; printf %s {}; }} | base64; }} > {} && {} && {}",
            quoted(&message.headers("base64")),
            quoted(&message.preamble()),
            diff("--patch --binary", &tip),
            quoted(SIGNATURE),
            quoted(&file),
            diff("--shortstat", &tip),
            diff("--numstat --summary", &tip)
        );
        let wrote = self.shell.run(&self.place, &write, "write the patch, which is long or has bytes that are no text");
        let wrote = wrote.map_err(|error| {
            Failure::new(format!("the patch is long, or has carriage returns or bytes that are no UTF-8, and {error}"))
                .next_action(format!(
                    "The work is on the branch {}: take it from there, or grant Bash without a scope.",
                    self.name
                ))
        })?;
        if !wrote.is_well() {
            return Err(self.failed("base64", &wrote));
        }
        let path = format!("{}.patch", self.place.folder());
        artifacts::put_file(artifact, "text/x-patch", &path)?;
        Ok((Changed::parse(&wrote.stdout).0, others))
    }

    fn git(&self, command: &str, what_for: &str) -> Result<Ran, Failure> {
        let ran = self.shell.run(&self.place, command, what_for);
        let mut ran = ran.map_err(|error| Failure::new(format!("{what_for}: {error}")).of_tool("Bash"))?;
        // Whoever was killed in the middle of a command leaves its lock.
        if let Some(lock) = stale_lock(&ran) {
            let again = format!("rm -f {} && {command}", quoted(&lock));
            if let Ok(second) = self.shell.run(&self.place, &again, what_for) {
                ran = second;
            }
        }
        Ok(ran)
    }

    fn failed(&self, command: &str, ran: &Ran) -> Failure {
        let text = format!("{command} in {}: {}: {}", self.place.folder(), ran.how(), ran.complaint());
        Failure::new(text).of_tool("Bash").next_action(format!("Look at the worktree {}.", self.place.folder()))
    }
}

/// The index's lock, where git says that it is in its way: nobody else works in this worktree.
fn stale_lock(ran: &Ran) -> Option<String> {
    let (_, rest) = ran.stderr.split_once("Unable to create '")?;
    let (path, _) = rest.split_once("index.lock': File exists")?;
    path.contains("/worktrees/").then(|| format!("{path}index.lock"))
}

/// Paths in portions that fit into a command: scoped allowances are of commands of 16 KiB, and each path stands in it twice.
fn pieces(paths: &[String]) -> Vec<&[String]> {
    const PATHS_MAX: usize = 50;
    const BYTES_MAX: usize = 6 << 10;
    let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, path) in paths.iter().enumerate() {
        let more = path.len() + 16;
        if at > from && (at - from == PATHS_MAX || bytes + more > BYTES_MAX) {
            pieces.push(&paths[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += more;
    }
    if from < paths.len() {
        pieces.push(&paths[from..]);
    }
    pieces
}

fn alone(source: &Source, why: &str) -> NoBranch {
    match source {
        Source::Folder(_) => NoBranch::FilesAlone(why.to_owned()),
        Source::Url(url) => NoBranch::Failed(Failure::new(format!("{url} could not be used: {why}"))),
    }
}

fn clone(shell: Shell<'_>, url: &str, part: &str) -> Result<Place, NoBranch> {
    let place = Place::new(&format!("clones/{part}"));
    let folder = quoted(place.folder());
    let (half, address) = (quoted(&format!("{}.part", place.folder())), quoted(url));
    // Who was killed in the middle of a clone leaves half of one, which looks like a whole one.
    let whole = format!(
        "test -e {folder}/.git || {{ rm -rf {half} && git clone --quiet -- {address} {half} && mv {half} {folder}; }}"
    );
    let plain = format!("git rev-parse --resolve-git-dir {folder}/.git || git clone --quiet -- {address} {folder}");
    let failed = |why: String| {
        NoBranch::Failed(Failure::new(format!("{url} could not be cloned: {why}")).of_tool("Bash").next_action(
            "Commands of this node may have no network: put a clone into the workspace, and name its folder in inputs.repository.",
        ))
    };
    let run = |command: &str| shell.run(&Place::new("."), command, "clone the repository");
    let ran = match run(&whole) {
        Err(CallError::Denied(_)) => run(&plain),
        ran => ran,
    };
    match ran {
        Ok(ran) if ran.is_well() => Ok(place),
        Ok(ran) => Err(failed(ran.complaint())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// What whoever looks at the patch should know of the checkout beside which it was made, by what `git status` says of it.
fn state<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut changed, mut unmerged) = (0, 0);
    for line in lines {
        changed += 1;
        if matches!(line.get(..2), Some("DD" | "AU" | "UD" | "UA" | "DU" | "AA" | "UU")) {
            unmerged += 1;
        }
    }
    let unmerged = if unmerged > 0 { format!(", {unmerged} of them in an unfinished merge") } else { String::new() };
    (changed > 0).then(|| {
        format!(
            "The repository's own checkout has {changed} changed files that are in no commit{unmerged}: they are as they were, and not in this work."
        )
    })
}

/// The same as often as it is done: what was there of it is made anew. Whether there are submodules in it.
fn check_out(
    shell: Shell<'_>,
    git: &str,
    repository: &Place,
    place: &Place,
    name: &str,
    commit: &str,
) -> Result<bool, NoBranch> {
    let up =
        if repository.folder() == "." { String::new() } else { "../".repeat(repository.folder().split('/').count()) };
    let folder = quoted(&format!("{up}{}", place.folder()));
    let command = format!(
        "{git} worktree remove --force --force {folder} 2>/dev/null; {git} worktree prune; \
         {git} worktree add --quiet --force -B {} {folder} {commit} && cd {folder} && {git} ls-files -- .gitmodules",
        quoted(name)
    );
    let ran = shell.run(repository, &command, "make a worktree on a branch of the mission's own");
    let failed = |why: String| {
        let text = format!("no worktree could be made in {}: {why}", place.folder());
        NoBranch::Failed(Failure::new(text).of_tool("Bash"))
    };
    match ran {
        Ok(ran) if ran.is_well() => Ok(!ran.stdout.trim().is_empty()),
        Ok(ran) => Err(failed(ran.complaint())),
        Err(CallError::Denied(why)) => Err(NoBranch::FilesAlone(why)),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mission_has_a_branch_that_git_takes() {
        for (mission, part) in [
            ("nightly-1", "nightly-1"),
            ("fix:20261125T020000Z", "fix+20261125T020000Z"),
            (".a..b.", "+a.+b+"),
            ("a...b", "a.+.b"),
            ("x.lock", "x+lock"),
            ("a.b_c-d", "a.b_c-d"),
        ] {
            assert_eq!(branch_part(mission), part);
        }
    }

    #[test]
    fn only_the_lock_of_a_worktree_is_taken_away() {
        let ran = |stderr: &str| Ran {
            exit_code: 128,
            stdout: String::new(),
            stderr: stderr.to_owned(),
            truncated: false,
            timed_out: false,
            stopped: None,
        };
        let lock = |path: &str| stale_lock(&ran(&format!("fatal: Unable to create '{path}': File exists.\n")));
        let path = "/workspace/r/.git/worktrees/m/index.lock";
        assert_eq!(lock(path).as_deref(), Some(path));
        assert_eq!(lock("/workspace/r/.git/index.lock"), None);
        assert_eq!(stale_lock(&ran("fatal: other")), None);
    }
}
