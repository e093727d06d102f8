"""What teachers say of a static model's texts and tokens, in the table's own dimensions.

Vectors of the teachers (or of one) stand side by side as `blend` has it, and their principal axes are the table's
dimensions, the first ones carrying most. Vectors of texts come from the cache that all distillation shares.
Does not: train (see `table`).

Shapes: N texts, V tokens, D dimensions of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from slonik.compression.blend import BlendMap, fit_blend
from slonik.compression.config import BlendConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.static.vocabulary import token_texts
from slonik.core.errors import SlonikError
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, FloatArray
from slonik.train.teacher_cache import TeacherVectors, teacher_vectors


@dataclass(frozen=True)
class Taught:
    """Vectors of everything that a table learns from and is measured by.

    Attributes:
        texts: (N, D) of the training texts.
        held: (M, D) of those that choose the epoch.
        tokens: (V, D) of single tokens; zeros for those that say nothing.
        blend: from the teachers' vectors to these.
    """

    texts: FloatArray
    held: FloatArray
    tokens: FloatArray
    blend: BlendMap


def static_texts(sample: CorpusSample) -> list[str]:
    """Sentences, substituted ones, both sides of pairs and of near pairs, each once."""
    sides = (text for pairs in (sample.pairs, sample.near) for pair in pairs for text in pair)
    return list(dict.fromkeys([*sample.texts, *sample.substituted, *sides]))


def held_texts(sample: CorpusSample) -> list[str]:
    """Held-out sentences and both sides of held-out pairs, each once."""
    sides = (text for pairs in (sample.held_pairs, sample.held_near) for pair in pairs for text in pair)
    return list(dict.fromkeys([*sample.held_texts, *sides]))


def check_teachers(teachers: Sequence[Encoder], config: BlendConfig, dimensions: int) -> None:
    """Refuse before any work what cannot be blended.

    Raises:
        SlonikError: as many weights as there are no teachers, or fewer dimensions than the table is to have.
    """
    if config.weights is not None and len(config.weights) != len(teachers):
        raise SlonikError(f"{len(config.weights)} weights for {len(teachers)} teachers: give one for each")
    total = sum(teacher.dimension for teacher in teachers)
    if dimensions > total:
        raise SlonikError(f"the teachers have {total} dimensions together, and the table cannot have {dimensions}")


def teach_vectors(
    teachers: Sequence[Encoder], tokenizer: Tokenizer, sample: CorpusSample, config: BlendConfig, dimensions: int
) -> Taught:
    """Ask the teachers, or find their answers in the cache, and turn them into the table's dimensions.

    Raises:
        SlonikError: fewer texts than dimensions, a full disk.
    """
    texts, held, tokens = static_texts(sample), held_texts(sample), token_texts(tokenizer)
    saying = [number for number, text in enumerate(tokens) if text.strip()]
    parts = [_asked(teacher, (texts, held, [tokens[number] for number in saying])) for teacher in teachers]
    few = min(len(texts), config.fit_texts)
    fitted = fit_blend(
        [part[0].vectors[:few] for part in parts], config.weights or (1.0,) * len(teachers), centre=config.centre,
        scale=config.scale, dimension=dimensions,
    )  # fmt: skip
    found = [fitted([part[place].vectors for part in parts]) for place in range(3)]
    rows = np.zeros((len(tokens), dimensions), dtype=np.float32)
    rows[saying] = found[2]
    return Taught(found[0], found[1], rows, fitted)


def _asked(teacher: Encoder, groups: Sequence[Sequence[str]]) -> list[TeacherVectors]:
    return [teacher_vectors(teacher, group, cache_dir() / "training" / "vectors") for group in groups]
