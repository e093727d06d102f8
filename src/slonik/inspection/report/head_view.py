"""An interactive page of one sentence: who attends to whom, for every layer and head, in a single file.

The script and the data are inside the page; the page's policy lets that one script run, by its hash, and loads nothing.
Without scripts the page says so. Weights are kept to 1/255. The view follows BertViz's head view (Vig 2019).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.version import __version__

_STYLE = """
#grid { display: flex; flex-wrap: wrap; gap: .5rem; margin: .75rem 0 1rem; }
#grid button { border: 1px solid var(--grid); border-radius: 8px; background: var(--surface); padding: .35rem;
  cursor: pointer; font: inherit; color: var(--muted); display: grid; gap: .2rem; justify-items: center; }
#grid button[aria-pressed="true"] { border-color: var(--s2); box-shadow: 0 0 0 1px var(--s2); color: var(--ink); }
#grid canvas { width: 56px; height: 56px; image-rendering: pixelated; }
#view { display: block; width: 100%; max-width: 46rem; height: auto; margin: 0 auto; }
.token { font: 14px var(--font); fill: var(--ink); }
text[tabindex] { cursor: pointer; }
.chosen { font-weight: 700; fill: var(--s2); }
input[type="range"] { width: min(24rem, 100%); accent-color: var(--s1); }
"""


def head_view(
    model: str, text: str, tokens: Sequence[str], attentions: Sequence[NDArray[np.floating]], *, extra: str = ""
) -> str:
    """The page.

    Args:
        tokens: T pieces as shown. attentions: per layer (H, T, T), rows over the tokens attended to.
        extra: HTML of further sections, made by `slonik.reporting.page`.

    Raises:
        SlonikError: weights of another shape than the tokens.
    """
    for layer in attentions:
        if layer.ndim != 3 or layer.shape[1:] != (len(tokens), len(tokens)):
            raise SlonikError(f"attention of shape {layer.shape} does not fit {len(tokens)} tokens")
    content = {"tokens": list(tokens), "layers": [_packed(layer) for layer in attentions]}
    script = resources.files("slonik.inspection.report").joinpath("head_view.js").read_text(encoding="utf-8")
    style = resources.files("slonik.reporting").joinpath("page.css").read_text(encoding="utf-8") + _STYLE
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=True)}">\n'
        f"<title>Attention of {escape(model)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">Attention</p><h1>{escape(model)}</h1><p class="lead">{escape(text)}</p></header>\n'
        '<section><h2 id="layer-name">Heads</h2>\n'
        '<p class="note">Left: the token that attends. Right: what it attends to. Choose a head, then a token on the '
        "left to see its weights alone.</p>\n"
        '<noscript><p class="note">This page draws with a script of its own: switch scripts on.</p></noscript>\n'
        '<label>layer <input type="range" id="layer" min="1" max="1" value="1" step="1"></label>\n'
        '<div id="grid"></div>\n<svg id="view" role="img" aria-label="lines between tokens"></svg></section>\n'
        f"{extra}\n<footer>Written by slonik {escape(__version__)}.</footer>\n</main>\n"
        f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _packed(layer: NDArray[np.floating]) -> dict[str, object]:
    values = np.clip(np.round(np.asarray(layer, dtype=np.float64) * 255), 0, 255).astype(np.uint8)
    return {"heads": int(layer.shape[0]), "weights": base64.b64encode(values.tobytes()).decode("ascii")}
