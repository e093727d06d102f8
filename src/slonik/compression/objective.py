"""Make a small encoder agree with a large one: any weighted sum of sentence-level and token-level terms.

Sentence-level targets (teacher vectors, vectors of translations) come with the batch, from a cache on disk.
Token-level targets come with the batch too (`teacher_hidden`), or from a `TokenTeacher` run beside the student.
Shapes: B texts, T tokens, D dimensions of the student, E of a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from slonik.compression.losses import (
    anchor_kl,
    cosine_distance,
    hidden_mse,
    near_difference,
    normalized_vector_mse,
    pair_closeness,
    relation_kl,
    similarity_kl,
    translation_choice,
    vector_mse,
)
from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.models.padding import pad
from slonik.train.protocols import Batch, Loss, weighted_sum

Pool = Callable[..., Tensor]
"""(hidden (B, T, D), attention_mask (B, T)) -> sentence vectors (B, D); it is handed a column `prompt` (B,), how many
first tokens are a prompt's, where the batch has one."""


class DistillationTerms(Config):
    """Coefficient of each term; 0 leaves a term out and costs nothing."""

    cosine: float = Field(1.0, ge=0)
    mse: float = Field(0.0, ge=0)
    normalized_mse: float = Field(0.0, ge=0)
    similarity_kl: float = Field(1.0, ge=0)
    anchor_kl: float = Field(0.0, ge=0)
    pairs: float = Field(0.5, ge=0)
    contrastive: float = Field(0.0, ge=0)
    """A text's translation told from the other texts of the batch, at `temperature`."""
    near: float = Field(0.0, ge=0)
    """Differences inside near pairs; the batch column `group` says which texts make a pair."""
    hidden: float = Field(0.0, ge=0)
    relations: float = Field(0.0, ge=0)
    temperature: float = Field(0.05, gt=0)
    """Of the similarity rows and of the choice of a translation."""
    normalize_hidden: bool = True
    """Layer-normalise token states before their squared error."""
    layers: dict[int, int] = Field(default_factory=lambda: {-1: -1})
    """Student layer -> teacher layer for the hidden term; 0 is the embedding output, -1 the last layer."""
    relation_heads: int = Field(12, ge=1)
    outputs: float = Field(1.0, ge=0)
    """Of a model with a head for a task: the head's own outputs."""
    outputs_temperature: float = Field(2.0, gt=0)
    """Softens the probabilities of labels, candidates, places and tags that are compared."""


TERMS = ("cosine", "mse", "normalized_mse", "similarity_kl", "anchor_kl", "pairs", "contrastive", "near", "hidden",
         "relations")  # fmt: skip
"""Those of sentence vectors and states."""


class Distillation(nn.Module):
    """The objective: `corrupt` pads, `loss` runs the student and compares.

    It is a module only because of the projection heads, which are trained along, saved in checkpoints, and thrown
    away with the objective.

    Args:
        terms: coefficients.
        pool: how the student makes its sentence vector.
        pad_id: padding id of the student.
        teachers: batch column of each teacher -> its dimension E. The column `NAME` holds (B, E) teacher vectors,
            `NAME_partner` (B, E) those of the translation, zeros where there is none.
        dimension: D of the student. Its vectors are compared with those of the first teacher as they are where
            E == D: the student takes that teacher's place. Others, which mean other things by their dimensions, get
            a linear head each.
        anchors: (K, E) vectors of the first teacher, for `anchor_kl`.
        token_teacher: for token-level terms without a `teacher_hidden` column.
        student_qkv: the student's query, key and value modules of the layer whose relations are compared.

    Raises:
        SlonikError: a coefficient without what its term needs.
    """

    anchors: Tensor | None

    def __init__(
        self,
        terms: DistillationTerms,
        *,
        pool: Pool,
        pad_id: int,
        dimension: int,
        teachers: Mapping[str, int] | None = None,
        anchors: Tensor | None = None,
        token_teacher: TokenTeacher | None = None,
        student_qkv: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.terms = terms
        self._pool = pool
        self._pad_id = pad_id
        self._teachers = dict(teachers) if teachers is not None else {"teacher": dimension}
        self._token_teacher = token_teacher
        self._capture = Capture(student_qkv) if student_qkv else None
        self.register_buffer("anchors", anchors, persistent=False)
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(dimension, size, bias=False) if number or size != dimension else nn.Identity()
                for number, (name, size) in enumerate(self._teachers.items())
            }
        )
        self._check(dimension)

    def _check(self, dimension: int) -> None:
        if not any(getattr(self.terms, name) for name in TERMS):
            raise SlonikError(f"every distillation term is 0: give at least one of {', '.join(TERMS)} a weight")
        if self.terms.anchor_kl and self.anchors is None:
            raise SlonikError("the term anchor_kl needs anchors: vectors of the first teacher")
        if self.terms.anchor_kl and next(iter(self._teachers.values())) != dimension:
            raise SlonikError("the term anchor_kl needs a first teacher of the student's dimension")
        if self.terms.relations and (self._token_teacher is None or self._capture is None):
            raise SlonikError("the term relations needs a token teacher and the student's query, key, value modules")

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Pad; distillation reads its texts as they are, so `rng` is not used."""
        return pad(ids, self._pad_id)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Run the student on `batch` (input_ids, attention_mask, the columns of the teachers) and compare."""
        wanted = [layer for layer in self.terms.layers if layer != -1] if self.terms.hidden else []
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=bool(wanted)
        )
        mask = batch["attention_mask"]
        prompt = (batch["prompt"],) if "prompt" in batch else ()
        vectors = self._pool(output.last_hidden_state.float(), mask, *prompt)
        terms = self._sentence_terms(vectors, batch)
        if self.terms.hidden or self.terms.relations:
            states = {layer: output.hidden_states[layer] for layer in wanted} | {-1: output.last_hidden_state}
            terms |= self._token_terms(states, batch)
        return weighted_sum(terms, weight=float(len(mask)))

    def compared(self, states: Tensor, teacher: Tensor, mask: Tensor) -> dict[str, tuple[float, Tensor]]:
        """The terms on states that are there already: the student's and the teacher's (B, T, D) of the same tokens."""
        vectors = self._pool(states.float(), mask)
        terms = self._sentence_terms(vectors, {"teacher": self._pool(teacher.float(), mask)})
        if self.terms.hidden:
            value = hidden_mse(states, teacher, mask, normalize=self.terms.normalize_hidden)
            terms["hidden"] = (self.terms.hidden, value)
        return terms

    def _sentence_terms(self, vectors: Tensor, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Terms on (B, D) student vectors, each a mean over teachers."""
        terms = self.terms
        parts: dict[str, tuple[float, Tensor]] = {}
        for name, head in self.heads.items():
            teacher, student = batch[name].float(), head(vectors)
            share = 1.0 / len(self.heads)
            suffix = "" if len(self.heads) == 1 else f".{name}"
            partner = batch.get(f"{name}_partner")
            if terms.cosine:
                parts["cosine" + suffix] = (terms.cosine * share, cosine_distance(student, teacher))
            if terms.mse:
                parts["mse" + suffix] = (terms.mse * share, vector_mse(student, teacher))
            if terms.normalized_mse:
                parts["normalized_mse" + suffix] = (
                    terms.normalized_mse * share,
                    normalized_vector_mse(student, teacher),
                )
            if terms.similarity_kl:
                # On the student's own vectors, not the head's: similarities compare across dimensions.
                value = similarity_kl(vectors, teacher, terms.temperature)
                parts["similarity_kl" + suffix] = (terms.similarity_kl * share, value)
            if terms.pairs and partner is not None:
                parts["pairs" + suffix] = (terms.pairs * share, pair_closeness(student, partner.float()))
            if terms.contrastive and partner is not None:
                value = translation_choice(student, teacher, partner, terms.temperature)
                parts["contrastive" + suffix] = (terms.contrastive * share, value)
            if terms.near and "group" in batch:
                parts["near" + suffix] = (terms.near * share, near_difference(student, teacher, batch["group"]))
        if terms.anchor_kl and self.anchors is not None:
            first = batch[next(iter(self.heads))].float()
            value = anchor_kl(vectors, first, self.anchors, terms.temperature)
            parts["anchor_kl"] = (terms.anchor_kl, value)
        return parts

    def _token_terms(self, states: Mapping[int, Tensor], batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Terms on token states; the teacher's come from the batch or are computed now."""
        mask = batch["attention_mask"]
        targets = self._token_targets(batch)
        parts: dict[str, tuple[float, Tensor]] = {}
        if self.terms.hidden:
            values = [
                hidden_mse(states[student], targets.hidden[teacher], mask, normalize=self.terms.normalize_hidden)
                for student, teacher in self.terms.layers.items()
            ]
            parts["hidden"] = (self.terms.hidden, torch.stack(values).mean())
        if self.terms.relations and self._capture is not None:
            heads = self.terms.relation_heads
            pairs = zip(self._capture.take(), targets.qkv, strict=True)
            kinds = [relation_kl(student, teacher, mask, heads) for student, teacher in pairs]
            parts["relations"] = (self.terms.relations, torch.stack(kinds).sum())
        return parts

    def _token_targets(self, batch: Batch) -> TokenTargets:
        if self._token_teacher is None:
            if "teacher_hidden" not in batch:
                raise SlonikError("the term hidden needs cached teacher states (teacher_hidden) or a token teacher")
            return TokenTargets({-1: batch["teacher_hidden"]}, [])
        layers = self.terms.layers.values() if self.terms.hidden else ()
        return self._token_teacher.targets(batch["input_ids"], batch["attention_mask"], layers)


@dataclass(frozen=True)
class TokenTargets:
    """What the teacher says about each token of a batch.

    Attributes:
        hidden: layer number -> (B, T, D); 0 is the embedding output, n the output of the n-th layer.
        qkv: queries, keys, values (B, T, D) of the chosen layer; empty if none was chosen.
    """

    hidden: dict[int, Tensor]
    qkv: list[Tensor]


class TokenTeacher:
    """A frozen encoder, run beside the student without gradient and asked for the states of the student's tokens.

    Sentence vectors are cached on disk; token states are some hundred times larger. The teacher reads the *student's*
    segmentation: after a vocabulary trim every token of the student is one of the teacher's, so ids are mapped one to
    one and positions agree even where the teacher would have cut otherwise. Not a module: it is never trained or saved.

    Args:
        model: a Transformers-style encoder: (input_ids, attention_mask, output_hidden_states) -> hidden_states.
        ids: (V,) teacher id of each student id; None where both have one vocabulary.
        prefix_ids: teacher ids to put after the first token (the student is trained without the prefix that the
            teacher wants); their states are dropped.
        qkv: the query, key and value modules of one layer of `model`, for the relation terms.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        ids: Tensor | None = None,
        prefix_ids: Sequence[int] = (),
        qkv: Sequence[nn.Module] = (),
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self._ids = ids
        self._prefix = torch.tensor(list(prefix_ids), dtype=torch.int64)
        self._capture = Capture(qkv) if qkv else None

    @torch.no_grad()
    def targets(self, input_ids: Tensor, attention_mask: Tensor, layers: Iterable[int]) -> TokenTargets:
        """States of every token of (B, T) student ids; `layers` as in `TokenTargets.hidden`, -1 for the last."""
        device = input_ids.device
        if next(self._model.parameters()).device != device:
            self._model.to(device)
        ids = input_ids if self._ids is None else self._ids.to(device)[input_ids]
        extra = len(self._prefix)
        if extra:
            prefix = self._prefix.to(device).expand(len(ids), -1)
            ids = torch.cat([ids[:, :1], prefix, ids[:, 1:]], dim=1)
            ones = torch.ones_like(prefix).to(attention_mask.dtype)
            attention_mask = torch.cat([attention_mask[:, :1], ones, attention_mask[:, 1:]], dim=1)
        output = self._model(input_ids=ids, attention_mask=attention_mask, output_hidden_states=True)
        states = output.hidden_states
        qkv = self._capture.take() if self._capture else []
        return TokenTargets(
            {layer: _without(states[layer], extra) for layer in layers}, [_without(state, extra) for state in qkv]
        )


def _without(states: Tensor, extra: int) -> Tensor:
    """(B, extra + T, D) without positions 1 .. extra."""
    return torch.cat([states[:, :1], states[:, 1 + extra :]], dim=1) if extra else states


class Capture:
    """Listens to modules; after a forward pass `take()` gives their outputs in the order of the modules.

    Args:
        modules: submodules of one model that return a tensor each.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._outputs: dict[int, Tensor] = {}
        self._count = len(modules)
        for index, module in enumerate(modules):
            module.register_forward_hook(self._hook(index))

    def _hook(self, index: int):  # type: ignore[no-untyped-def]
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._outputs[index] = output

        return keep

    def take(self) -> list[Tensor]:
        """Outputs of the last forward pass, forgotten afterwards.

        Raises:
            RuntimeError: a module was not run since the last call.
        """
        if len(self._outputs) != self._count:
            missing = sorted(set(range(self._count)) - set(self._outputs))
            raise RuntimeError(f"modules {missing} of the capture were not run in this forward pass")
        outputs = [self._outputs[index] for index in range(self._count)]
        self._outputs.clear()
        return outputs
