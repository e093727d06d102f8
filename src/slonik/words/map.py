"""`slonik map`: words or sentences on a plane, on one page that anybody opens: search, labels, selection.

Principal components of the vectors (of length one, centred) show the directions in which they differ most, and no
more; UMAP (the package umap-learn) keeps neighbours together and says little of what is far. How many neighbours the
plane keeps is measured and written on the page, for a plane shows less than it seems to.

The page holds texts and places, loads nothing, and draws points by its own script.

Shapes: N points, D dimensions.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_text
from slonik.core.numbers import check_seed
from slonik.core.progress import shown, track
from slonik.core.protocols import Encoder, FloatArray
from slonik.core.records import Record
from slonik.core.run import Result
from slonik.evaluation.long_texts import told_cut
from slonik.models.opening import open_encoder
from slonik.models.word_vectors import NAVEC_NAME, WordVectors, is_word_vectors
from slonik.reporting.page import page
from slonik.text.lines import numbered_lines
from slonik.words.measuring import SUITE
from slonik.words.opening import open_words

Method = Literal["pca", "umap"]
METHODS: dict[Method, str] = {"pca": "principal components", "umap": "UMAP"}
MOST_POINTS = 50_000
_NEIGHBOURS = 10
_MOST_WITH_NEIGHBOURS = 10_000  # points whose true neighbours are worked out and written into the page
_SAMPLE = 300
_MOST_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class Map(Result):
    """A map.

    Attributes:
        texts: what was put on it. places: (N, 2), both axes from 0 to 1.
        notes: what was dropped, and how much the plane keeps.
    """

    texts: tuple[str, ...] = ()
    places: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{len(self.texts):,} points: {self.report}", *self.notes])


def draw_map(
    model: str | Path | Encoder | WordVectors,
    texts: str | Path | Sequence[str] | None = None,
    *,
    html: str | Path,
    labels: Sequence[str] | None = None,
    method: Method = "pca",
    words: bool = False,
    layer: int | None = None,
    prefix: str | None = None,
    limit: int | None = None,
    title: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Map:
    """Put words or sentences on a plane and write the page.

    Args:
        model: word vectors (navec, a file, a folder of `slonik words train`), or any encoder.
        texts: a file with a text a line, behind a tab what it is coloured by; or texts; None = the model's own words.
        html: the page to write. labels: what each text of a sequence is coloured by.
        method: "pca" or "umap".
        words: the texts are words, and of a transformer its tokens or `layer` are asked, not its sentence vectors.
        layer: of a transformer, this layer: of sentences the mean over tokens.
        prefix: before each text; None = the encoder's own.
        limit: the first so many points (50,000). title: of the page. seed: of UMAP, None = 0.
        progress: show it on standard error.

    Raises:
        SlonikError: no text, fewer than three points, an option that means nothing here, and as `open_words`.
        MissingExtra: umap-learn, gensim or torch is missing.
    """
    check_seed(seed or 0)
    if method not in METHODS:
        raise SlonikError(f"--method is {method!r}: use pca or umap")
    if limit is not None and limit < 3:
        raise SlonikError(f"--limit is {limit}: a map wants 3 points at least")
    most = limit or MOST_POINTS
    if seed is not None and method != "umap":
        raise SlonikError(f"--seed is of umap, and {method} draws nothing at random: leave it out")
    seed = seed or 0
    _check_umap(method)
    own_words = words or texts is None or isinstance(model, WordVectors)
    found, groups, notes = _texts(texts, labels, most)
    if not own_words and isinstance(model, str | Path) and is_word_vectors(model):
        sentences = sum(" " in text for text in found) * 2 > len(found)
        own_words = not (sentences and str(model) == NAVEC_NAME)  # which is an encoder of sentences too
    with shown(progress):
        if own_words:
            if prefix is not None:
                raise SlonikError("--prefix stands before sentences: of words leave it out")
            found, groups, vectors, more = _word_rows(model, found, groups, layer, most, device)
            notes += more
        else:
            vectors, more = _sentence_rows(cast(Any, model), found, layer, prefix, device)
            notes += more
        distinct = np.unique(vectors, axis=0)[:3] if len(vectors) else vectors
        if len(distinct) < 3:
            raise SlonikError(f"{len(distinct)} different points: a map wants 3 at least")
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        places, explained = _places(unit, method, seed)
        kept = kept_neighbours(unit, places, seed=seed)
        near = _neighbours(unit) if _NEIGHBOURS < len(unit) <= _MOST_WITH_NEIGHBOURS else None
    name = model if isinstance(model, str | Path) else model.name
    if explained is not None:
        notes.append(f"the two components hold {100 * explained:.1f} % of the variance of the vectors")
    if kept is not None:
        notes.append(
            f"of the {_NEIGHBOURS} nearest by cosine, {100 * kept:.1f} % are among the {_NEIGHBOURS} nearest on the "
            f"map (chance {100 * _NEIGHBOURS / (len(unit) - 1):.1f} %)"
        )
    if near is None and len(unit) > _MOST_WITH_NEIGHBOURS:
        notes.append(f"neighbours by cosine are on pages of at most {_MOST_WITH_NEIGHBOURS:,} points")
    shown_title = title or f"{'Words' if own_words else 'Texts'} of {name}"
    lead = [f"{len(found):,} points by {METHODS[method]}.", *(note[:1].upper() + note[1:] + "." for note in notes)]
    write_text(Path(html), _page(shown_title, lead, found, groups, places, near))
    records = tuple(
        Record(suite=SUITE, task="map", variant=method, model=str(name), metric=metric, value=value, n=len(found),
               seed=seed, detail={"layer": layer})
        for metric, value in (("explained_variance", explained), ("kept_neighbours", kept)) if value is not None
    )  # fmt: skip
    return Map(report=Path(html), texts=tuple(found), places=places, notes=tuple(notes), records=records)


def _check_umap(method: str) -> None:
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ModuleNotFoundError:
            raise MissingExtra("a map by UMAP", "umap", "umap-learn") from None


def _texts(
    texts: str | Path | Sequence[str] | None, labels: Sequence[str] | None, most: int
) -> tuple[list[str], list[str] | None, list[str]]:
    """Texts, what each is coloured by, and notes of what was left out."""
    if texts is None:
        if labels is not None:
            raise SlonikError("labels belong to texts: give texts")
        return [], None, []
    notes: list[str] = []
    if isinstance(texts, str | Path):
        if labels is not None:
            raise SlonikError("labels belong to a sequence of texts: in a file they stand behind a tab")
        lines = [line for _, line in numbered_lines(Path(texts)) if line.strip()]
        parted = [line.partition("\t") for line in lines]
        tabbed = sum(1 for _, tab, _ in parted if tab)
        found = [text.strip() for text, _, _ in parted]
        groups = [label.strip() or "(none)" for _, _, label in parted] if tabbed else None
    else:
        found, groups = list(texts), None if labels is None else [str(label) for label in labels]
        if groups is not None and len(groups) != len(found):
            raise SlonikError(f"{len(found)} texts and {len(groups)} labels: give one for each")
    if not found or not any(found):
        raise SlonikError("there is no text to put on a map")
    first: dict[str, int] = {}
    for number, text in enumerate(found):
        if text:
            first.setdefault(text, number)
    if len(first) < len(found):
        notes.append(f"{len(found) - len(first):,} texts stood there twice or were empty, and were left out")
    numbers = list(first.values())
    if len(numbers) > most:
        notes.append(f"the first {most:,} of {len(numbers):,} texts")
    return [found[n] for n in numbers[:most]], groups and [groups[n] for n in numbers[:most]], notes


def _word_rows(
    model: Any, found: list[str], groups: list[str] | None, layer: int | None, most: int, device: str | None
) -> tuple[list[str], list[str] | None, FloatArray, list[str]]:
    """Words, their groups and vectors; words without one are counted."""
    if not isinstance(model, str | Path | WordVectors):
        raise SlonikError(f"words of {model.name}: give the model by its name or folder")
    if not found:
        vectors = open_words(model, layer=layer, limit=most, device=device)
        return list(vectors.words), None, vectors.rows, list(vectors.notes)
    vectors = open_words(model, layer=layer, vocabulary=found if layer is not None else None, device=device)
    rows = {number: row for number, word in enumerate(found) if (row := vectors.vector(word)) is not None}
    if not rows:
        raise SlonikError(f"{vectors.name} has a vector of none of the {len(found)} words ({found[0][:40]!r}, ...)")
    notes = [*vectors.notes]
    if len(rows) < len(found):
        without = [word for number, word in enumerate(found) if number not in rows]
        notes.append(f"{len(without):,} words have no vector ({', '.join(without[:5])}), and were left out")
    kept = [found[n] for n in rows]
    return kept, groups and [groups[n] for n in rows], np.stack(list(rows.values())), notes


def _sentence_rows(
    model: str | Path | Encoder, texts: list[str], layer: int | None, prefix: str | None, device: str | None
) -> tuple[FloatArray, list[str]]:
    """Vectors, and what was cut."""
    if layer is None:
        options: dict[str, Any] = {} if device is None else {"device": device}
        encoder = open_encoder(model, **options) if isinstance(model, str | Path) else model
        return np.asarray(encoder.encode(texts, prefix=prefix), np.float32), told_cut(encoder, texts, prefix)
    from slonik.models.encoder import TorchEncoder
    from slonik.models.kinds import is_checkpoint
    from slonik.models.loading import load

    loaded = load(model, device=device) if isinstance(model, str | Path) and is_checkpoint(model) else model
    if not isinstance(loaded, TorchEncoder):
        raise SlonikError(f"{model} is no transformer and has no layers: leave --layer out")
    states = loaded.encode_layers(texts, ["mean"], prefix=prefix)["mean"]
    if not 0 <= layer < len(states):
        raise SlonikError(f"{loaded.name} has no layer {layer}: give 0 (what goes in) to {len(states) - 1}")
    return states[layer].astype(np.float32), told_cut(loaded, texts, prefix, whole=True)


def _places(unit: FloatArray, method: Method, seed: int) -> tuple[NDArray[np.float64], float | None]:
    """(N, 2) from 0 to 1 with one scale for both axes, and of PCA the share of the variance that they hold."""
    if method == "pca":
        plane, explained = principal_plane(unit)
    else:
        import umap

        neighbours = min(15, len(unit) - 1)
        made = umap.UMAP(n_components=2, metric="cosine", random_state=seed, n_neighbors=neighbours, n_jobs=1)
        plane, explained = np.asarray(made.fit_transform(unit), np.float64), None
    low, high = plane.min(0), plane.max(0)
    span = max(float((high - low).max()), 1e-12)
    return (plane - (low + high) / 2) / span + 0.5, explained


def principal_plane(rows: FloatArray) -> tuple[NDArray[np.float64], float]:
    """(N, 2) projections of rows (N, D) on their first two principal components, and the share of variance they hold.

    The component of each axis has its largest number positive, so that the same vectors give the same picture.
    """
    centred = rows - rows.mean(0, dtype=np.float64).astype(rows.dtype)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = vectors[:, ::-1][:, :2]
    if axes.shape[1] < 2:
        axes = np.concatenate([axes, np.zeros_like(axes)], axis=1)
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(2)] + 1e-300)
    total = max(float(values.sum()), 1e-300)
    return np.asarray(centred @ axes, np.float64), float(values[::-1][:2].sum()) / total


def kept_neighbours(unit: FloatArray, places: NDArray[np.float64], *, seed: int = 0) -> float | None:
    """The share of points' ten nearest by cosine that are among their ten nearest on the plane, over a sample."""
    if len(unit) <= _NEIGHBOURS + 1:
        return None
    asked = np.random.default_rng(seed).permutation(len(unit))[:_SAMPLE]
    shares = []
    for i in asked.tolist():
        cosines = unit @ unit[i]
        distances = -((places - places[i]) ** 2).sum(1)
        cosines[i] = distances[i] = -np.inf
        there, here = (set(np.argpartition(-by, _NEIGHBOURS)[:_NEIGHBOURS].tolist()) for by in (cosines, distances))
        shares.append(len(there & here) / _NEIGHBOURS)
    return float(np.mean(shares))


def _neighbours(unit: FloatArray) -> NDArray[np.uint32]:
    """(N, 10) the nearest by cosine, the nearest first."""
    found = np.empty((len(unit), _NEIGHBOURS), np.uint32)
    for start in track(range(0, len(unit), 512), "neighbours", -(-len(unit) // 512)):
        cosines = unit[start : start + 512] @ unit.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
        best = np.argpartition(-cosines, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
        order = np.argsort(-np.take_along_axis(cosines, best, 1), axis=1, kind="stable")
        found[start : start + 512] = np.take_along_axis(best, order, 1)
    return found


_STYLE = """
main { max-width: none; padding: 1rem 1.25rem; }
header { margin-bottom: .75rem; }
.lead { font-size: .9rem; margin: 0; color: var(--muted); max-width: none; }
#board { display: grid; grid-template-columns: minmax(0, 1fr) 19rem; gap: 1rem; }
#board > div:first-child { position: relative; border: 1px solid var(--grid); border-radius: 12px; overflow: hidden;
  background: var(--surface); height: calc(100vh - 13.5rem); min-height: 22rem; }
#map { width: 100%; height: 100%; display: block; touch-action: none; cursor: crosshair; }
#tip { position: absolute; pointer-events: none; max-width: 22rem; background: var(--ink); color: var(--surface);
  border-radius: 6px; padding: .25rem .5rem; font-size: .82rem; }
aside { display: flex; flex-direction: column; gap: .6rem; font-size: .88rem; min-width: 0; }
aside input[type="search"], aside textarea { width: 100%; font: inherit; color: var(--ink); background: var(--surface);
  border: 1px solid var(--grid); border-radius: 8px; padding: .45rem .6rem; }
aside textarea { height: 9rem; resize: vertical; }
aside ul { list-style: none; margin: 0; padding: 0; max-height: 15rem; overflow: auto; }
aside li button { all: unset; cursor: pointer; display: block; padding: .1rem .3rem; border-radius: 4px; width: 100%;
  box-sizing: border-box; overflow-wrap: anywhere; }
aside li button:hover, aside li button:focus-visible { background: var(--tint); }
.row { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; }
.row button { font: inherit; border: 1px solid var(--grid); border-radius: 8px; background: var(--surface);
  color: var(--ink); padding: .3rem .7rem; cursor: pointer; }
#groups { display: flex; flex-wrap: wrap; gap: .1rem .8rem; }
#groups i { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin: 0 .3rem; }
@media (max-width: 760px) { #board { grid-template-columns: minmax(0, 1fr); }
  #board > div:first-child { height: 60vh; } }
"""
_BOARD = """\
<noscript><p class="note">This page draws with a script of its own: switch scripts on.</p></noscript>
<div id="board"><div><canvas id="map" tabindex="0" role="img"
aria-label="points; arrows move, + and - zoom, 0 shows all"></canvas>
<div id="tip" hidden></div></div>
<aside>
<label>Search <input type="search" id="search" placeholder="a word or a part of one" autocomplete="off"></label>
<div class="note" id="found" role="status"></div><ul id="results"></ul>
<div class="row"><label><input type="checkbox" id="labels" checked> labels</label>
<label><input type="checkbox" id="drag"> drag selects</label><button id="whole">Show all</button></div>
<div id="groups"></div>
<div class="row"><b id="count" role="status"></b><button id="clear">Clear</button></div>
<textarea id="selected" readonly aria-label="selected texts"></textarea>
<div id="near-title" hidden>Nearest by cosine</div><ul id="near"></ul>
<p class="note">Wheel zooms, dragging moves, Shift and dragging selects, a click selects one.</p>
</aside></div>"""


def _page(
    title: str, lead: Sequence[str], texts: Sequence[str], groups: Sequence[str] | None,
    places: NDArray[np.float64], near: NDArray[np.uint32] | None,
) -> str:  # fmt: skip
    names: list[str] = []
    group: list[int] = []
    if groups is not None:
        counts = {name: groups.count(name) for name in dict.fromkeys(groups)}
        ordered = sorted(counts, key=lambda name: -counts[name])
        names = ordered if len(ordered) <= _MOST_GROUPS else [*ordered[: _MOST_GROUPS - 1], "others"]
        number = {name: min(place, _MOST_GROUPS - 1) for place, name in enumerate(ordered)}
        group = [number[name] for name in groups]
    whole = np.clip(np.rint(places * 65535), 0, 65535).astype("<u2")
    content = {
        "texts": list(texts), "groups": names, "group": group, "places": base64.b64encode(whole.tobytes()).decode(),
        "near": None if near is None else base64.b64encode(near.astype("<u4").tobytes()).decode(),
    }  # fmt: skip
    script = resources.files("slonik.words").joinpath("map.js").read_text(encoding="utf-8")
    return page(title, eyebrow="Map", lead=[" ".join(lead)], blocks=[_BOARD], style=_STYLE, script=script, data=content)
