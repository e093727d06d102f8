"""The models behind one server, by the names that clients use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.protocols import Classifier, Encoder, Generator
from slonik.serving.classifier_engine import ClassifierEngine
from slonik.serving.decode_queue import DecodeQueue
from slonik.serving.encoder_engine import EncoderEngine
from slonik.serving.engine import Engine, SpanTagger, TaggerEngine
from slonik.serving.errors import ApiError, did_you_mean
from slonik.serving.metrics import Metrics
from slonik.serving.schemas import ModelCard
from slonik.serving.settings import ServeSettings
from slonik.serving.text_queue import TextQueue
from slonik.serving.work_queue import WorkQueue

Model: TypeAlias = Encoder | Generator | SpanTagger | Classifier
Kind = Literal["encoder", "decoder", "tagger", "classifier"]
_ROUTES: dict[Kind, str] = {
    "encoder": "an encoder: send texts to /v1/embeddings",
    "decoder": "a decoder: send prompts to /v1/completions",
    "tagger": "a tagger: send texts to /tag",
    "classifier": "a classifier: send texts to /classify",
}
_SCORED = ("single", "multi", "number")
_UNNAMED = "default/not-specified"  # infinity's clients send it where the user names no model


@dataclass(frozen=True)
class ServedModel:
    """One model to serve.

    Attributes:
        id: the name that clients send as `model`.
        model: an encoder, for vectors, a decoder, for texts, a tagger, for entities, or a classifier, for labels and
            relevance.
        aliases: further names that clients may send.
    """

    id: str
    model: Model
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServedEncoder:
    """An encoder with its queue."""

    card: ModelCard
    queue: TextQueue
    engine: EncoderEngine


@dataclass(frozen=True)
class ServedDecoder:
    """A decoder with its queue."""

    card: ModelCard
    queue: DecodeQueue


@dataclass(frozen=True)
class ServedTagger:
    """A tagger with its queue."""

    card: ModelCard
    queue: TextQueue


@dataclass(frozen=True)
class ServedClassifier:
    """A classifier with its queue."""

    card: ModelCard
    queue: TextQueue
    model: Classifier

    @property
    def ranks(self) -> bool:
        """Whether it gives a number for two texts, as a reranker does."""
        return self.model.target == "number"


Served: TypeAlias = ServedEncoder | ServedDecoder | ServedTagger | ServedClassifier


@dataclass(frozen=True)
class Catalogue:
    """All served models; each kind has an entry per name, aliases included."""

    cards: list[ModelCard] = field(default_factory=list)
    encoders: dict[str, ServedEncoder] = field(default_factory=dict)
    decoders: dict[str, ServedDecoder] = field(default_factory=dict)
    taggers: dict[str, ServedTagger] = field(default_factory=dict)
    classifiers: dict[str, ServedClassifier] = field(default_factory=dict)

    def encoder(self, name: str | None = None) -> ServedEncoder:
        """The encoder called `name`, or the first one.

        Raises:
            ApiError: 404, with the nearest name, the route for another kind, or that no encoder is served.
        """
        return self._find(name, self.encoders, "encoder")

    def decoder(self, name: str | None = None) -> ServedDecoder:
        """The decoder called `name`, or the first one.

        Raises:
            ApiError: as for encoders.
        """
        return self._find(name, self.decoders, "decoder")

    def tagger(self, name: str | None = None) -> ServedTagger:
        """The tagger called `name`, or the first one.

        Raises:
            ApiError: as for encoders.
        """
        return self._find(name, self.taggers, "tagger")

    def classifier(self, name: str | None = None, *, ranks: bool = False) -> ServedClassifier:
        """The classifier called `name`, or the first one: for `ranks` the first that can, else the first with labels.

        Raises:
            ApiError: as for encoders; 400 where one is named that cannot rank.
        """
        if name is None or name == _UNNAMED:
            suited = [served for served in self.classifiers.values() if served.ranks == ranks]
            if ranks and not suited:
                raise _not_found("no reranker is served here: start the server with one, `slonik serve RERANKER`")
            return suited[0] if suited else self._find(None, self.classifiers, "classifier")
        found = self._find(name, self.classifiers, "classifier")
        if ranks and not found.ranks:
            message = f"the model {name!r} gives labels and ranks nothing: name a reranker, or send texts to /classify"
            raise ApiError(400, message, param="model", code="invalid_value")
        return found

    def card(self, name: str) -> ModelCard:
        """The card of the model called `name`.

        Raises:
            ApiError: 404, with the nearest name.
        """
        known = self.known()
        found = _called(name, known)
        if found is None:
            raise self._unknown(name, known)
        return found.card

    def known(self) -> dict[str, Served]:
        """Every model by all of its names."""
        return {**self.encoders, **self.decoders, **self.taggers, **self.classifiers}

    def queues(self) -> list[WorkQueue[Any]]:
        """Every queue once."""
        return list({id(one.queue): one.queue for one in self.known().values()}.values())

    def _find(self, name: str | None, among: Mapping[str, Any], kind: Kind) -> Any:
        if name is None or name == _UNNAMED:
            if among:
                return next(iter(among.values()))
            raise _not_found(f"no {kind} is served here: start the server with one, `slonik serve {kind.upper()}`")
        if found := _called(name, among):
            return found
        if other := _called(name, self.known()):
            raise _not_found(f"the model {name!r} is {_ROUTES[other.card.kind]}")
        if not among:
            raise _not_found(f"no {kind} is served here: start the server with one, `slonik serve {kind.upper()}`")
        raise self._unknown(name, among)

    def _unknown(self, name: str, known: Mapping[str, Served]) -> ApiError:
        ids = ", ".join(sorted({served.card.id for served in known.values()}))
        served = f"served: {ids}" if ids else "no model is served"
        return _not_found(f"unknown model {name[:100]!r}{did_you_mean(name, known)} ({served})")


def _called(name: str, known: Mapping[str, Any]) -> Any:
    """What is called `name`; a client's name for us may stand before it ("openai/small-ru", as LiteLLM writes).

    An id that has an organisation of its own ("intfloat/e5") is called by that one alone.
    """
    if found := known.get(name):
        return found
    return known.get(name.rpartition("/")[2]) if "/" in name else None


def _not_found(message: str) -> ApiError:
    return ApiError(404, message, param="model", code="model_not_found")


def catalogue(models: Sequence[ServedModel], settings: ServeSettings, metrics: Metrics) -> Catalogue:
    """Queues for `models`, not yet started.

    Raises:
        SlonikError: no model, or two of one name.
    """
    if not models:
        raise SlonikError("there is no model to serve: name at least one")
    found = Catalogue()
    for served in models:
        for name in dict.fromkeys((served.id, *served.aliases)):
            if name in found.known():
                raise SlonikError(f"two models are called {name!r}: give one another name, `slonik serve NAME=MODEL`")
        _add(found, served, settings, metrics)
    return found


def _add(found: Catalogue, served: ServedModel, settings: ServeSettings, metrics: Metrics) -> None:
    names = dict.fromkeys((served.id, *served.aliases))
    own = metrics.of_model(served.id)
    now = int(time.time())
    model = served.model

    def queue_of(engine: Engine) -> TextQueue:
        engine.long_texts = settings.long_texts or engine.long_texts
        return TextQueue(engine, settings.max_batch_tokens, settings.max_queue, own)

    card = ModelCard(id=served.id, created=now, kind="encoder")
    if isinstance(model, SpanTagger):
        card = card.model_copy(update={"kind": "tagger", "labels": list(model.labels)})
        found.taggers.update(dict.fromkeys(names, ServedTagger(card, queue_of(TaggerEngine(model, settings.threads)))))
    elif isinstance(model, Classifier):
        if model.target not in _SCORED:
            raise SlonikError(
                f"{served.id} gives answers of the kind {model.target!r}, for which the server has no route: use "
                "`slonik predict`"
            )
        scoring = ClassifierEngine(model, settings.threads)
        queue = queue_of(scoring)
        card = card.model_copy(
            update={
                "kind": "classifier", "labels": list(model.labels), "target": model.target,
                "max_tokens": scoring.max_tokens, "long_texts": scoring.long_texts,
            }
        )  # fmt: skip
        found.classifiers.update(dict.fromkeys(names, ServedClassifier(card, queue, model)))
    elif isinstance(model, Encoder):
        engine = EncoderEngine(model, settings.threads)
        queue = queue_of(engine)
        card = card.model_copy(
            update={
                "dimension": engine.dimension, "max_tokens": engine.max_tokens, "long_texts": engine.long_texts,
                "input_types": sorted(engine.sentence.prefixes) if engine.sentence else [],
            }
        )  # fmt: skip
        found.encoders.update(dict.fromkeys(names, ServedEncoder(card, queue, engine)))
    else:
        card = card.model_copy(update={"kind": "decoder", "max_tokens": getattr(model, "max_tokens", None)})
        decoding = DecodeQueue(model, settings.max_queue, own)
        found.decoders.update(dict.fromkeys(names, ServedDecoder(card, decoding)))
    found.cards.append(card)
