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
    Cancelled,
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
    human,
    limits,
    model,
    report,
    wait_any,
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
        fetched = [fetch.start(url=page, raw=False) for page in pages]
        waited = list(fetched)
        while waited:
            ready = wait_any([*waited, closing.pending])
            if ready == len(waited):
                # A limit comes near: what is not there by now is left out.
                for call in waited:
                    call.cancel()
                break
            waited.pop(ready)
        known, missing = [], []
        for page, call in zip(pages, fetched):
            try:
                answer = call.get()
            except (Cancelled, Failed, TimedOut) as why:
                missing.append(f"- {page}: {why}")
            else:
                known.append(f"# {page}\n\n{answer.get('markdown') or answer.get('text', '')}")
        print(f"fetched for {time.monotonic() - began:.6f} s")
        report.milestone(f"{len(known)} of {len(pages)} pages are read")

        written = self.write(closing, [notes.content, *known])
        if missing:
            written += "\n\nNot there:\n\n" + "\n".join(missing)
        artifacts.put("digest.md", "text/markdown", written + "\n")
        if closing.is_given():
            return self.landed()
        # One by chance, the same in each run of the mission.
        sample = random.choice(pages)
        with human.start(f"Does this digest stand? Hold it against {sample}.\n\n{written[:2000]}") as question:
            if wait_any([question, closing.pending]) == 1:
                # Nobody has answered, and a limit comes near: the end of the block withdraws the question.
                return self.landed()
            try:
                stands = question.get()
            except Denied:
                stands = "no"
        if brief.success_criteria:
            verdict = "met" if stands == "yes" else "unmet"
            report.judge(0, verdict, f"somebody said {stands}")
        return Outcome(f"a digest of {len(known)} pages; does it stand: {stands}")

    def landed(self) -> Outcome:
        """What there is stands by itself."""
        limits.land()
        return Outcome("a digest that nobody has looked at", next_action="Read digest.md.")

    def write(self, closing: limits.Closing, texts: list[str]) -> str:
        """A model's digest; the texts as they are, where time or money is nearly up."""
        if not closing.is_given():
            prompt = "Sum this up in five lines.\n\n" + "\n\n".join(texts)
            request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 500}
            with model.start(request) as answer:
                try:
                    if wait_any([answer, closing.pending]) == 0:
                        return model.text(answer.get())
                except BudgetExhausted as why:
                    print(f"no digest of a model: {why}")
        limits.land()
        return "\n\n".join(text[:500] for text in texts)


WitWorld = export(Digest)
