"""What teachers say of a static model's texts and tokens, in the table's own dimensions.

Vectors of the teachers (or of one) stand side by side as `blend` has it, and their principal axes are the table's
dimensions, the first ones carrying most. Where an original is much slower than the other teachers, further texts can be
read by these alone: the table learns from them in the part of the space that is theirs. The two sides of a translation
pair aim at the mean of their vectors. Vectors of texts come from the cache that all distillation shares.
Does not: fit (see `table`).

Shapes: N texts, V tokens, E dimensions of a teacher, D of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from slonik.compression.blend import BlendMap, fit_blend, side_by_side
from slonik.compression.config import BlendConfig
from slonik.compression.corpus import CorpusSample, Pair
from slonik.compression.static.table import Lesson
from slonik.compression.static.vocabulary import token_ids, token_texts
from slonik.core.errors import SlonikError
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, FloatArray
from slonik.evaluation.agreement import unit
from slonik.train.teacher_cache import teacher_vectors


@dataclass(frozen=True)
class Taught:
    """Everything that a table learns from and is chosen by.

    Attributes:
        lessons: texts that all teachers read; then those that all but the original read, where there are any.
        held: texts that choose.
        tokens: (V, D) vectors of single tokens; zeros for those that say nothing.
        blend: from the teachers' vectors to the table's dimensions.
    """

    lessons: tuple[Lesson, ...]
    held: Lesson
    tokens: FloatArray
    blend: BlendMap


def static_texts(sample: CorpusSample) -> list[str]:
    """Sentences, substituted ones, both sides of pairs and of near pairs, each once."""
    return list(dict.fromkeys([*sample.texts, *sample.substituted, *_sides(sample.pairs), *_sides(sample.near)]))


def held_texts(sample: CorpusSample) -> list[str]:
    """Held-out sentences and both sides of held-out pairs, each once."""
    return list(dict.fromkeys([*sample.held_texts, *_sides(sample.held_pairs), *_sides(sample.held_near)]))


def check_teachers(teachers: Sequence[Encoder], config: BlendConfig, dimensions: int, further: bool) -> None:
    """Refuse before any work what cannot be blended.

    Raises:
        SlonikError: as many weights as there are no teachers, fewer dimensions than the table is to have, or further
            texts without a further teacher.
    """
    if config.weights is not None and len(config.weights) != len(teachers):
        raise SlonikError(f"{len(config.weights)} weights for {len(teachers)} teachers: give one for each")
    total = sum(teacher.dimension for teacher in teachers)
    if dimensions > total:
        raise SlonikError(f"the teachers have {total} dimensions together, and the table cannot have {dimensions}")
    if further and len(teachers) < 2:
        raise SlonikError("`further` texts are read by further teachers alone, and there are none: give --teacher")


def teach(
    teachers: Sequence[Encoder],
    tokenizer: Tokenizer,
    sample: CorpusSample,
    further: CorpusSample | None,
    config: BlendConfig,
    dimensions: int,
) -> Taught:
    """Ask the teachers, or find their answers in the cache, and turn them into the table's dimensions.

    Args:
        further: read by all but the first teacher, and so are single tokens then.

    Raises:
        SlonikError: fewer texts than dimensions, a full disk.
    """
    texts, held, tokens = static_texts(sample), held_texts(sample), token_texts(tokenizer)
    vectors, held_vectors = _asked(teachers, texts), _asked(teachers, held)
    few = min(len(texts), config.fit_texts)
    step = max(1, len(texts) // few)
    blend = fit_blend(
        [part[::step][:few] for part in vectors], config.weights or (1.0,) * len(teachers), centre=config.centre,
        dimension=dimensions,
    )  # fmt: skip
    first = Lesson(token_ids(tokenizer, texts), meeting(blend(vectors), texts, sample.pairs))
    lessons = [first]
    if further is not None:
        known = {*texts, *held}
        more = [text for text in static_texts(further) if text not in known]
        lessons.append(partial_lesson(blend, _asked(teachers[1:], more), more, further.pairs, tokenizer))
    saying = [number for number, text in enumerate(tokens) if text.strip()]
    rows = np.zeros((len(tokens), dimensions), dtype=np.float32)
    alone = 0 if further is None else 1
    spoken = _asked(teachers[alone:], [tokens[number] for number in saying])
    rows[saying] = beside(blend, spoken, alone) @ view_of(blend, alone).T
    return Taught(tuple(lessons), Lesson(token_ids(tokenizer, held), blend(held_vectors)), rows, blend)


def partial_lesson(
    blend: BlendMap, vectors: Sequence[FloatArray], texts: Sequence[str], pairs: Iterable[Pair], tokenizer: Tokenizer
) -> Lesson:
    """What all teachers but the first say of texts, and the view of the table that it is compared with."""
    said = meeting(beside(blend, vectors, 1), texts, pairs)
    return Lesson(token_ids(tokenizer, texts), said, view_of(blend, 1))


def beside(blend: BlendMap, vectors: Sequence[FloatArray], start: int) -> FloatArray:
    """(N, sum of E) of the teachers from number `start` on, centred and weighted as in the blend."""
    return side_by_side(vectors, blend.means[start:], blend.weights[start:])


def view_of(blend: BlendMap, start: int) -> FloatArray:
    """(D, sum of E) from the table's space to that of the teachers from number `start` on."""
    return np.ascontiguousarray(blend.axes[sum(map(len, blend.means[:start])) :].T)


def meeting(targets: FloatArray, texts: Sequence[str], pairs: Iterable[Pair]) -> FloatArray:
    """Targets (N, E) in which the two sides of each pair aim at the mean of both, as long as each was."""
    place: Mapping[str, int] = {text: number for number, text in enumerate(texts)}
    both = [(place[one], place[other]) for one, other in pairs if one in place and other in place]
    if not both:
        return targets
    first, second = (np.asarray(side) for side in zip(*both, strict=True))
    towards = unit(targets[first] + targets[second])
    found = targets.copy()
    for side in (first, second):
        found[side] = towards * np.linalg.norm(targets[side], axis=1, keepdims=True)
    return found


def _asked(teachers: Sequence[Encoder], texts: Sequence[str]) -> list[FloatArray]:
    folder = cache_dir() / "training" / "vectors"
    return [np.asarray(teacher_vectors(teacher, texts, folder).vectors, dtype=np.float32) for teacher in teachers]


def _sides(pairs: Iterable[Pair]) -> Iterable[str]:
    return (text for pair in pairs for text in pair)
