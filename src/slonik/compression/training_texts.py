"""What a student trains on: sampled sentences and both sides of the pairs, tokenised once, with teacher states.

The teacher reads the student's segmentation (its ids are mapped to the teacher's), so every token of the student has
a target even where the teacher alone would have cut the text otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import CorpusSample
from slonik.core.hashing import derive_seed
from slonik.core.identity import code_of
from slonik.data.sampling import text_hash
from slonik.models.encoder import TorchEncoder
from slonik.models.padding import pad
from slonik.models.pipeline import Pipeline
from slonik.models.precision import Precision, autocast
from slonik.text.batching import pad_arrays, token_budget_batches
from slonik.text.sentence_config import SentenceConfig
from slonik.train.ragged import Ragged, tokenized
from slonik.train.teacher_cache import cached_token_states

_TEACHER_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class TrainingTexts:
    """Texts with prefixes put on, and where a text's translation is.

    Attributes:
        texts: N texts as they go into tokenizers, prefix included.
        plain: the same without prefixes.
        partners: (N,) number of the English text whose translation a text is, -1 for none.
        groups: (N,) equal for the two texts of a near pair, -1 for all others.
    """

    texts: list[str]
    plain: list[str]
    partners: NDArray[np.int64]
    groups: NDArray[np.int64]


def training_texts(sample: CorpusSample, config: CorpusConfig, prefix: str, seed: int) -> TrainingTexts:
    """Sentences (substituted ones last), English sides, Russian sides, near pairs; a fixed share without the prefix.

    A sentence that has an altered copy stands among the near pairs alone. The two texts of a near pair have the prefix
    both or neither.
    """
    first_of_pair = {first for first, _ in sample.near}
    texts = [text for text in sample.texts if text not in first_of_pair] + sample.substituted
    plain = [*texts, *(english for english, _ in sample.pairs), *(russian for _, russian in sample.pairs)]
    salt = f"prefix {derive_seed(seed, 'prefix')}"
    bare = config.without_prefix * (1 << 64)

    def start(text: str) -> str:
        return "" if text_hash(text, salt) < bare else prefix

    prefixed = [start(text) + text for text in plain]
    prefixed += [start(pair[0]) + text for pair in sample.near for text in pair]
    first, count, alone = len(texts), len(sample.pairs), len(plain)
    plain += [text for pair in sample.near for text in pair]
    partners = np.full(len(plain), -1, dtype=np.int64)
    partners[first + count : alone] = np.arange(first, first + count)
    groups = np.full(len(plain), -1, dtype=np.int64)
    groups[alone:] = np.repeat(np.arange(len(sample.near)), 2)
    return TrainingTexts(prefixed, plain, partners, groups)


def tokenize_texts(student: TorchEncoder, texts: Sequence[str], max_tokens: int, folder: Path, identity: Any) -> Ragged:
    """Token ids of the texts by the student's tokenizer, from the cache where they are there."""
    facts = {"tokenizer": identity, "max_tokens": max_tokens}
    return tokenized(lambda some: student.tokenize(some, "", max_tokens), texts, folder, identity=facts)


def teacher_states(
    teacher: TorchEncoder,
    student: TorchEncoder,
    token_ids: NDArray[np.int64],
    texts: Sequence[str],
    lengths: NDArray[np.int64],
    max_tokens: int,
    folder: Path,
    identity: Any,
    precision: Precision,
) -> Ragged:
    """Last hidden states (T_i, D) of the teacher for every token of every text, cached in half precision.

    Args:
        precision: of the teacher's matrix products.
        token_ids: (V,) the teacher's id of each student id.
        lengths: (N,) tokens of each text.
        identity: hash of teacher, tokenizer and id map.
    """
    ids = torch.from_numpy(token_ids)

    def encode(some: Sequence[str]) -> list[NDArray[np.float16]]:
        rows = student.tokenize(some, "", max_tokens)
        return _forward(teacher, [ids[torch.tensor(row)] for row in rows], precision)

    return cached_token_states(
        encode, texts, lengths, folder, dimension=teacher.hidden_size, name=teacher.name,
        identity={"teacher": identity, "network": code_of(teacher), "precision": precision},
    )  # fmt: skip


@torch.inference_mode()
def _forward(teacher: TorchEncoder, rows: list[torch.Tensor], precision: Precision) -> list[NDArray[np.float16]]:
    """States of the rows, in their order, in half precision."""
    states: list[NDArray[np.float16]] = [np.zeros((0, 0), dtype=np.float16)] * len(rows)
    device = teacher.device
    for batch in token_budget_batches([len(row) for row in rows], _TEACHER_BATCH_TOKENS):
        inputs = pad([rows[number].numpy() for number in batch], teacher.pad_id, device=device)
        with autocast(device, precision):
            hidden = teacher.model(**inputs).last_hidden_state
        values = hidden.to(torch.float16).cpu().numpy()
        for place, number in enumerate(batch):
            states[number] = values[place, : len(rows[number])]
    return states


def pooled(
    states: Ragged,
    sentence: SentenceConfig,
    dimensions: Sequence[int],
    prompts: NDArray[np.int64] | None = None,
    chunk: int = 256,
) -> NDArray[np.float16]:
    """(N, dimension) sentence vectors of cached token states by all modules but a division by the norm at the end.

    Args:
        dimensions: those of the states that the modules read.
        prompts: (N,) how many first tokens of each text are a prompt's.
    """
    pipeline, wanted = Pipeline(sentence.modules, sentence.truncate_dim).eval(), list(dimensions)
    whole = len(wanted) == states.values.shape[1]
    vectors = np.zeros((len(states), sentence.dimension(len(wanted))), dtype=np.float16)
    order = np.argsort(states.lengths, kind="stable")
    for start in range(0, len(order), chunk):
        numbers = order[start : start + chunk]
        padded = torch.from_numpy(pad_arrays([np.asarray(states[number], dtype=np.float32) for number in numbers]))
        mask = torch.arange(padded.shape[1]) < torch.from_numpy(states.lengths[numbers])[:, None]
        prompt = None if prompts is None else torch.from_numpy(prompts[numbers])
        with torch.inference_mode():
            found = pipeline.unnormalised(padded if whole else padded[..., wanted], mask.to(torch.int64), prompt)
        vectors[numbers] = found.numpy()
    return vectors
