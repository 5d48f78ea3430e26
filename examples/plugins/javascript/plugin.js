/** Makes a digest of notes and of some pages: a model writes it, a person says whether it stands, and it is there before time is up. */

import inputsSchema from "./inputs.schema.json" with { type: "json" };
import { CallError, artifacts, human, limits, model, plugin, report } from "./vendor/sortie-plugin.js";

export const { describe, profile, check, run } = plugin({
  manifest: {
    name: "digest-javascript",
    version: "0.1.0",
    description: "Makes a digest of notes and pages, with a model and a person.",
    inputsSchema,
    needsModel: true,
    needsTools: ["Read", "WebFetch"],
  },

  check({ inputs: { pages } }) {
    const isTwice = (page, index) => pages.indexOf(page) < index;
    const twice = pages.flatMap((page, index) => (isTwice(page, index) ? [index] : []));
    return twice.map((index) => ({ pointer: `/inputs/pages/${index}`, code: "twice", detail: "this page is there already" }));
  },

  async run(brief, tools) {
    const closing = limits.closing();
    const [read, fetch] = [tools.require("Read"), tools.require("WebFetch")];
    const { pages } = brief.inputs;
    const notes = await read.call({ path: brief.inputs.notes });
    const began = Date.now();
    // All of them are on their way before the first is waited for.
    const calls = pages.map((url) => fetch.call({ url, raw: false }));
    const all = Promise.allSettled(calls);
    // What is not there when a limit comes near is left out: its promise is rejected as `cancelled`. Nothing becomes of the others.
    await Promise.race([all, closing.pending]);
    for (const call of calls) call.cancel();
    const fetched = await all;
    const [known, missing] = [[], []];
    fetched.forEach(({ value, reason }, index) => {
      if (value !== undefined) {
        known.push(`# ${pages[index]}\n\n${value.markdown ?? value.text ?? ""}`);
      } else if (reason instanceof CallError && ["cancelled", "failed", "timed-out"].includes(reason.code)) {
        missing.push(`- ${pages[index]}: ${reason.message}`);
      } else {
        throw reason;
      }
    });
    console.log(`fetched for ${Date.now() - began} ms`);
    report.milestone(`${known.length} of ${pages.length} pages are read`);

    let written = await write(closing, [notes.content, ...known]);
    if (missing.length > 0) written += `\n\nNot there:\n\n${missing.join("\n")}`;
    artifacts.put("digest.md", "text/markdown", `${written}\n`);
    if (closing.isGiven()) return landed();
    // One by chance, the same in each run of the mission.
    const sample = pages[Math.floor(Math.random() * pages.length)];
    const question = `Does this digest stand? Hold it against ${sample}.\n\n${written.slice(0, 2000)}`;
    const asked = human.ask(question);
    const answer = asked.catch((error) => {
      if (error instanceof CallError && error.code === "denied") return "no";
      throw error;
    });
    const stands = await Promise.race([answer, closing.pending.then(() => undefined)]);
    if (stands === undefined) {
      // Nobody has answered, and a limit comes near: the question is withdrawn.
      asked.cancel();
      return landed();
    }
    if (brief.successCriteria.length > 0) {
      report.judge(0, stands === "yes" ? "met" : "unmet", `somebody said ${stands}`);
    }
    return { summary: `a digest of ${known.length} pages; does it stand: ${stands}` };
  },
});

/** What there is stands by itself. */
function landed() {
  limits.land();
  return { summary: "a digest that nobody has looked at", nextAction: "Read digest.md." };
}

/** A model's digest; the texts as they are, where time or money is nearly up. */
async function write(closing, texts) {
  if (!closing.isGiven()) {
    const content = `Sum this up in five lines.\n\n${texts.join("\n\n")}`;
    const asked = model.complete({ messages: [{ role: "user", content }], max_tokens: 500 });
    try {
      const answer = await Promise.race([asked, closing.pending.then(() => undefined)]);
      if (answer !== undefined) return model.text(answer);
      asked.cancel();
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== "budget-exhausted") throw error;
      console.log(`no digest of a model: ${error.message}`);
    }
  }
  limits.land();
  return texts.map((text) => text.slice(0, 500)).join("\n\n");
}
