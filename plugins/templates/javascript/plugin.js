/** Finds the links of a Markdown file, fetches them side by side, and leaves a report of those that lead nowhere. */

import inputsSchema from "./inputs.schema.json" with { type: "json" };
import { CallError, Failure, artifacts, plugin, report } from "./vendor/sortie-plugin.js";

/** So many pages are fetched at once; a plugin has 64 calls in flight at most. */
const AT_ONCE = 16;

export const { describe, profile, check, run } = plugin({
  manifest: {
    name: "{{name}}",
    version: "0.1.0",
    description: "Says which links of a Markdown file lead nowhere.",
    inputsSchema,
    needsTools: ["Read", "WebFetch"],
    examples: [{ file: "README.md" }],
    outputsSchema: { properties: { "links.md": { description: "a line for each link that leads nowhere" } } },
  },

  /** What a schema cannot say, found before the mission is accepted. */
  check({ inputs: { file } }) {
    if (file.endsWith(".md")) return [];
    return [{ pointer: "/inputs/file", code: "not_markdown", detail: "name a Markdown file: its name ends with `.md`" }];
  },

  async run(brief, tools) {
    const { file } = brief.inputs;
    const [read, fetch] = [tools.require("Read"), tools.require("WebFetch")];
    const text = await read.call({ path: file });
    if (text.truncated) throw new Failure(`${file} is too long to be read at once`, { nextAction: "Split it." });
    const found = links(text.content);
    report.milestone(`${found.length} links are looked at`);

    const broken = [];
    for (let at = 0; at < found.length; at += AT_ONCE) {
      const some = found.slice(at, at + AT_ONCE);
      // All of them are on their way before the first is waited for.
      const pages = await Promise.allSettled(some.map((url) => fetch.call({ url })));
      pages.forEach(({ value, reason }, index) => {
        const status = value?.status ?? ofThePage(reason, fetch);
        if (!(status >= 200 && status < 400)) broken.push(`- ${some[index]}: ${status}`);
      });
    }

    const told = `${broken.length} of ${found.length} links lead nowhere`;
    artifacts.put("links.md", "text/markdown", `# ${file}\n\n${told}.\n\n${broken.join("\n")}\n`);
    // The first of the envelope's `successCriteria`, where it has one.
    if (brief.successCriteria.length > 0) report.judge(0, broken.length === 0 ? "met" : "unmet", told);
    return { summary: told };
  },
});

/** What an error says about the page; others (a budget, a window) say something about the mission, and end it. */
function ofThePage(error, fetch) {
  if (!(error instanceof CallError)) throw error;
  if (["failed", "timed-out"].includes(error.code)) return error.message;
  const nextAction = "Look which pages the mission may fetch, and what its budget is.";
  throw new Failure(`${fetch.name}: ${error.message}`, { tool: fetch.name, nextAction });
}

/** The addresses of a Markdown text, each once, in their order. */
function links(markdown) {
  return [...new Set(Array.from(markdown.matchAll(/\]\((http[^) ]*)/g), ([, link]) => link))];
}
