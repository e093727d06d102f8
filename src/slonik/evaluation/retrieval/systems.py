"""Which system a name stands for: a baseline, rankings in files, an encoder, a cross-encoder; each is opened here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.protocols import Classifier, LongTexts
from slonik.evaluation.retrieval.rankers import (
    LEXICAL,
    RANDOM,
    RUN_ENDINGS,
    ByChance,
    ByVectors,
    ByWords,
    FromFiles,
    Ranker,
)
from slonik.evaluation.suite import opened
from slonik.models.kinds import is_checkpoint, is_exported, kind_of, names_head
from slonik.models.opening import open_model, poolings_for

BASELINES = ("bm25", RANDOM)
"""Those that stand beside the models."""
_HEADS = ("head", "task", "tagger")


@dataclass(frozen=True)
class Opening:
    """How models are opened.

    Attributes:
        query_prefix, document_prefix, long_texts, cache: of encoders; long_texts of cross-encoders too.
        loading: dtype, device, trust_remote_code; None = not given.
        seed: of chance.
        poolings: name of a model -> option of loading, for those whose files name no pooling.
    """

    query_prefix: str | None
    document_prefix: str | None
    long_texts: LongTexts | None
    cache: bool
    loading: dict[str, Any]
    seed: int
    poolings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def ranker(self, model: Any) -> Ranker:
        """A first stage.

        Raises:
            SlonikError: no such model, or one that ranks nothing by itself.
        """
        if isinstance(model, str | Path) and not Path(model).is_dir():
            if str(model) in LEXICAL:
                return ByWords(str(model))
            if str(model) == RANDOM:
                return ByChance(self.seed)
        if isinstance(model, str | Path) and _holds_runs(Path(model)):
            return FromFiles(Path(model))
        encoder = opened(model, **self.loading, **self.poolings.get(str(model), {}))
        if not hasattr(encoder, "encode"):
            raise SlonikError(f"{model} gives no vectors of texts: name an encoder, a cross-encoder, or a baseline")
        return ByVectors(encoder, self.query_prefix, self.document_prefix, long_texts=self.long_texts, cache=self.cache)

    def reranker(self, model: Any) -> Classifier:
        """A cross-encoder.

        Raises:
            SlonikError: no such model, or one that is none.
        """
        if isinstance(model, Classifier):
            return model
        if not isinstance(model, str | Path) or not is_reranker(model):
            name = str(getattr(model, "name", model))
            raise SlonikError(
                f"{name} is no cross-encoder: --rerank takes a model that reads query and document together (made by "
                "`slonik finetune MODEL --task rerank`); a sentence encoder ranks by itself: name it as MODEL"
            )
        return _open_classifier(model, self.loading)


def poolings_of(models: Sequence[Any], pooling: str | None) -> dict[str, dict[str, str]]:
    """For each encoder by name the option `pooling` of loading, for those alone whose files name none.

    Raises:
        SlonikError: a pooling is given, and every model has its own.
    """
    names = [model for model in models if isinstance(model, str | Path) and not is_reranker(model)]
    names = [name for name in names if str(name) not in (*LEXICAL, RANDOM) and not _holds_runs(Path(name))]
    return dict(zip(map(str, names), poolings_for(names, pooling), strict=True)) if names else {}


def is_reranker(model: Any) -> bool:
    """Whether a model is a classifier of texts or pairs: it scores what another one found.

    Raises:
        SlonikError: there is no such model.
    """
    if not isinstance(model, str | Path):
        return isinstance(model, Classifier) and not hasattr(model, "encode_poolings")
    folder = Path(model)
    if str(model) in (*LEXICAL, RANDOM) or _holds_runs(folder) or not is_checkpoint(model):
        return False
    if is_exported(model):
        return names_head(folder.expanduser())
    return kind_of(model).name in _HEADS


def _open_classifier(model: str | Path, loading: dict[str, Any]) -> Classifier:
    chosen = {name: value for name, value in loading.items() if value is not None and name != "dtype"}
    if is_exported(model) and chosen:
        raise SlonikError(f"{model} is an exported folder, run by onnxruntime: leave out --{next(iter(chosen))}")
    found = open_model(model, **chosen)
    if not isinstance(found, Classifier):
        raise SlonikError(f"{model} does not score texts: a reranker gives one number for query and document")
    found.name = str(model)  # records carry the name that the user gave
    return found


def _holds_runs(place: Path) -> bool:
    """Whether a file or folder holds rankings.

    Raises:
        SlonikError: it is what `--rankings` wrote, which has a folder for each model.
    """
    if place.is_file():
        return place.name.endswith(RUN_ENDINGS)
    if not place.is_dir() or (place / "config.json").exists():
        return False
    if any(path.name.endswith(RUN_ENDINGS) for path in place.iterdir()):
        return True
    folders = [path for path in sorted(place.iterdir()) if path.is_dir()]
    inside = [str(path) for path in folders if any(child.name.endswith(RUN_ENDINGS) for child in path.iterdir())]
    if inside:
        names = " or ".join(inside[:5])
        raise SlonikError(f"{place} holds rankings of several models, each in a folder of its own: name {names}")
    return False
