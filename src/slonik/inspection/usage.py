"""What a model uses, and not only holds: a property is erased from a layer, and what the model then does is measured.

Measured beside the whole model: a probe for the property on the layer's vectors and on the model's last ones (does it
come back?); how alike the sentence vectors of texts stay; the pair tasks of encodechka where their files are there; and
for a masked-language model the loss of hidden tokens. Each stands beside the same erasure of a shuffled property: what
taking away as many directions costs when nothing is in them. How a property is erased is in `erasure`.

Shapes: N sentences, D dimensions, B texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.numbers import check_count, check_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown, track
from slonik.core.records import Record
from slonik.evaluation.encodechka.suite import encodechka
from slonik.evaluation.long_texts import warn_cut
from slonik.evaluation.statistics import interval
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.erasure import Eraser, check_layer, erasing, layer_means, leace
from slonik.inspection.inputs import BATCH, Texts, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval, wilson
from slonik.inspection.probing.layers import resampled_means
from slonik.inspection.probing.probes import LogisticProbe, scale
from slonik.inspection.probing.tasks import TaskData, read_tasks
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import is_checkpoint
from slonik.models.language_model import load_language_model
from slonik.models.padding import pad
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.objectives.masking import mask_tokens

WHOLE, ERASED, SHUFFLED = "whole", "erased", "shuffled"
_PAIR_TASKS = ("sts", "pi")
_MASKED = 0.15


@dataclass(frozen=True)
class Erasure:
    """What erasing a property from the layers of a model does.

    Attributes:
        model, task: their names. records: per layer and metric, variants "whole", "erased" and "shuffled"; the metric
            "difference_..." is erased minus shuffled, paired. layers count from 0, the embeddings.
        left_out: what was not measured, and why.
    """

    model: str
    task: str
    records: tuple[Record, ...]
    left_out: tuple[str, ...] = ()


def erasure(
    model: str | Path | TorchEncoder,
    task: str | TaskData,
    texts: Texts = None,
    *,
    data_dir: str | Path | None = None,
    layers: Sequence[int] | None = None,
    prefix: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Erasure:
    """Erase what a probing task asks for from single layers, and measure what the model then does.

    Args:
        model: a folder, a hub id, `embedded:NAME`, or a loaded transformer.
        task: the name of a task whose file is in `data_dir`/rusenteval, or its data.
        texts: for similarity and the loss of hidden tokens: a file, or texts; None = sentences of our own.
        data_dir: also with encodechka/ in it, for its pair tasks; None = $SLONIK_DATA, or the user's cache folder.
        layers: None = a third, two thirds and the end of the model. prefix: before each sentence, None = the model's
            own. limit: at most this many sentences of a task that is read here. seed: of shuffles and hidden tokens.
        progress: show it on standard error.

    Raises:
        SlonikError: no transformer, a layer that is not there, a family without known anatomy, or an unknown task.
    """
    check_seed(seed)
    check_count("limit", limit)
    encoder, words, without = _opened(model)
    data = task if isinstance(task, TaskData) else read_tasks(data_folder(data_dir), [task], limit=limit)[0][0]
    sample = texts_of(texts)
    depth = len(dissect(encoder.model).layers)
    chosen = list(layers) if layers is not None else sorted({max(1, depth // 3), max(1, 2 * depth // 3), depth})
    for layer in chosen:
        check_layer(layer, depth, encoder.name)
    warn_cut(encoder, data.texts, prefix, what=f"sentences of {data.task.id}")
    warn_cut(encoder, sample, prefix)
    hashes = source_hashes(encoder, [*data.texts, *sample]) | {"data": data.sha256}
    measured = _Measured(encoder, data, sample, words, prefix, seed, hashes)
    folder = data_folder(data_dir) / "encodechka"
    left = [] if without is None else [without]
    if not folder.is_dir():
        left.append(f"the pair tasks of encodechka: there is no {folder}")
    with shown(progress):
        vectors = layer_means(encoder, data.texts, chosen, prefix=prefix)
        records: list[Record] = []
        for layer in track(chosen, f"erasing {data.task.id} from {encoder.name}", len(chosen)):
            records += measured.layer(layer, vectors[layer], data_dir if folder.is_dir() else None)
    return Erasure(encoder.name, data.task.id, tuple(records), tuple(left))


def _opened(model: str | Path | TorchEncoder) -> tuple[TorchEncoder, Any, str | None]:
    """The encoder, the language model around it or None, and why there is none."""
    missing = "the loss of hidden tokens: the model has no masked-language head"
    if isinstance(model, str | Path) and is_checkpoint(model):
        try:
            words = load_language_model(model, "mlm")
        except SlonikError:
            return open_transformer(model), None, missing
        if words.has_head:
            encoder = words.encoder()
            encoder.name = str(model)
            return encoder, words, None
    return open_transformer(model), None, missing


@dataclass
class _Measured:
    """What is measured for each layer."""

    encoder: TorchEncoder
    data: TaskData
    texts: list[str]
    words: Any
    prefix: str | None
    seed: int
    hashes: dict[str, str]

    def layer(self, layer: int, vectors: NDArray[np.floating], data_dir: str | Path | None) -> list[Record]:
        """Records of one layer, whose mean vectors (N, D) of the task's sentences are given."""
        train = len(self.data.train)
        own = leace(vectors[:train], self.data.train.labels)
        order = np.random.default_rng(derive_seed(self.seed, "shuffled property")).permutation(train)
        other = leace(vectors[:train], self.data.train.labels[order])
        erasers = {WHOLE: None, ERASED: own, SHUFFLED: other}
        self._record = partial(self._made, layer, own.rank)
        records = self._probed("probe", {name: _erased(vectors, eraser) for name, eraser in erasers.items()})
        last: dict[str, NDArray[np.floating]] = {}
        similarities: dict[str, NDArray[np.float64]] = {}
        losses: dict[str, NDArray[np.float64]] = {}
        for name, eraser in erasers.items():
            with erasing(self.encoder, layer, eraser):
                last[name] = self.encoder.encode_layers(self.data.texts, ["mean"], prefix=self.prefix)["mean"][-1]
                similarities[name] = self.encoder.encode(self.texts, prefix=self.prefix).astype(np.float64)
                if self.words is not None:
                    losses[name] = _hidden_losses(self.words, self.texts, self.seed)
                if data_dir is not None:
                    records += self._pairs(name, data_dir)
        records += self._probed("probe_of_last_layer", last)
        records += self._kept(similarities)
        if losses:
            records += self._means("hidden_token_loss", losses)
        return records

    def _made(self, layer: int, rank: int, variant: str, metric: str, value: float, **fields: Any) -> Record:
        detail = fields.pop("detail", {}) | {"erased_directions": rank, "prefix": self.prefix}
        return inspection_record(
            self.encoder.name, self.data.task.id, variant, metric, value, layer=layer, detail=detail,
            hashes=self.hashes, **fields,
        )  # fmt: skip

    def _probed(self, metric: str, found: dict[str, NDArray[np.floating]]) -> list[Record]:
        """Accuracy of a probe for the property, and the share of the commonest class."""
        sizes = np.cumsum([len(self.data.train), len(self.data.validation)])
        records = []
        n = len(self.data.test)
        labels, counts = np.unique(self.data.train.labels, return_counts=True)
        chance = float((self.data.test.labels == labels[counts.argmax()]).mean())
        for name, vectors in found.items():
            parts = np.split(np.asarray(vectors, dtype=np.float32), sizes)
            right = LogisticProbe(scale(*parts)).fit(self.data).test
            low, high = wilson(float(right.sum()), n)
            records.append(
                self._record(name, metric, float(right.mean()), low=low, high=high, n=n, detail={"majority": chance})
            )
        return records

    def _kept(self, found: dict[str, NDArray[np.float64]]) -> list[Record]:
        """Mean over texts of the correlation between their similarities to the others, before and after."""
        whole = _similarities(found[WHOLE])
        values = {name: _row_correlations(whole, _similarities(found[name])) for name in (ERASED, SHUFFLED)}
        return self._means("similarity_kept", values)

    def _means(self, metric: str, values: dict[str, NDArray[np.float64]]) -> list[Record]:
        records = []
        for name, own in values.items():
            low, high = mean_interval(own, seed=self.seed, sample="erasure")
            records.append(self._record(name, metric, float(own.mean()), low=float(low), high=float(high), n=len(own)))
        difference = values[ERASED] - values[SHUFFLED]
        spread = resampled_means(difference[None], seed=self.seed, sample="erasure")[0]
        bounds = interval(float(difference.mean()), spread)
        records.append(self._record(ERASED, f"difference_{metric}", n=len(difference), **bounds.fields))
        return records

    def _pairs(self, name: str, data_dir: str | Path) -> list[Record]:
        found = encodechka(
            self.encoder, data_dir=data_dir, tasks=list(_PAIR_TASKS), variants=["fixed"], prefix=self.prefix,
            cache=False, seed=self.seed,
        )  # fmt: skip
        kept = []
        for record in found.records:
            if record.task in _PAIR_TASKS and record.metric != "difference":
                where = {"low": record.low, "high": record.high, "n": record.n}
                metric = f"encodechka_{record.task}"
                kept.append(self._record(name, metric, record.value or 0.0, **where))
        return kept


def _erased(vectors: NDArray[np.floating], eraser: Eraser | None) -> NDArray[np.floating]:
    return vectors if eraser is None else eraser(vectors)


def _similarities(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found: NDArray[np.float64] = unit @ unit.T
    return found


def _row_correlations(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of every text's similarities to the others, under both."""
    others = ~np.eye(len(first), dtype=bool)
    rows = [part[others].reshape(len(part), -1) for part in (first, second)]
    centred = [part - part.mean(1, keepdims=True) for part in rows]
    norms = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    return np.divide((centred[0] * centred[1]).sum(1), norms, out=np.zeros(len(first)), where=norms > 1e-12)


def _hidden_losses(words: Any, texts: Sequence[str], seed: int) -> NDArray[np.float64]:
    """(B,) mean negative log-likelihood, in nats, of the hidden tokens of every text; the same are hidden each time."""
    facts = token_facts(words.tokenizer, words.names)
    encoder: TorchEncoder = words.encoder()
    rows = encoder.tokenize(texts, "")
    rng = np.random.default_rng(derive_seed(seed, "hidden tokens"))
    hidden = []
    for row in rows:
        ids = np.array(row, dtype=np.int64)
        hidden.append(mask_tokens(ids, np.array([0]), facts, rng, rate=_MASKED, mask_share=1.0, random_share=0.0))
    losses = []
    for start in range(0, len(rows), BATCH):
        part = hidden[start : start + BATCH]
        inputs = pad([one.ids.tolist() for one in part], encoder.pad_id, device=encoder.device)
        with torch.inference_mode():
            scores = F.log_softmax(words.model(**inputs).logits.float(), dim=-1)
        for place, one in enumerate(part):
            at = np.flatnonzero(one.labels >= 0)
            chosen = scores[place, torch.from_numpy(at), torch.from_numpy(one.labels[at])]
            losses.append(float(-chosen.mean()) if len(at) else 0.0)
    return np.array(losses)
