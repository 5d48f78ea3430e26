//! A mission from its beginning to its end, and what each ending means.
//!
//! `completed` is what the model says to be done, what changes something, and what no test and no criterion contradicts. Everything else is
//! `failed`, with what there is of the work, why it is not done, and how to go on.

use sortie_agent::{Ending, Granted, Session, Settings, last_words, missing_model, work_until_landing};
use sortie_plugin::report::{self, Verdict};
use sortie_plugin::{Brief, Failure, Outcome, Tools, artifacts, json, model};

use crate::changed::Changed;
use crate::git::{Branch, NoBranch};
use crate::inputs::{Inputs, Source, TURNS, source};
use crate::judge::{self, Judged, Test};
use crate::mbox::Message;
use crate::place::Place;
use crate::prompt;
use crate::shell::Shell;
use crate::summary::Summary;
use crate::workshop::Workshop;

const PATCH: &str = "changes.patch";

/// Does the mission.
pub(crate) fn run(brief: &Brief, tools: &Tools) -> Result<Outcome, Failure> {
    let inputs: Inputs = brief.inputs()?;
    if let Some(missing) = missing_model(inputs.model.as_deref()) {
        return Err(missing);
    }
    tools.require("Read")?;
    if tools.get("Edit").is_none() {
        tools.require("Write")?;
    }
    let granted = Granted::new(tools);
    let shell = tools.get("Bash").map(Shell::new);
    let mut notes = Vec::new();
    let (branch, place) = place(brief, tools, &inputs, shell, &mut notes)?;
    // What commands change is in no patch that is made of what was written.
    let granted = if branch.is_none() { granted.without("Bash") } else { granted };
    let mut mission = Mission {
        brief,
        inputs: &inputs,
        shell,
        session: Session::new(settings(brief, tools, &inputs, branch.is_some())),
        world: Workshop::new(granted, place, branch.is_none()),
        branch,
        notes,
    };
    let (ending, test) = mission.work();
    mission.end(&ending, &test)
}

/// Where the work is done: on a branch where git can be run, else on the files.
fn place<'a>(
    brief: &Brief,
    tools: &Tools,
    inputs: &Inputs,
    shell: Option<Shell<'a>>,
    notes: &mut Vec<String>,
) -> Result<(Option<Branch<'a>>, Place), Failure> {
    let source = source(&inputs.repository)?;
    let why = match shell {
        None => "the mission is not granted Bash".to_owned(),
        Some(shell) => match Branch::make(shell, &source, inputs.base.as_deref(), &brief.mission_id, notes) {
            Ok(branch) => {
                report::milestone(format!("works on branch {} in {}", branch.name, branch.place.folder()));
                let place = branch.place.clone();
                return Ok((Some(branch), place));
            }
            Err(NoBranch::Failed(failure)) => return Err(failure),
            Err(NoBranch::FilesAlone(why)) => why,
        },
    };
    let Source::Folder(folder) = source else {
        return Err(Failure::new(format!("{} cannot be cloned: {why}", inputs.repository)).next_action(
            "Grant Bash (on a node whose commands have a network), or name a folder of the workspace in inputs.repository.",
        ));
    };
    if let Some(base) = &inputs.base {
        return Err(Failure::new(format!("`{base}` cannot be checked out: {why}")).next_action(
            "Leave inputs.base out to work on the files as they are, or grant Bash (or Bash(cd *) and Bash(git *)).",
        ));
    }
    if folder != "." && !has_files(tools, &folder) {
        return Err(Failure::new(format!("`{folder}` holds no file in the workspace of this session")).next_action(
            "Put the repository there first, by another mission of the session, and dispatch this one again.",
        ));
    }
    report::milestone(format!("works on the files of {folder}"));
    let withheld =
        if shell.is_some() { " The model ran no commands: what they change would be in no patch." } else { "" };
    notes.push(format!(
        "Git was not used ({why}): the files themselves were changed, and the patch was made from them.{withheld}"
    ));
    Ok((None, Place::new(&folder)))
}

/// Whether there is anything to work on. Where nobody can look, the model will see.
fn has_files(tools: &Tools, folder: &str) -> bool {
    let Some(glob) = tools.get("Glob") else { return true };
    let found = glob.call(&json!({ "pattern": format!("{folder}/**") }));
    found.map_or(true, |found| found["paths"].as_array().is_none_or(|paths| !paths.is_empty()))
}

fn settings(brief: &Brief, tools: &Tools, inputs: &Inputs, has_git: bool) -> Settings {
    let settings = Settings {
        model: inputs.model.clone(),
        max_turns: inputs.max_turns.unwrap_or(TURNS),
        reasoning: inputs.reasoning.clone(),
        max_tokens: inputs.max_tokens.unwrap_or(8_192),
        ..Settings::new(prompt::system(tools, inputs, has_git), prompt::task(brief))
    };
    let models = model::describe();
    let meant = models.iter().find(|model| match &inputs.model {
        Some(name) => model.name == *name,
        None => model.is_default,
    });
    settings.context_tokens(meant.and_then(|model| model.context_tokens))
}

/// A mission that is under way.
struct Mission<'a> {
    brief: &'a Brief,
    inputs: &'a Inputs,
    shell: Option<Shell<'a>>,
    session: Session,
    world: Workshop<'a>,
    branch: Option<Branch<'a>>,
    notes: Vec<String>,
}

impl Mission<'_> {
    /// Lets the model work until its work passes the tests, or until it is no use.
    fn work(&mut self) -> (Ending, Test) {
        let mut tested_at = None;
        let mut test = Test::NotNamed;
        loop {
            let ending = work_until_landing(&mut self.session, &mut self.world);
            if matches!(ending, Ending::Landed(_)) {
                // What the tests say would come too late, or be cut off itself.
                let test = match test {
                    Test::Ran(_) if tested_at == Some(self.world.changes()) => test,
                    _ if self.inputs.test.is_none() => Test::NotNamed,
                    _ => Test::NotRun("the mission was at its limit".to_owned()),
                };
                return (ending, test);
            }
            if tested_at == Some(self.world.changes()) && test.fails() {
                return (ending, test);
            }
            if tested_at != Some(self.world.changes()) {
                let Some(tested) = self.test() else {
                    self.session.close();
                    continue;
                };
                if let (Test::Ran(_), Test::NotRun(why)) = (&test, &tested) {
                    self.notes.push(format!(
                        "The tests could not be run again after the last changes ({why}): what is told of them is of before."
                    ));
                    return (ending, test);
                }
                test = tested;
                if let Test::Ran(ran) = &test {
                    let how = if ran.is_well() { "pass".to_owned() } else { format!("fail: {}", ran.complaint()) };
                    report::milestone(format!("the tests {how}"));
                }
            }
            tested_at = Some(self.world.changes());
            if !matches!(ending, Ending::Said(_)) || !test.fails() {
                return (ending, test);
            }
            let evidence = test.evidence(self.inputs.test.as_deref().unwrap_or_default());
            self.session.go_on(&format!(
                "It is not done. {evidence}\n\nGo on. If you think that the test is wrong, or that it cannot be done, say so and change nothing."
            ));
        }
    }

    fn test(&self) -> Option<Test> {
        let Inputs { test, test_timeout_ms, .. } = self.inputs;
        judge::test(self.shell, self.world.place(), test.as_deref(), *test_timeout_ms, self.world.patience())
    }

    /// Leaves what there is, judges it, and says how the mission ended.
    fn end(mut self, ending: &Ending, test: &Test) -> Result<Outcome, Failure> {
        let words = match ending {
            Ending::Said(words) | Ending::Refused(words) => Some(words.clone()),
            _ => None,
        };
        let message = Message::new(&self.brief.vp_id, &self.brief.mission_id, &self.brief.objective);
        let kept = self.keep(&message);
        let (changed, others) = kept.clone().unwrap_or_default();
        let is_done = matches!(ending, Ending::Said(_)) && test.allows() && !changed.is_empty() && kept.is_ok();
        let command = self.inputs.test.as_deref();
        let judged = judge::judge(
            &self.brief.success_criteria,
            (test, command),
            self.shell,
            is_done,
            &mut self.session,
            &mut self.world,
        );
        let outcome = self.outcome(ending, test, &judged, (&changed, others.as_deref()), kept.err());
        let (line, next) = match &outcome {
            Ok(outcome) => (&outcome.summary, &outcome.next_action),
            Err(failure) => (&failure.summary, &failure.next_action),
        };
        let mut summary = Summary {
            objective: &self.brief.objective,
            ending: line.clone(),
            is_done: outcome.is_ok(),
            words: words.as_deref(),
            changed: &changed,
            branch: self.branch.as_ref().map(|branch| (branch.name.as_str(), branch.base.as_str())),
            test,
            command,
            judged: &judged,
            notes: &self.notes,
            next: next.as_deref().unwrap_or_default(),
            session: &self.session,
        };
        summary.leave()?;
        if matches!(ending, Ending::Landed(_)) {
            // All of it is kept: whether there is time for an answer makes no difference to that.
            let mut session = self.session.clone();
            if let Ending::Landed(words) = last_words(&mut session, &mut self.world) {
                (summary.words, summary.session) = (words.as_deref(), &session);
                summary.leave()?;
            }
        }
        outcome
    }

    /// Commits, and leaves the patch: which files it changes, and what is to be said of commits in it that somebody else made.
    fn keep(&mut self, message: &Message) -> Result<(Changed, Option<String>), Failure> {
        let Some(branch) = &self.branch else {
            let Some(originals) = self.world.originals() else { return Ok((Changed::default(), None)) };
            let (diff, changed) = originals.diff(self.world.tools(), self.world.place())?;
            if !diff.is_empty() {
                artifacts::put(PATCH, "text/x-patch", message.with(&diff))?;
            }
            return Ok((changed, None));
        };
        let kept = branch.commit(message, &self.world.written())?;
        if let Err(why) = &kept.committed {
            self.notes.push(format!(
                "Nothing was committed ({why}): the work is in the worktree {} and in {PATCH}.",
                branch.place.folder()
            ));
        }
        if let Some(strayed) = &kept.strayed {
            let to = if strayed.is_empty() { "no branch at all".to_owned() } else { format!("the branch {strayed}") };
            self.notes.push(format!(
                "The model had switched to {to}: the branch {} was set to what it had there, with the rest of the work on it.",
                branch.name
            ));
        }
        for path in &kept.ignored {
            self.notes.push(format!("`{path}` was written, and git ignores it: it is not in the patch."));
        }
        for (path, why) in &kept.refused {
            self.notes.push(format!("`{path}` was written, and git does not take it ({why}): it is not in the patch."));
        }
        if !kept.left_out.is_empty() {
            let shown = kept.left_out.iter().take(10).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
            self.notes
                .push(format!("{} new files that commands made are not in the patch: {shown}.", kept.left_out.len()));
        }
        let (changed, others) = branch.leave_patch(message, &kept, self.world.commands(), PATCH)?;
        if let Some(others) = &others {
            self.notes.push(format!("{others}. What they changed is in the work and in the patch: look at it."));
        }
        Ok((changed, others))
    }

    fn outcome(
        &self,
        ending: &Ending,
        test: &Test,
        judged: &[Judged],
        (work, others): (&Changed, Option<&str>),
        lost: Option<Failure>,
    ) -> Result<Outcome, Failure> {
        let changed = match work.total {
            0 => "nothing is changed".to_owned(),
            1 => "1 file is changed".to_owned(),
            n => format!("{n} files are changed"),
        };
        let tested = match test {
            Test::Ran(ran) if ran.is_well() => "the tests pass".to_owned(),
            Test::Ran(ran) => format!("the tests fail ({}: {})", ran.how(), ran.complaint()),
            Test::NoResult(why) => format!("the tests have no result ({why})"),
            Test::NotNamed | Test::NotRun(_) => "no test was run".to_owned(),
        };
        if let Some(lost) = lost {
            return Err(lost);
        }
        // What people must not overlook is in the line that they read first.
        let others = others.map(|others| format!("; {others}")).unwrap_or_default();
        let there_is = format!("{changed}, {tested}{}{others}", work.asides(self.inputs.test.as_deref()));
        let failed = |why: String| Err(Failure::new(format!("{why}; {there_is}")).next_action(self.go_on(work)));
        let unmet = judged.iter().find(|judged| judged.verdict == Verdict::Unmet);
        match (ending, unmet) {
            (Ending::Said(_), _) if work.is_empty() => failed("the model says that it is done".to_owned()),
            (Ending::Said(_), _) if !test.allows() => failed(
                if test.fails() {
                    "the model says that it is done, and it is not"
                } else {
                    "nobody knows whether it is done"
                }
                .to_owned(),
            ),
            (Ending::Said(_), Some(unmet)) => failed(format!("not met: {}", unmet.criterion)),
            (Ending::Said(_), None) => Ok(Outcome::new(there_is.clone()).next_action(self.merge(test))),
            (other, _) => failed(other.to_string()),
        }
    }

    /// What to do with work that is done.
    fn merge(&self, test: &Test) -> String {
        let tested = if test.passes() { "" } else { " Run the tests: nobody has." };
        match &self.branch {
            Some(branch) => {
                format!("Read {PATCH}, then merge {} (or `git am` it on {}).{tested}", branch.name, &branch.base)
            }
            None => format!("Read {PATCH}; the files of {} are changed already.{tested}", self.world.place().folder()),
        }
    }

    /// What to do with work that is not.
    fn go_on(&self, work: &Changed) -> String {
        let look = "Read summary.md and the end of transcript.jsonl.";
        match &self.branch {
            Some(branch) if !work.is_empty() => {
                format!("{look} To go on from here, dispatch a mission with inputs.base = \"{}\".", branch.name)
            }
            Some(_) => format!("{look} Then dispatch it again with an objective that is plainer, or more of a budget."),
            None => format!("{look} The files of {} are as the model left them.", self.world.place().folder()),
        }
    }
}
