"""Makes a digest of notes and of some pages: a model writes it, a person says whether it stands, and it is there before time is up."""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

from sortie_plugin import (
    Brief,
    BudgetExhausted,
    CallError,
    Denied,
    Failed,
    Manifest,
    Mistake,
    Outcome,
    Plugin,
    TimedOut,
    Tools,
    artifacts,
    export,
    gather,
    human,
    limits,
    model,
    report,
)

# Read while the component is built: it is part of it.
SCHEMA = json.loads(Path(__file__).with_name("inputs.schema.json").read_text())


@dataclass
class File:
    """What `Read` answers, as far as it matters here."""

    content: str
    truncated: bool


class Digest(Plugin):
    def describe(self) -> Manifest:
        return Manifest(
            "digest-python",
            "0.1.0",
            "Makes a digest of notes and pages, with a model and a person.",
            inputs_schema=SCHEMA,
            needs_model=True,
            needs_tools=["Read", "WebFetch"],
        )

    def check(self, brief: Brief) -> list[Mistake]:
        pages = brief.inputs["pages"]
        twice = [index for index, page in enumerate(pages) if page in pages[:index]]
        return [Mistake(f"/inputs/pages/{index}", "twice", "this page is there already") for index in twice]

    def run(self, brief: Brief, tools: Tools) -> Outcome:
        closing = limits.closing()
        read, fetch = tools.require("Read"), tools.require("WebFetch")
        notes = read.call_as(File, path=brief.inputs["notes"])
        pages = brief.inputs["pages"]
        began = time.monotonic()
        # All of them are on their way before the first is waited for.
        fetched = gather(*[fetch.start(url=page, raw=False) for page in pages], return_errors=True)
        known, missing = [], []
        for page, answer in zip(pages, fetched):
            if isinstance(answer, (Failed, TimedOut)):
                missing.append(f"- {page}: {answer}")
            elif isinstance(answer, CallError):
                raise answer
            else:
                known.append(f"# {page}\n\n{answer.get('markdown') or answer.get('text', '')}")
        print(f"fetched for {time.monotonic() - began:.6f} s")
        report.milestone(f"{len(known)} of {len(pages)} pages are read")

        written = self.write(closing, [notes.content, *known])
        if missing:
            written += "\n\nNot there:\n\n" + "\n".join(missing)
        artifacts.put("digest.md", "text/markdown", written + "\n")
        if closing.is_given():
            limits.land()
            return Outcome("a digest that nobody has looked at", next_action="Read digest.md.")
        try:
            # One by chance, the same in each run of the mission.
            sample = random.choice(pages)
            stands = human.ask(f"Does this digest stand? Hold it against {sample}.\n\n{written[:2000]}")
        except Denied:
            stands = "no"
        if brief.success_criteria:
            verdict = "met" if stands == "yes" else "unmet"
            report.judge(0, verdict, f"somebody said {stands}")
        return Outcome(f"a digest of {len(known)} pages; does it stand: {stands}")

    def write(self, closing: limits.Closing, texts: list[str]) -> str:
        """A model's digest; the texts as they are, where time or money is nearly up."""
        if not closing.is_given():
            try:
                return model.ask("Sum this up in five lines.\n\n" + "\n\n".join(texts), max_tokens=500)
            except BudgetExhausted as why:
                print(f"no digest of a model: {why}")
        limits.land()
        return "\n\n".join(text[:500] for text in texts)


WitWorld = export(Digest)
