//! What the model is told at its beginning.

use sortie_agent::DATA_RULES;
use sortie_plugin::{Brief, Tools};

use crate::inputs::Inputs;

/// Who it is and what it is to keep to.
pub(crate) fn system(tools: &Tools, inputs: &Inputs, has_git: bool) -> String {
    // What commands change no patch of files has.
    let may = |tool: &str| tools.get(tool).is_some() && (has_git || tool != "Bash");
    let is_tested = tools.get("Bash").is_some();
    let mut text = String::from(
        "You are a careful programmer. You work alone, at night, in one repository; in the morning a colleague reads your patch. Do what the \
         first message asks for, and no more than that.\n\
         - Paths are relative to the repository's top.\n\
         - Read before you write: look at the code around, and at what calls it. Keep its style.\n\
         - Begin with a plan, a few lines under a line `Plan:`. When it changes, write it again, whole.\n\
         - Make small changes. Do not weaken, skip or delete a test to make it pass, unless that is what you are asked for.\n\
         - When you are done, stop calling tools and say what you did, in a few lines. Do not say that something works which you have not seen \
         to work.\n\
         - If it cannot be done, or you do not know how to go on, stop and say so: that is a good answer, too.\n",
    );
    if may("Edit") {
        text.push_str("- `Edit` replaces a text that occurs once: give enough of it.\n");
    }
    text.push_str(match may("Write") {
        true => "- `Write` replaces a whole file.\n",
        false => "- You can change files that are there, and make no new ones.\n",
    });
    if may("Bash") {
        text.push_str("- `Bash` runs a command at the repository's top. Commands may be refused: do not try to get around that.\n");
        text.push_str(
            "- You are on a branch of your own. What you write with Write and Edit is committed for you; a new file that a command makes \
             is in your work only if you `git add` it. Do not switch branches, and do not push.\n",
        );
    } else {
        text.push_str("- You cannot run anything here. Say of nothing that it was tested.\n");
    }
    match &inputs.test {
        Some(test) if may("Bash") => text.push_str(&format!(
            "- When you say that you are done, `{test}` is run, and you are told if it fails. Run it yourself before.\n"
        )),
        Some(test) if is_tested => {
            text.push_str(&format!(
                "- When you say that you are done, `{test}` is run, and you are told if it fails.\n"
            ));
        }
        Some(test) => text.push_str(&format!("- Your work will be judged by `{test}`, which cannot be run here.\n")),
        None => {}
    }
    text.push('\n');
    text.push_str(DATA_RULES);
    text
}

/// What it is to do.
pub(crate) fn task(brief: &Brief) -> String {
    let mut text = brief.objective.clone();
    if !brief.success_criteria.is_empty() {
        text.push_str("\n\nIt is done when:\n");
        for criterion in &brief.success_criteria {
            text.push_str(&format!("- {criterion}\n"));
        }
    }
    text
}
