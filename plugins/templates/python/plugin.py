"""Finds the links of a Markdown file, fetches them side by side, and leaves a report of those that lead nowhere."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sortie_plugin import (
    Brief,
    CallError,
    Failed,
    Failure,
    Manifest,
    Mistake,
    Outcome,
    Plugin,
    TimedOut,
    Tools,
    artifacts,
    export,
    gather,
    report,
)

# Read while the component is built: it is part of it.
SCHEMA = json.loads(Path(__file__).with_name("inputs.schema.json").read_text())

AT_ONCE = 16
"""So many pages are fetched at once; a plugin has 64 calls in flight at most."""


@dataclass
class File:
    """What `Read` answers, as far as it matters here."""

    content: str
    truncated: bool


class Links(Plugin):
    def describe(self) -> Manifest:
        return Manifest(
            "{{name}}",
            "0.1.0",
            "Says which links of a Markdown file lead nowhere.",
            inputs_schema=SCHEMA,
            needs_tools=["Read", "WebFetch"],
            examples=[{"file": "README.md"}],
            outputs_schema={"properties": {"links.md": {"description": "a line for each link that leads nowhere"}}},
        )

    def check(self, brief: Brief) -> list[Mistake]:
        """What a schema cannot say, found before the mission is accepted."""
        if brief.inputs["file"].endswith(".md"):
            return []
        return [Mistake("/inputs/file", "not_markdown", "name a Markdown file: its name ends with `.md`")]

    def run(self, brief: Brief, tools: Tools) -> Outcome:
        file = brief.inputs["file"]
        read, fetch = tools.require("Read"), tools.require("WebFetch")
        text = read.call_as(File, path=file)
        if text.truncated:
            raise Failure(f"{file} is too long to be read at once", next_action="Split it.")
        found = links(text.content)
        report.milestone(f"{len(found)} links are looked at")

        broken = []
        for at in range(0, len(found), AT_ONCE):
            some = found[at : at + AT_ONCE]
            # All of them are on their way before the first is waited for.
            pages = gather(*[fetch.start(url=link) for link in some], return_errors=True)
            for link, page in zip(some, pages):
                if isinstance(page, (Failed, TimedOut)):
                    broken.append(f"- {link}: {page}")
                elif isinstance(page, CallError):
                    # A budget, a window: it says something about the mission, not about the page.
                    raise Failure(
                        f"{fetch.name}: {page}",
                        tool=fetch.name,
                        next_action="Look which pages the mission may fetch, and what its budget is.",
                    )
                elif not 200 <= page["status"] < 400:
                    broken.append(f"- {link}: {page['status']}")

        told = f"{len(broken)} of {len(found)} links lead nowhere"
        lines = "\n".join(broken)
        artifacts.put("links.md", "text/markdown", f"# {file}\n\n{told}.\n\n{lines}\n")
        # The first of the envelope's `success_criteria`, where it has one.
        if brief.success_criteria:
            report.judge(0, "unmet" if broken else "met", told)
        return Outcome(told)


def links(markdown: str) -> list[str]:
    """The addresses of a Markdown text, each once, in their order."""
    return list(dict.fromkeys(re.findall(r"\]\((http[^) ]*)", markdown)))


WitWorld = export(Links)
