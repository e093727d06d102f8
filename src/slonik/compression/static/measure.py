"""What a static model costs and is worth: speed and size in turns, agreement, encodechka beside baselines and original.

Rows: the original, hashed words, the mean of navec vectors, the table before training, and the table in each precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slonik.compression.corpus import CorpusSample
from slonik.compression.measure import HeldVectors, vector_records
from slonik.compression.static.config import StaticRecipe
from slonik.core.errors import SlonikError
from slonik.core.paths import data_dir
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.core.run import Announce
from slonik.evaluation.encodechka.run import evaluate
from slonik.evaluation.encodechka.suite import encodechka
from slonik.evaluation.resources.measure import bench_texts, measure_in_turns
from slonik.evaluation.suite import Evaluation
from slonik.models.opening import open_encoder
from slonik.runtime.static import Precision, StaticEncoder

BASELINES = ("hashing_300", "navec")


def measured_static(
    config: StaticRecipe,
    original: Encoder,
    models: Mapping[Precision, StaticEncoder],
    begun: StaticEncoder,
    sample: CorpusSample,
    announce: Announce,
) -> tuple[list[Record], Evaluation | None]:
    """Records of everything, and the suite's tables where its data is there.

    Args:
        original: the first teacher.
        models: precision -> the trained table; the first is the result.
        begun: the table before training.
        announce: is told what is being measured, and what is left out.
    """
    data = data_dir(Path(config.data_dir) if config.data_dir else None)
    there = (data / "encodechka").is_dir()
    result = next(iter(models.values()))
    announce("measuring speed and agreement ...")
    texts = bench_texts(data_dir=data if there else None, limit=config.speed_texts)
    records = [record for found in measure_in_turns([original, result], texts, rounds=3) for record in found]
    theirs = HeldVectors.of(original, sample)
    for encoder in (begun, *models.values()):
        before, after = vector_records(theirs, HeldVectors.of(encoder, sample), sample, config.seed)
        records += after if encoder is not begun else [*before, *after]
    if not config.evaluate or not there:
        return records, None
    announce("measuring encodechka: the original, baselines, the table before and after training ...")
    found = encodechka([original, *_baselines(announce), begun, *models.values()], data_dir=data, seed=config.seed)
    records += found.records
    for cut in (size for size in config.cuts if size < result.dimension):
        records += evaluate(result, data, seed=config.seed, dimensions=cut).records
    return records, found


def _baselines(announce: Announce) -> list[Encoder]:
    """Those whose packages are installed."""
    found = []
    for name in BASELINES:
        try:
            found.append(open_encoder(name))
        except SlonikError as error:
            announce(f"the baseline {name} is left out: {error}")
    return found
