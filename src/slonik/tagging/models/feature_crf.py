"""A linear-chain CRF over hand features (python-crfsuite): trained in minutes, small, quick, explains itself.

Does: train on documents, save a folder (`tagger.json`, the CRF in crfsuite's own format, names, word clusters,
`passport.json`), load it, tag texts of any length sentence by sentence, with marginal probabilities as confidence.
Does not: read annotation formats, score. The file of the CRF is checked against its hash before it is opened, since
crfsuite itself trusts whatever it is given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from slonik.core.config import Config, build_config
from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import new_folder, write_bytes, write_json
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.passport import Passport, Step
from slonik.core.progress import progress_bar
from slonik.data.annotations.document import Document, Span, flatten
from slonik.data.annotations.tags import OUTSIDE, Offsets, Scheme, decode, encode, tokenize
from slonik.models.checkpoint_files import read_json
from slonik.tagging.models.features import Context, HandFeatures, Words
from slonik.tagging.models.gazetteer import NAMES_FILE, Gazetteer, names_of
from slonik.tagging.models.one_label import one_label
from slonik.tagging.models.sentences import sentences
from slonik.tagging.models.word_clusters import WordClusters, cluster_words
from slonik.tagging.training_texts import write_training_texts

TAGGER_FILE = "tagger.json"
KIND = "crf"
_MODEL_FILE = "model.crfsuite"
_CLUSTERS_FILE = "clusters.txt.gz"


class CrfConfig(Config):
    """How a CRF is trained.

    Attributes:
        scheme: tags that it works with inside.
        l1, l2: strengths of the penalties on weights; L1 makes most of them zero and the file small.
        iterations: the most passes of L-BFGS over the training texts.
        least_count: features met less often are not used.
        names: use a list of the names in the training texts.
        clusters: fine clusters of word vectors used as features; 0 = none.
    """

    scheme: Scheme = "BIO"
    l1: float = Field(0.05, ge=0)
    l2: float = Field(0.01, ge=0)
    iterations: int = Field(70, ge=1)
    least_count: int = Field(2, ge=1)
    names: bool = True
    clusters: int = Field(512, ge=0)


class CrfFile(Config):
    """The content of `tagger.json`."""

    format: int = 1
    kind: str = KIND
    labels: tuple[str, ...]
    config: CrfConfig
    sha256: str
    parameters: int


class FeatureCrf:
    """A trained CRF as a `Tagger`.

    Args:
        folder: what `train_crf` wrote.

    Attributes:
        name: the folder's name.
        labels: entity types, sorted.

    Raises:
        SlonikError: a file is missing or damaged.
        MissingExtra: python-crfsuite or pymorphy3 is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.folder = folder
        self.name = folder.resolve().name
        where = folder / TAGGER_FILE
        self._file = build_config(CrfFile, read_json(where), source=str(where))
        self.labels = self._file.labels
        self._gazetteer = Gazetteer.open(folder)
        clusters = self._file.config.clusters
        self._features = HandFeatures(WordClusters.open(folder / _CLUSTERS_FILE) if clusters else None)
        self._tagger = _open(folder / _MODEL_FILE, self._file.sha256)
        self._tags = frozenset(self._tagger.labels())
        self.passport = Passport.read(folder)

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, sorted and disjoint; confidence is made of marginals, see `one_label`."""
        return [self._spans(text) for text in texts]

    def describe(self) -> dict[str, Any]:
        """Facts: weights that are not zero, bytes on disk."""
        size = sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
        return {
            "kind": KIND,
            "parameters": self._file.parameters,
            "bytes": size,
            "labels": list(self.labels),
            "weights_hash": self._file.sha256,
        }

    def _spans(self, text: str) -> list[Span]:
        words = self._features.words(text)
        context = Context.of(words, self._gazetteer)
        spans: list[Span] = []
        probabilities: list[dict[str, float]] = []
        for first, after in sentences(text, words.offsets):
            self._tagger.set(self._features.sequence(words, first, after, context))
            tags = self._tagger.tag()
            if any(tag != OUTSIDE for tag in tags):
                offsets = words.offsets[first:after]
                for span in decode(tags, offsets):
                    spans.append(span)
                    probabilities.append(self._probabilities(span, tags, offsets))
        return one_label(text, spans, probabilities)

    def _probabilities(self, span: Span, tags: Sequence[str], offsets: Sequence[Offsets]) -> dict[str, float]:
        """Label -> the least marginal of the span's words, had it that label; for the sequence set last."""
        places = [place for place, (start, end) in enumerate(offsets) if span.start <= start and end <= span.end]
        found = {}
        for label in self.labels:
            wanted = [f"{tags[place][0]}-{label}" for place in places]
            if all(tag in self._tags for tag in wanted):
                found[label] = min(self._tagger.marginal(tag, place) for tag, place in zip(wanted, places, strict=True))
        return found


def train_crf(
    documents: Sequence[Document],
    folder: str | Path,
    config: CrfConfig | None = None,
    *,
    seed: int = 0,
    inputs: dict[str, str] | None = None,
) -> FeatureCrf:
    """Train on documents and write the tagger to `folder`; the same documents give the same weights.

    Args:
        documents: with spans; where they overlap the longest is learnt.
        seed: of the first centres of the word clusters; nothing else is drawn by chance.
        inputs: further hashes for the passport.

    Raises:
        SlonikError: no span to learn from, or the folder is not empty.
    """
    config = config or CrfConfig()
    started = time.perf_counter()
    labels = sorted({span.label for document in documents for span in document.spans})
    if not labels:
        raise SlonikError(f"nothing to learn: none of the {len(documents)} documents has an annotation")
    with new_folder(folder) as unfinished:
        clusters = _clusters(documents, config.clusters, seed)
        if clusters is not None:
            clusters.save(unfinished / _CLUSTERS_FILE)
        gazetteer, trainer = _prepare(documents, config, clusters)
        log = _fit(trainer, unfinished / _MODEL_FILE, config.iterations)
        write_bytes(unfinished / NAMES_FILE, gazetteer.dump())
        write_training_texts(unfinished, (document.text for document in documents))
        digest = sha256_file(unfinished / _MODEL_FILE)
        parameters = int(log.get("active_features") or 0)
        content = CrfFile(labels=tuple(labels), config=config, sha256=digest, parameters=parameters)
        write_json(unfinished / TAGGER_FILE, content.model_dump(mode="json"))
        step = Step(
            command="train",
            config={"kind": KIND, **config.model_dump(mode="json")},
            inputs={"texts": sha256_texts(sorted(document.text for document in documents)), **(inputs or {})},
            seed=seed,
            seconds=time.perf_counter() - started,
            summary={"documents": len(documents), "loss": log.get("loss"), "iterations": log.get("num")},
        )
        Passport(name=Path(folder).name).with_step(step).write(unfinished)
    return FeatureCrf(folder)


def _clusters(documents: Sequence[Document], count: int, seed: int) -> WordClusters | None:
    """Clusters made of the words of the documents; None where none are wanted."""
    if not count:
        return None
    words = {document.text[start:end].lower() for document in documents for start, end in tokenize(document.text)}
    return cluster_words(words, count, seed=seed)


def _prepare(documents: Sequence[Document], config: CrfConfig, clusters: WordClusters | None) -> tuple[Gazetteer, Any]:
    """The list of names, and a trainer that has all sequences."""
    trainer = _crfsuite().Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params(
        {
            "c1": config.l1,
            "c2": config.l2,
            "max_iterations": config.iterations,
            "feature.minfreq": config.least_count,
            "feature.possible_transitions": True,
        }
    )
    features = HandFeatures(clusters)
    read: list[tuple[Words, tuple[Span, ...]]] = [
        (features.words(document.text), flatten(document.spans)) for document in documents
    ]
    names = [names_of(spans, words.offsets, words.lower) if config.names else {} for words, spans in read]
    gazetteer = Gazetteer.of(names)
    for (words, spans), own in zip(read, names, strict=True):
        context = Context.of(words, gazetteer, own)
        tags = encode(spans, words.offsets, config.scheme).tags
        for first, after in sentences(words.text, words.offsets):
            trainer.append(features.sequence(words, first, after, context), tags[first:after])
    return gazetteer, trainer


def _fit(trainer: Any, path: Path, iterations: int) -> dict[str, Any]:
    """Train into a file; the last line of the trainer's log."""
    with progress_bar("training the CRF", total=iterations) as bar:
        trainer.on_iteration = lambda _, info: bar.advance(loss=f"{info.get('loss', 0):,.0f}")
        trainer.train(str(path))
    last: dict[str, Any] = dict(trainer.logparser.last_iteration or {})
    return last


def _crfsuite() -> Any:
    try:
        import pycrfsuite
    except ModuleNotFoundError as error:
        raise MissingExtra("a CRF over hand features", "ner", error.name) from None
    return pycrfsuite


def _open(path: Path, digest: str) -> Any:
    if not path.is_file():
        raise SlonikError(f"{path} is missing: copy the folder whole")
    if sha256_file(path) != digest:
        raise SlonikError(f"{path} is not the file that {TAGGER_FILE} names (its hash differs): copy the folder again")
    tagger = _crfsuite().Tagger()
    tagger.open(str(path))
    return tagger
