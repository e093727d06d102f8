"""A linear-chain CRF over hand features (python-crfsuite): trained in minutes, small, quick, explains itself.

Does: train on documents, save a folder (`tagger.json`, the CRF in crfsuite's own format, names, word clusters,
`passport.json`), load it, tag texts of any length sentence by sentence, with marginal probabilities as confidence.
Does not: read annotation formats, score. The file of the CRF is checked against its hash before it is opened, since
crfsuite itself trusts whatever it is given.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from slonik.core.config import Config, build_config
from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import new_folder, write_bytes, write_json
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.identity import Identity, file_identity, package_identity
from slonik.core.passport import Passport, Step
from slonik.core.progress import progress_bar
from slonik.data.annotations.document import Document, Span, Tagger, flatten
from slonik.data.annotations.tags import OUTSIDE, Offsets, Scheme, decode, encode, tokenize
from slonik.models.baselines import navec_path
from slonik.runtime.tagging import borders
from slonik.runtime.tagging.calibration import Calibration, calibrated
from slonik.runtime.tagging.labels import BioLabels, one_label
from slonik.runtime.tagging.names import NAMES_FILE, Gazetteer, Key, names_of
from slonik.runtime.tagging.word_tagger import WordScores
from slonik.tagging.data import write_training_texts
from slonik.tagging.models.hand_features import Context, HandFeatures, Words
from slonik.tagging.models.sources import Sources, copy_advisers
from slonik.tagging.models.word_clusters import WordClusters, cluster_words
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json

KIND = "crf"
LONGEST = 200
_MODEL_FILE = "model.crfsuite"
_CLUSTERS_FILE = "clusters.txt.gz"
_STOPS = frozenset(".!?…")
_CLOSING = frozenset("»”\"')]}")
_ABBREVIATIONS = frozenset(
    ["г", "гг", "ул", "им", "тыс", "млн", "млрд", "руб", "долл", "см", "рис", "табл", "стр", "проф", "акад", "ст", "п"]
)


class CrfConfig(Config):
    """How a CRF is trained.

    Attributes:
        scheme: tags that it works with inside.
        l1, l2: strengths of the penalties on weights; L1 makes most of them zero and the file small.
        iterations: the most passes of L-BFGS over the training texts.
        least_count: features met less often are not used.
        names: use a list of the names in the training texts.
        clusters: fine clusters of word vectors used as features; 0 = none.
        advisers: other taggers whose spans are features: "slovnet", or folders, which are copied into the CRF's own.
    """

    scheme: Scheme = "BIO"
    l1: float = Field(0.05, ge=0)
    l2: float = Field(0.01, ge=0)
    iterations: int = Field(70, ge=1)
    least_count: int = Field(2, ge=1)
    names: bool = True
    clusters: int = Field(512, ge=0)
    advisers: tuple[str, ...] = ()
    calibrate: bool = True
    """Train once more, without the development documents, and calibrate confidences on what that one says of them."""


class CrfFile(Config):
    """The content of `tagger.json`."""

    format: int = 1
    kind: str = KIND
    labels: tuple[str, ...]
    config: CrfConfig
    lists: bool = False
    """Names from outside the training texts are features, apart from those of the texts."""
    balanced: bool = False
    """Names have both of their quotation marks and brackets, or neither."""
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
        advisers = self._file.config.advisers
        self._sources = Sources.open(folder, advisers, lists=self._file.lists, load=_adviser)
        clusters = self._file.config.clusters
        self._features = HandFeatures(WordClusters.open(folder / _CLUSTERS_FILE) if clusters else None)
        self._tagger = _open(folder / _MODEL_FILE, self._file.sha256)
        self._tags = frozenset(self._tagger.labels())
        self.passport = Passport.read(folder)
        self.calibration = Calibration.open(folder)

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, sorted and disjoint; confidence is made of marginals, see `one_label`."""
        return calibrated(self.calibration, [self._spans(text) for text in texts])

    def describe(self) -> dict[str, Any]:
        """Facts: weights that are not zero, bytes on disk."""
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {
            "kind": KIND,
            "parameters": self._file.parameters,
            "bytes": size,
            "labels": list(self.labels),
            "weights_hash": self._file.sha256,
        }

    def _spans(self, text: str) -> list[Span]:
        words = self._features.words(text)
        context = Context.of(words, self._gazetteer, said=self._sources.say(words))
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
        named = one_label(text, spans, probabilities)
        return borders.balanced(text, named) if self._file.balanced else named

    def marginals(self, texts: Sequence[str], own: Sequence[Sequence[Span]] | None = None) -> Iterator[WordScores]:
        """Probability of each BIO label of each word; a stretch a text, in order.

        Args:
            own: spans that each text gave to the list of names when it was made: the list is asked without them.
        """
        for number, text in enumerate(texts):
            words = self._features.words(text)
            mine = names_of(own[number], words.offsets, words.lower) if own is not None else None
            context = Context.of(words, self._gazetteer, mine, said=self._sources.say(words))
            values = np.zeros((len(words.offsets), len(self.bio)), np.float32)
            for first, after in sentences(text, words.offsets):
                self._tagger.set(self._features.sequence(words, first, after, context))
                for column, tag in enumerate(self.bio.names):
                    if tag in self._tags:
                        values[first:after, column] = [self._tagger.marginal(tag, at) for at in range(after - first)]
            yield WordScores(number, 0, words.offsets, values)

    @property
    def bio(self) -> BioLabels:
        """Numbering of the labels of `marginals`."""
        return BioLabels(self.labels)

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
    inputs: Mapping[str, str] | None = None,
    name: str | None = None,
    lists: Sequence[Mapping[Key, str]] = (),
    substituted: Sequence[Document] = (),
    balanced: bool = False,
) -> FeatureCrf:
    """Train on documents and write the tagger to `folder`; the same documents give the same weights.

    Args:
        documents: with spans; of overlapping ones the longest is taken.
        seed: of the first centres of the word clusters; nothing else is drawn by chance.
        inputs: further hashes for the passport. name: in it; None = the folder's.
        lists: names from outside, as `gazetteer_keys` gives them.
        substituted: further documents, with other names in the places of theirs: no list is asked about them.
        balanced: names have both of their quotation marks and brackets, or neither (`slonik.runtime.tagging.borders`).

    Raises:
        SlonikError: no span to learn from, or the folder is not empty; an adviser that cannot be opened.
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
        config = config.model_copy(update={"advisers": copy_advisers(config.advisers, unfinished)})
        sources = Sources.of(lists, config.advisers, unfinished, load=_adviser)
        gazetteer, trainer = _prepare(documents, config, clusters, sources, substituted)
        log = _fit(trainer, unfinished / _MODEL_FILE, config.iterations)
        write_bytes(unfinished / NAMES_FILE, gazetteer.dump())
        write_training_texts(unfinished, (document.text for document in documents))
        digest = sha256_file(unfinished / _MODEL_FILE)
        parameters = int(log.get("active_features") or 0)
        content = CrfFile(
            labels=tuple(labels), config=config, sha256=digest, parameters=parameters, lists=bool(lists),
            balanced=balanced,
        )  # fmt: skip
        write_json(unfinished / TAGGER_FILE, content.model_dump(mode="json"))
        step = Step(
            command="train",
            config={"kind": KIND, **config.model_dump(mode="json")},
            inputs={"texts": sha256_texts(sorted(document.text for document in documents)), **(inputs or {})},
            seed=seed,
            seconds=time.perf_counter() - started,
            summary={"documents": len(documents), "loss": log.get("loss"), "iterations": log.get("num")},
        )
        Passport(name=name or Path(folder).name).with_step(step).write(unfinished)
    return FeatureCrf(folder)


def _adviser(folder: Path) -> Tagger:
    """A tagger beside the CRF: another CRF, or a BiLSTM, which needs torch."""
    if str(read_json(folder / TAGGER_FILE).get("kind")) == KIND:
        return FeatureCrf(folder)
    from slonik.tagging.models.bilstm import load_bilstm

    return load_bilstm(folder)


def resources_identity() -> Identity:
    """Identity of what decides a CRF beside its documents: the word vectors, and pymorphy3's dictionary.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        dictionary = package_identity("pymorphy3-dicts-ru")
    except SlonikError:
        raise MissingExtra("a tagger over hand features", "ner", "pymorphy3") from None
    return Identity.of({"word vectors": file_identity(navec_path()), "dictionary": dictionary})


def _clusters(documents: Sequence[Document], count: int, seed: int) -> WordClusters | None:
    """Clusters made of the words of the documents; None where none are wanted."""
    if not count:
        return None
    words = {document.text[start:end].lower() for document in documents for start, end in tokenize(document.text)}
    return cluster_words(words, count, seed=seed)


def _prepare(
    documents: Sequence[Document],
    config: CrfConfig,
    clusters: WordClusters | None,
    sources: Sources,
    substituted: Sequence[Document],
) -> tuple[Gazetteer, Any]:
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
    nothing = Gazetteer({})
    more = [(features.words(document.text), flatten(document.spans)) for document in substituted]
    asked = [(*one, gazetteer, own) for one, own in zip(read, names, strict=True)]
    for words, spans, known, own in [*asked, *((*one, nothing, {}) for one in more)]:
        context = Context.of(words, known, own, sources.say(words, lists=known is not nothing))
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


def sentences(text: str, offsets: Sequence[Offsets]) -> Iterator[tuple[int, int]]:
    """(first, after the last) token of each sequence, about a sentence long; together they are all tokens, in order.

    A cut is made after a full stop, question or exclamation mark, or ellipsis (with closing quotes and brackets) before
    a word that begins with a capital, at line ends, and after `LONGEST` tokens, so that any text is tagged in bounded
    memory. A full stop after a single letter or a usual abbreviation does not cut. A missed or a wrong border costs
    little: features look over it.
    """
    first = 0
    for index in range(1, len(offsets)):
        if index - first >= LONGEST or _ends(text, offsets, index):
            yield first, index
            first = index
    if first < len(offsets):
        yield first, len(offsets)


def _ends(text: str, offsets: Sequence[Offsets], index: int) -> bool:
    """Whether a sequence ends before token `index`."""
    start = offsets[index][0]
    gap = text[offsets[index - 1][1] : start]
    if not gap:
        return False
    if "\n" in gap:
        return True
    last = index - 1
    while last >= 0 and text[offsets[last][0]] in _CLOSING:
        last -= 1
    if last < 0 or text[offsets[last][0]] not in _STOPS or not _opens(text[start]):
        return False
    if last == 0 or text[offsets[last][0]] != ".":
        return True
    before = text[offsets[last - 1][0] : offsets[last - 1][1]].lower()
    return not (len(before) == 1 and before.isalpha()) and before not in _ABBREVIATIONS


def _opens(sign: str) -> bool:
    return sign.isupper() or sign.isdigit() or sign in "«„“\"'([—–-•"
