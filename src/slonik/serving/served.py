"""The models behind one server, by the names that clients use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder, Generator
from slonik.serving.decode_queue import DecodeQueue
from slonik.serving.encode_queue import EncodeQueue
from slonik.serving.engine import Engine
from slonik.serving.errors import ApiError, did_you_mean
from slonik.serving.metrics import Metrics
from slonik.serving.schemas import ModelCard
from slonik.serving.settings import ServeSettings
from slonik.serving.tag_queue import SpanTagger, TagQueue
from slonik.serving.work_queue import WorkQueue


@dataclass(frozen=True)
class ServedModel:
    """One model to serve.

    Attributes:
        id: the name that clients send as `model`.
        model: an encoder, for vectors, a decoder, for texts, or a tagger, for entities.
        aliases: further names that clients may send.
    """

    id: str
    model: Encoder | Generator | SpanTagger
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServedEncoder:
    """An encoder with its queue."""

    card: ModelCard
    queue: EncodeQueue
    engine: Engine


@dataclass(frozen=True)
class ServedDecoder:
    """A decoder with its queue."""

    card: ModelCard
    queue: DecodeQueue


@dataclass(frozen=True)
class ServedTagger:
    """A tagger with its queue."""

    card: ModelCard
    queue: TagQueue


Served: TypeAlias = ServedEncoder | ServedDecoder | ServedTagger


@dataclass(frozen=True)
class Catalogue:
    """All served models; `encoders`, `decoders` and `taggers` have an entry per name, aliases included."""

    cards: list[ModelCard] = field(default_factory=list)
    encoders: dict[str, ServedEncoder] = field(default_factory=dict)
    decoders: dict[str, ServedDecoder] = field(default_factory=dict)
    taggers: dict[str, ServedTagger] = field(default_factory=dict)

    def encoder(self, name: str) -> ServedEncoder:
        """The encoder called `name`.

        Raises:
            ApiError: 404, with the nearest name, or the route for a decoder.
        """
        if found := self.encoders.get(name):
            return found
        if name in self.decoders:
            raise _not_found(f"the model {name!r} is a decoder: send prompts to /v1/completions")
        if name in self.taggers:
            raise _not_found(f"the model {name!r} is a tagger: send texts to /tag")
        raise self._unknown(name, self.encoders, "model")

    def decoder(self, name: str | None = None) -> ServedDecoder:
        """The decoder called `name`, or the first one.

        Raises:
            ApiError: 404, with the nearest name, the route for an encoder, or that no decoder is served.
        """
        if name is None and self.decoders:
            return next(iter(self.decoders.values()))
        if name is not None and (found := self.decoders.get(name)):
            return found
        if name is not None and name in self.encoders:
            raise _not_found(f"the model {name!r} is an encoder: send texts to /v1/embeddings")
        if name is None or not self.decoders:
            raise _not_found("no decoder is served here: start the server with one, `slonik serve DECODER`")
        raise self._unknown(name, self.decoders, "model")

    def tagger(self, name: str | None = None) -> ServedTagger:
        """The tagger called `name`, or the first one.

        Raises:
            ApiError: 404, with the nearest name, the route for another kind, or that no tagger is served.
        """
        if name is None and self.taggers:
            return next(iter(self.taggers.values()))
        if name is not None and (found := self.taggers.get(name)):
            return found
        if name is not None and (name in self.encoders or name in self.decoders):
            raise _not_found(f"the model {name!r} tags nothing: name a tagger, see /v1/models")
        if name is None or not self.taggers:
            raise _not_found("no tagger is served here: start the server with one, `slonik serve TAGGER`")
        raise self._unknown(name, self.taggers, "model")

    def card(self, name: str) -> ModelCard:
        """The card of the model called `name`.

        Raises:
            ApiError: 404, with the nearest name.
        """
        known: dict[str, Served] = {**self.encoders, **self.decoders, **self.taggers}
        found = known.get(name)
        if found is None:
            raise self._unknown(name, known, "model")
        return found.card

    def queues(self) -> list[WorkQueue[Any]]:
        """Every queue once."""
        served: list[Served] = [*self.encoders.values(), *self.decoders.values(), *self.taggers.values()]
        return list({id(one.queue): one.queue for one in served}.values())

    def _unknown(self, name: str, known: Mapping[str, Served], what: str) -> ApiError:
        ids = ", ".join(sorted({served.card.id for served in known.values()}))
        served = f"served: {ids}" if ids else f"no {what} is served"
        return _not_found(f"unknown {what} {name[:100]!r}{did_you_mean(name, known)} ({served})")


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
            if name in found.encoders or name in found.decoders or name in found.taggers:
                raise SlonikError(f"two models are called {name!r}: rename one of the folders")
        _add(found, served, settings, metrics)
    return found


def _add(found: Catalogue, served: ServedModel, settings: ServeSettings, metrics: Metrics) -> None:
    names = dict.fromkeys((served.id, *served.aliases))
    own = metrics.of_model(served.id)
    now = int(time.time())
    if isinstance(served.model, SpanTagger):
        card = ModelCard(id=served.id, created=now, kind="tagger", labels=list(served.model.labels))
        tagging = TagQueue(served.model, settings.max_queue, own)
        found.taggers.update(dict.fromkeys(names, ServedTagger(card, tagging)))
    elif isinstance(served.model, Encoder):
        engine = Engine(served.model)
        types = sorted(engine.sentence.prefixes) if engine.sentence else []
        card = ModelCard(
            id=served.id, created=now, kind="encoder", dimension=engine.dimension, max_tokens=engine.max_tokens,
            input_types=types,
        )  # fmt: skip
        queue = EncodeQueue(engine, settings.max_batch_tokens, settings.max_queue, own)
        found.encoders.update(dict.fromkeys(names, ServedEncoder(card, queue, engine)))
    else:
        card = ModelCard(
            id=served.id, created=now, kind="decoder", max_tokens=getattr(served.model, "max_tokens", None)
        )
        decoding = DecodeQueue(served.model, settings.max_queue, own)
        found.decoders.update(dict.fromkeys(names, ServedDecoder(card, decoding)))
    found.cards.append(card)
