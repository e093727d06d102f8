"""The interactive part of the inspection page: one text, in one model or in two beside each other, from records alone.

Attention of any layer, head and stack, between words or tokens, with special tokens or without; what a score hangs on;
the logit lens; neighbours in every layer. Script and data lie in the page, which loads nothing: its policy lets that
one script run, by its hash. Weights are kept to 1/255 of their row's greatest, and drawn relative to it, so that rows
that spread over hundreds of tokens are legible too. Head and model view follow BertViz (Vig 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from slonik.core.records import Record
from slonik.inspection import SUITE
from slonik.reporting.page import page, section

_STYLE = """
.panels { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.panel { flex: 1 1 26rem; min-width: 0; }
h3 { font-size: 1rem; margin: .25rem 0 .5rem; overflow-wrap: anywhere; }
.tools, .switches { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: 0 0 .5rem; }
.tools button, .tools select { font: inherit; border: 1px solid var(--grid); border-radius: 8px; padding: .25rem .6rem;
  background: var(--surface); color: var(--ink); cursor: pointer; }
.which { font-weight: 600; margin: 0 0 .5rem; }
.heads { display: flex; flex-wrap: wrap; gap: .35rem; margin: 0 0 .75rem; }
.heads.grid { display: block; overflow-x: auto; }
.heads .line { display: flex; gap: 3px; align-items: center; margin-bottom: 3px; }
.heads .line > span { width: 1.6rem; text-align: right; color: var(--muted); font-size: .75rem; flex: none; }
.heads button { border: 1px solid var(--grid); border-radius: 6px; background: var(--surface); padding: 2px;
  line-height: 0; cursor: pointer; font: inherit; color: var(--muted); display: grid; justify-items: center; }
.heads button span { line-height: 1.2; font-size: .75rem; }
.heads button[aria-pressed="true"] { border-color: var(--s2); box-shadow: 0 0 0 1px var(--s2); color: var(--ink); }
.heads canvas { image-rendering: pixelated; }
.matrix canvas { display: block; width: 100%; max-width: 32rem; image-rendering: pixelated; cursor: crosshair;
  border: 1px solid var(--grid); }
.told { color: var(--muted); font-size: .85rem; min-height: 1.4em; margin: .3rem 0 .8rem; }
.view svg { display: block; width: 100%; max-width: 36rem; height: auto; }
.token { font-family: var(--font); fill: var(--ink); }
text[tabindex] { cursor: pointer; }
.chosen { font-weight: 700; fill: var(--s2); }
input[type="range"] { width: 10rem; vertical-align: middle; accent-color: var(--s1); }
.coloured { max-width: none; line-height: 2; }
.coloured span { border-radius: 4px; padding: .15rem .2rem; }
.lens td, .lens th { text-align: left; padding: .3rem .5rem; }
.lens th:first-child { min-width: 2.5rem; }
.lens td.right { font-weight: 650; }
.panel ol { padding-left: 1.4rem; } .panel li small { color: var(--muted); }
"""
_SWITCHES = """\
<noscript><p class="note">This page draws with a script of its own: switch scripts on.</p></noscript>
<div class="switches"><label><input type="checkbox" id="words"> words instead of tokens</label>
<label><input type="checkbox" id="specials"> special tokens</label></div>"""
_ATTENTION_NOTE = (
    "Left: what attends. Right: what it attends to; darker is nearer to the greatest weight of its row. Choose a head, "
    "then a word on the left to see its weights alone."
)
_LONGEST = 240  # characters of a text at the head of the page
_NAMES = {"self": "attention", "encoder": "encoder", "decoder": "decoder", "cross": "cross-attention"}


def has_text(records: Sequence[Record]) -> bool:
    """Whether there is anything for this page."""
    return any(record.suite == SUITE and record.task == "text" for record in records)


def text_page(title: str, records: Sequence[Record], *, extra: str = "") -> str:
    """The page.

    Args:
        extra: HTML of further sections, made by `slonik.reporting.page`.
    """
    own = [record for record in records if record.suite == SUITE and record.task == "text"]
    data = {"attention": _attention(own), "attributions": _attributions(own), "lens": _lens(own),
            "neighbours": _neighbours(own)}  # fmt: skip
    lead, blocks = _leads(own), []
    if data["attention"] or data["attributions"]:
        blocks.append(_SWITCHES)
    for name, heading, note in (
        ("attention", "Attention", _ATTENTION_NOTE),
        ("attributions", "What the score hangs on", "Integrated gradients: blue is for the score, orange against it."),
        ("lens", "Logit lens", _lens_note(own)),
        ("neighbours", "Nearest texts, layer by layer", "By the cosine of the centred means over tokens."),
    ):
        if data[name]:
            kind = "" if name == "attributions" else ' class="panels"'
            blocks.append(section(heading, f'<p class="note">{escape(note)}</p><div id="{name}"{kind}></div>'))
    script = resources.files("slonik.inspection").joinpath("text_page.js").read_text(encoding="utf-8")
    return page(title, eyebrow="Inspection", lead=lead, blocks=[*blocks, extra], style=_STYLE, script=script, data=data)


def _leads(records: Sequence[Record]) -> list[str]:
    """The texts, each once, and how much of them the models do not read."""
    lines: dict[str, None] = {}
    for record in records:
        sides = [record.detail[key] for key in ("rows", "columns") if key in record.detail]
        sides += [*record.detail.get("parts", ()), *([record.detail] if "text" in record.detail else [])]
        for side in sides:
            text = str(side["text"])
            lines[text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"] = None
            if side.get("cut"):
                lines[f"{record.model} does not read the last {side['cut']:,} characters."] = None
    return list(lines)


def _models(records: Sequence[Record], metric: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.metric == metric:
            found.setdefault(record.model, []).append(record)
    return found


def _attention(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"model": model, "stacks": [
            {"name": _NAMES.get(record.variant, record.variant), "rows": record.detail["rows"],
             "columns": record.detail.get("columns", record.detail["rows"]), "layers": record.detail["layers"]}
            for record in own
        ]}
        for model, own in _models(records, "text_attention").items()
    ]  # fmt: skip


def _attributions(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"model": record.model, "target": record.detail["target"], "score": record.value,
         "baseline": record.detail["baseline"], "token": record.detail["baseline_token"], "gap": record.detail["gap"],
         "steps": record.detail["steps"], "parts": record.detail["parts"]}
        for own in _models(records, "attribution").values() for record in own
    ]  # fmt: skip


def _lens(records: Sequence[Record]) -> list[dict[str, Any]]:
    found = []
    for model, own in _models(records, "log_probability").items():
        ordered = sorted(own, key=lambda record: record.layer or 0)
        found.append({"model": model, "truths": ordered[0].detail["truths"],
                      "layers": [record.detail["cells"] for record in ordered]})  # fmt: skip
    return found


def _lens_note(records: Sequence[Record]) -> str:
    kinds = {str(record.detail["kind"]) for record in records if record.metric == "log_probability"}
    what = {"masked in turn": "each token masked in turn", "mask tokens": "the mask tokens of the text",
            "the next token": "each token from those before it"}  # fmt: skip
    said = "; ".join(what.get(kind, kind) for kind in sorted(kinds))
    return (
        f"What the model would predict if it ended after a layer ({said}): the likeliest token, its probability, and "
        "the rank of the token that stands there. The last layer is the model's own prediction."
    )


def _neighbours(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"model": model, "layers": [
            {"layer": record.layer, "answers": record.detail["answers"]}
            for record in sorted(own, key=lambda record: record.layer or 0)
        ]}
        for model, own in _models(records, "nearest_cosine").items()
    ]  # fmt: skip
