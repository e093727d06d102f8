"""What a score hangs on, token by token: integrated gradients, and attention rollout beside them.

Integrated gradients (Sundararajan, Taly, Yan 2017): the gradient of the score by the token embeddings, averaged along
the straight line from a baseline to the text, times the way. The baseline is the same row with the mask token (else
the padding, else the unknown token) in the place of every token of the text. The attributions sum up to the score
minus the baseline's: what is left over is the error of the sum over the line, which is kept beside, and made smaller
with more steps until it is under one percent.

Attention rollout (Abnar, Zuidema 2020): attention of all layers, averaged over heads, half of it the residual way,
multiplied from the first layer to the last. It knows nothing of values or of a score: read it as where a token's state
could come from, not as an explanation.

Scores: a label's logit or a number of a model with a head, the logit of a word's tag, the cosine of two sentences.
Embeddings are replaced where the model looks them up, so any family and any head will do. No package is needed.

Shapes: T tokens, D dimensions, L labels, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.errors import SlonikError, lookup
from slonik.core.records import Record
from slonik.inspection import inspection_record
from slonik.inspection.attention_weights import attention_weights
from slonik.inspection.inputs import open_transformer
from slonik.inspection.text_tokens import TextTokens, read_tokens, tokens_of, told_unread
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import kind_of
from slonik.models.task_model import TaskModel, load_task_model
from slonik.runtime.tagging.labels import BioLabels, tag_labels
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.text.pairs import fields_of
from slonik.text.task_rows import texts_of as task_texts
from slonik.text.tokenizing import special_id

Scalars = NDArray[np.float64]
_FIRST_STEPS, _MOST_STEPS = 32, 512
_GAP = 0.01
_BATCH = 16
METHODS = ("integrated_gradients", "rollout")


@dataclass(frozen=True)
class Attribution:
    """What one score hangs on.

    Attributes:
        model: its name. target: what the score is of. score: of the texts as they are.
        baseline: the score with `baseline_token` in the place of every token of the texts.
        parts: each text with its tokens; values: per text (T,) attributions, zero at special tokens.
        gap: sum of the attributions minus (score - baseline). steps: on the line from the baseline.
        rollout: per text (T,) shares of attention rollout, or None where the model shows no attention.
    """

    model: str
    target: str
    score: float
    baseline: float
    baseline_token: str
    parts: tuple[TextTokens, ...]
    values: tuple[Scalars, ...]
    gap: float
    steps: int
    rollout: tuple[Scalars | None, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """One record with everything that a page needs."""
        parts = [
            {
                **part.detail(),
                "values": values.round(6).tolist(),
                "rollout": None if roll is None else roll.round(6).tolist(),
            }
            for part, values, roll in zip(self.parts, self.values, self.rollout, strict=True)
        ]
        detail = {"target": self.target, "baseline": self.baseline, "baseline_token": self.baseline_token,
                  "gap": self.gap, "steps": self.steps, "parts": parts}  # fmt: skip
        n = sum(len(part.tokens) for part in self.parts)
        return (inspection_record(self.model, "text", METHODS[0], "attribution", self.score, n=n, detail=detail),)


def attribution(
    model: str | Path | TorchEncoder | TaskModel,
    text: str,
    *,
    pair: str | None = None,
    label: str | None = None,
    word: str | None = None,
    prefix: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> Attribution:
    """What a classifier's, a tagger's or a similarity's score hangs on.

    Args:
        model: a model with a head (of texts, pairs, numbers or tags), or an encoder, of which two sentences' cosine is
            explained.
        pair: the second text: needed for a similarity and for a model of pairs.
        label: whose score; None = the one that the model answers, of a tagger the surest tag that is no "O".
        word: of a tagger: which word of the text (the first such); None = the one with that tag.
        prefix: of a similarity, before each text; None = the encoder's own.

    Raises:
        SlonikError: a model without scores of that kind, an option that means nothing to it, an unknown label or word.
    """
    loaded = _opened(model, device, trust_remote_code)
    if isinstance(loaded, TorchEncoder):
        for value, option in ((label, "--label"), (word, "--word")):
            if value is not None:
                raise SlonikError(f"{loaded.name} has no labels, so {option} means nothing to it: leave it out")
        if pair is None:
            raise SlonikError(
                f"{loaded.name} has no head whose score could be explained: give a second text (--pair TEXT), whose "
                "cosine to the first is, or a fine-tuned model"
            )
        return _of_similarity(loaded, text, pair, prefix)
    if prefix is not None:
        raise SlonikError(f"{loaded.name} has a head and reads no prefix: leave --prefix out")
    if loaded.config.target == "tags":
        if pair is not None:
            raise SlonikError(f"{loaded.name} tags one text: leave --pair out")
        return _of_tag(loaded, text, label, word)
    if word is not None:
        raise SlonikError(f"{loaded.name} scores whole texts: leave --word out")
    return _of_label(loaded, text, pair, label)


def _opened(
    model: str | Path | TorchEncoder | TaskModel, device: str | None, trust_remote_code: bool
) -> TorchEncoder | TaskModel:
    if isinstance(model, TaskModel):
        return model
    if isinstance(model, str | Path) and kind_of(model).name in ("head", "task", "tagger"):
        kind = kind_of(model)
        if kind.name == "tagger" and kind.stack is None:
            raise SlonikError(f"{model} is a tagger without a transformer: its scores are not explained here")
        return load_task_model(model, device=device, trust_remote_code=trust_remote_code)
    return open_transformer(model, device=device, trust_remote_code=trust_remote_code)


def _likeness(vectors: Callable[[Tensor], Tensor], other: Tensor, ids: Tensor) -> Tensor:
    return vectors(ids) @ other


def integrated_gradients(
    embedding: nn.Module,
    ids: Tensor,
    baseline_ids: Tensor,
    score: Callable[[Tensor], Tensor],
    *,
    steps: int | None = None,
) -> tuple[Scalars, float, float, int]:
    """Attributions (T,), the score, the baseline's score, and the steps that were taken.

    Args:
        embedding: the module that looks tokens up. ids, baseline_ids: (T,).
        score: (n, T) ids -> (n,) scores by a pass through the model; the embeddings are put in on the way.
        steps: of Gauss and Legendre's rule; None = as many as the sum needs.
    """
    with torch.no_grad():
        start, end = (embedding(row[None])[0] for row in (baseline_ids, ids))
        value, base = float(score(ids[None])[0]), float(score(baseline_ids[None])[0])
    count = steps or _FIRST_STEPS
    while True:
        nodes, weights = np.polynomial.legendre.leggauss(count)
        total = torch.zeros_like(end)
        for first in range(0, count, _BATCH):
            shares = torch.tensor((nodes[first : first + _BATCH] + 1) / 2, dtype=end.dtype, device=end.device)
            own = torch.tensor(weights[first : first + _BATCH] / 2, dtype=end.dtype, device=end.device)
            points = (start + shares[:, None, None] * (end - start)).detach().requires_grad_(True)
            with _embedded(embedding, points):
                scores = score(ids.expand(len(points), -1))
            (gradient,) = torch.autograd.grad((scores * own).sum(), points)
            total += gradient.sum(0)
        values = ((end - start) * total).sum(-1).detach().double().cpu().numpy()
        gap = abs(float(values.sum()) - (value - base))
        if steps is not None or gap <= _GAP * max(abs(value - base), 1e-6) or count >= _MOST_STEPS:
            return values, value, base, count
        count *= 2


@contextmanager
def _embedded(embedding: nn.Module, points: Tensor) -> Any:
    """The first look-up in the block gives `points`; a decoder's later ones are its own."""
    done = False

    def put_in(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        nonlocal done
        if done or output.shape != points.shape:
            return output
        done = True
        return points

    handle = embedding.register_forward_hook(put_in)
    try:
        yield
    finally:
        handle.remove()
    if not done:
        raise SlonikError("this model does not look its tokens up in its table of embeddings: gradients are not given")


def attention_rollout(weights: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """(T, T): from which tokens' inputs each token's last state could come; rows sum to one.

    Args:
        weights: per layer (H, T, T), the first layer first.
    """
    length = weights[0].shape[-1]
    rolled = np.eye(length)
    for layer in weights:
        mixed = 0.5 * np.asarray(layer, np.float64).mean(0) + 0.5 * np.eye(length)
        rolled = (mixed / mixed.sum(-1, keepdims=True)) @ rolled
    return rolled


def _rollout(model: Any, ids: Tensor, rows: Scalars) -> Scalars | None:
    """Shares (T,) by the weights of the last states that are read; None where a family shows no attention."""
    try:
        layers = attention_weights(model, ids[None], torch.ones_like(ids)[None])
    except SlonikError:
        return None
    rolled = attention_rollout([layer[0].float().cpu().numpy() for layer in layers])
    found: Scalars = rows / max(rows.sum(), 1e-12) @ rolled
    return found


def _baseline(encoder: TorchEncoder, ids: Tensor, special: NDArray[np.bool_]) -> tuple[Tensor, str]:
    """The row with a token that says nothing in the place of every token that is none of the special ones."""
    known = [special_id(encoder.tokenizer, role) for role in ("mask", "pad", "unk")]
    chosen = next((found for found in known if found is not None), encoder.pad_id)
    keep = torch.from_numpy(special).to(ids.device)
    return torch.where(keep, ids, torch.full_like(ids, chosen)), encoder.tokenizer.id_to_token(chosen) or str(chosen)


def _of_similarity(encoder: TorchEncoder, text: str, pair: str, prefix: str | None) -> Attribution:
    parts = tuple(read_tokens(encoder, one, prefix) for one in (text, pair))
    rows = [torch.tensor(part.ids, device=encoder.device) for part in parts]
    prompt = encoder.prompt_length(prefix)

    def vectors(ids: Tensor) -> Tensor:
        shown = torch.full((len(ids),), prompt, device=ids.device) if prompt else None
        return nn.functional.normalize(encoder.sentence_vectors(ids, torch.ones_like(ids), shown), dim=-1)

    with torch.no_grad():
        fixed = [vectors(row[None])[0] for row in rows]
    values, rolls = [], []
    score = base = gap = 0.0
    steps, token = 0, ""
    embedding = encoder.model.get_input_embeddings()
    for place, (part, row) in enumerate(zip(parts, rows, strict=True)):
        other = fixed[1 - place]
        without, token = _baseline(encoder, row, part.special)
        likeness = partial(_likeness, vectors, other)
        found, score, own_base, used = integrated_gradients(embedding, row, without, likeness)
        own_gap = float(found.sum()) - (score - own_base)
        gap = own_gap if abs(own_gap) >= abs(gap) else gap
        base, steps = (own_base if place == 0 else base), max(steps, used)
        values.append(found)
        rolls.append(_rollout(encoder.model, row, np.ones(len(part.ids))))
    return Attribution(encoder.name, "cosine to the other text", score, base, token, parts, tuple(values), gap, steps,
                       tuple(rolls))  # fmt: skip


def _of_label(model: TaskModel, text: str, pair: str | None, label: str | None) -> Attribution:
    config = model.config
    if config.target not in ("single", "multi", "number") or config.kind == "words":
        raise SlonikError(f"{model.name} answers {config.task!r} by {config.target}: scores of labels, numbers and "
                          "tags are explained")  # fmt: skip
    if config.pairs == "separate" and pair is not None:
        raise SlonikError(f"{model.name} reads the two texts apart: that is not explained here")
    texts = task_texts((text,) if pair is None else (text, pair), config, 1)
    row = model.pairs.row(texts)
    fields = {name: torch.from_numpy(np.asarray(array)).to(model.device) for name, array in
              fields_of([row], model.pad_id).items()}  # fmt: skip
    ids = fields["input_ids"].long()
    special = row.segments == 0
    with torch.no_grad():
        outputs = _outputs(model, fields, ids[None])[0]
    if config.target == "number":
        if label is not None:
            raise SlonikError(f"{model.name} gives a number and has no labels: leave --label out")
        place, name = 0, "the number"
    else:
        names = config.labels or tuple(str(number) for number in range(len(outputs)))
        place = int(outputs.argmax()) if label is None else lookup(label, {n: i for i, n in enumerate(names)}, "label")
        name = f"label {names[place]}"
    without, token = _baseline(model.encoder, ids, special)
    values, score, base, steps = integrated_gradients(
        model.transformer.get_input_embeddings(), ids, without,
        lambda rows: _outputs(model, fields, rows)[:, place],
    )  # fmt: skip
    first = np.zeros(len(ids))
    first[0] = 1.0
    roll = _rollout(model.transformer, ids, first)
    parts, own, rolls = [], [], []
    for number, one in enumerate(texts, 1):
        mine = row.segments == number
        around = mine | (special & (number == 1))  # specials are shown with the first text
        offsets = [tuple(span) if inside else (-1, -1) for span, inside in zip(row.offsets.tolist(), mine, strict=True)]
        kept = np.flatnonzero(around)
        part = tokens_of(model.tokenizer, one, row.ids[kept].tolist(), [offsets[i] for i in kept])
        parts.append(told_unread(model.name, part))
        own.append(values[kept])
        rolls.append(None if roll is None else roll[kept])
    gap = float(values.sum()) - (score - base)
    return Attribution(model.name, name, score, base, token, tuple(parts), tuple(own), gap, steps, tuple(rolls))


def _outputs(model: TaskModel, fields: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Outputs of the head (n, ...) for rows of ids with the fields of one example."""
    batch = {name: value.expand(len(ids), *value.shape) for name, value in fields.items()}
    return model({**batch, "input_ids": ids}).float()


def _of_tag(model: TaskModel, text: str, label: str | None, word: str | None) -> Attribution:
    labels = tag_labels(model.config.labels, rules=bool(model.config.details.get("rules", True)))
    names = None
    if model.config.head.get("names"):
        assert model.encoder.source is not None and isinstance(labels, BioLabels)
        names = NameList.open(model.encoder.source, labels)
    features = TokenFeatures(model.tokenizer, window=model.max_length, overlap=0, names=names)
    spans = features.split(text)
    windows = features.windows(text, spans)
    if not windows:
        raise SlonikError("there is no word to look at")
    found = []  # (window, word's place in it, word's number)
    for window in windows:
        found += [(window, place, number) for place, number in enumerate(range(window.first, window.stop))]
    if word is not None:
        found = [each for each in found if text[slice(*spans[each[2]])] == word][:1]
        if not found:
            raise SlonikError(f"the text has no word {word!r}: give one as it is spelt there")
    classes = {name: place for place, name in enumerate(labels.names)}
    if label is not None:
        wanted = [place for name, place in classes.items() if name == label or name[2:] == label]
        if not wanted:
            lookup(label, classes, "label")
    else:
        wanted = [place for name, place in classes.items() if name != "O"]
    best: tuple[float, Any, int, int, int] | None = None
    for window in {id(each[0]): each[0] for each in found}.values():
        fields = _tag_fields(window, model)
        with torch.no_grad():
            scores = _outputs(model, fields, fields["input_ids"][None])[0].log_softmax(-1)
        for own, place, number in found:
            if own is window:
                top = max(wanted, key=lambda one: float(scores[place, one]))
                if best is None or float(scores[place, top]) > best[0]:
                    best = (float(scores[place, top]), window, place, number, top)
    assert best is not None
    _, window, place, number, top = best
    fields = _tag_fields(window, model)
    ids = fields["input_ids"]
    encoding = model.tokenizer.encode(text, add_special_tokens=False)
    head = len(features._template.head)
    start = _place_of(ids.tolist(), encoding.ids, head)
    inner = len(ids) - features._template.size
    offsets = [(-1, -1)] * head + [tuple(encoding.offsets[start + i]) for i in range(inner)]
    offsets += [(-1, -1)] * (len(ids) - len(offsets))
    part = tokens_of(model.tokenizer, text, ids.tolist(), offsets)
    without, token = _baseline(model.encoder, ids, part.special)
    values, score, base, steps = integrated_gradients(
        model.transformer.get_input_embeddings(), ids, without,
        lambda rows: _outputs(model, fields, rows)[:, place, top],
    )  # fmt: skip
    row = np.zeros(len(ids))
    row[int(fields["positions"][place])] = 1.0
    gap = float(values.sum()) - (score - base)
    target = f"tag {labels.names[top]} of {text[slice(*spans[number])]!r}"
    return Attribution(model.name, target, score, base, token, (part,), (values,), gap, steps,
                       (_rollout(model.transformer, ids, row),))  # fmt: skip


def _tag_fields(window: Any, model: TaskModel) -> dict[str, Tensor]:
    found = {name: torch.from_numpy(np.asarray(array)).to(model.device) for name, array in window.fields.items()}
    for name in ("input_ids", "attention_mask", "positions"):
        found[name] = found[name].long()
    return found


def _place_of(row: list[int], ids: Sequence[int], head: int) -> int:
    """Where the tokens of a window begin among those of the text."""
    inside = row[head : head + 4]
    return next((i for i in range(len(ids)) if list(ids[i : i + len(inside)]) == inside), 0)
