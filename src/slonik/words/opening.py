"""Vectors of words from any model: files of word vectors, a model's table of tokens, and its contextual layers.

A transformer's words are the tokens that are whole words (a word that its tokenizer gives as that one token); any
other word is the mean of its tokens. In a layer a word is read alone, or, where texts are given, in all the places
where they have it, and the mean over its tokens and places is taken (the "decontextualised" and "aggregated" vectors
of Bommasani, Davis, Cardie 2020). Special tokens are left out of every mean.

Shapes: V words, D dimensions, L layers; layer 0 is what goes into the first layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count
from slonik.core.progress import track
from slonik.core.protocols import FloatArray
from slonik.data.readers import read_texts
from slonik.models.kinds import is_exported, kind_of, resolve
from slonik.models.word_vectors import WordVectors, is_word_vectors, read_word_vectors
from slonik.text.lines import numbered_lines
from slonik.text.tokenizing import content_ids, encode, template_of

MOST_WORDS = 20_000
"""Words that are read by a layer where nobody names a list."""
_MOST_PLACES = 50  # of one word in texts
_LEAST_PLACES = 3
_BATCH = 64
_ENDINGS = {".vec", ".txt", ".bin", ".gz", ".tar"}


def open_words(
    model: str | Path | WordVectors,
    *,
    layer: int | None = None,
    vocabulary: str | Path | Sequence[str] | None = None,
    texts: str | Path | None = None,
    limit: int | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> WordVectors:
    """Vectors of words of whatever `model` is.

    Args:
        model: `navec`, a file of word vectors, a folder of `slonik words train`, any model with a table of tokens.
        layer: of a transformer, 0 = what goes into the first one; None = its table of tokens.
        vocabulary: a file with a word a line, or words, among which answers are looked for; None = all words of the
            file, or the tokens that are whole words (of a layer, the first 20,000 in Cyrillic letters).
        texts: of a layer: a file of texts; a word is the mean of its places in them.
        limit: the first so many words only.

    Raises:
        SlonikError: no such model or layer, an option that means nothing to it, an empty list of words.
        MissingExtra: gensim, navec or torch is missing.
    """
    check_count("limit", limit)
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more")
    if texts is not None and layer is None:
        raise SlonikError("--texts are read by a layer: say which (--layer N)")
    if texts is not None and vocabulary is not None:
        raise SlonikError("the words of --texts are those looked among: leave --vocabulary out")
    if isinstance(model, WordVectors) or is_word_vectors(model):
        if layer is not None:
            name = model if isinstance(model, str | Path) else model.name
            raise SlonikError(f"{name} has word vectors and no layers: leave --layer out")
        found = model if isinstance(model, WordVectors) else read_word_vectors(model, limit=limit)
        return found if vocabulary is None else _among(found, _listed(vocabulary, None))
    path = Path(model)
    if path.suffix in _ENDINGS and not path.exists():
        raise SlonikError(f"there is no file {model}: give navec, a file of word vectors, or a model")
    kind = kind_of(model)
    if kind.name == "static":
        if layer is not None:
            raise SlonikError(f"{model} is a table of token vectors and has no layers: leave --layer out")
        return _static(str(model), vocabulary, limit)
    if kind.name in ("baseline", "embedded", "exported") or kind.stack is None:
        raise SlonikError(
            f"{model} is {kind} and has no table of tokens to look into: give a transformer, navec or a file of word "
            "vectors"
        )
    if is_exported(model) and not str(model).startswith("embedded:"):
        from slonik.models.kinds import has_weights

        if not has_weights(resolve(model)):
            raise SlonikError(f"{model} is exported and shows no tokens: give the folder that it was exported from")
    return _transformer(str(model), layer, vocabulary, texts, limit, device, trust_remote_code)


def _listed(vocabulary: str | Path | Sequence[str], limit: int | None) -> list[str]:
    """Words of a list, each once, in their order."""
    if isinstance(vocabulary, str | Path):
        words = [line.strip() for _, line in numbered_lines(Path(vocabulary))]
    else:
        words = list(vocabulary)
    found = list(dict.fromkeys(word for word in words if word))[:limit]
    if not found:
        raise SlonikError("--vocabulary holds no word: write a word a line")
    return found


def _among(vectors: WordVectors, words: list[str]) -> WordVectors:
    """Vectors of the words of a list; those that have none are counted in a note."""
    rows = {word: vector for word in words if (vector := vectors.vector(word)) is not None}
    if not rows:
        raise SlonikError(f"{vectors.name} has a vector of none of the {len(words)} words of --vocabulary")
    missing = len(words) - len(rows)
    notes = (f"{missing:,} of {len(words):,} words of --vocabulary have no vector",) if missing else ()
    return WordVectors(vectors.name, tuple(rows), np.stack(list(rows.values())), vectors.vector,
                       (*vectors.notes, *notes), vectors.format)  # fmt: skip


def _static(name: str, vocabulary: str | Path | Sequence[str] | None, limit: int | None) -> WordVectors:
    from slonik.runtime.static import load

    encoder = load(resolve(name))
    return _of_table(name, encoder.tokenizer, encoder.table.vectors, vocabulary, limit)


def _of_table(
    name: str, tokenizer: Tokenizer, rows: object, vocabulary: str | Path | Sequence[str] | None, limit: int | None
) -> WordVectors:
    """Words of a table of tokens; `rows` gives (n, D) for ids."""
    assert callable(rows)

    def mean(word: str) -> FloatArray | None:
        (ids,) = content_ids(tokenizer, [word])
        return np.asarray(rows(np.array(ids)).mean(0), np.float32) if ids else None

    if vocabulary is None:
        words, ids = whole_words(tokenizer)
        if not words:
            raise SlonikError(f"no token of {name} is a whole word: name words to look among (--vocabulary FILE)")
        return WordVectors(name, tuple(words[:limit]), rows(np.array(ids[:limit])), mean, (), "tokens")
    listed = _listed(vocabulary, limit)
    return WordVectors(
        name, tuple(listed), np.stack([_or_zero(mean(word), rows) for word in listed]), mean, (), "tokens"
    )


def _or_zero(vector: FloatArray | None, rows: object) -> FloatArray:
    assert callable(rows)
    return np.zeros_like(rows(np.array([0]))[0]) if vector is None else vector


def whole_words(tokenizer: Tokenizer) -> tuple[list[str], list[int]]:
    """Words of letters (a hyphen may be inside) that the tokenizer gives as one token each, and its id, by id."""
    special = {key for key, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = [number for number in range(tokenizer.get_vocab_size()) if number not in special]
    decoded = tokenizer.decode_batch([[number] for number in ids], skip_special_tokens=False)
    candidates = {number: word.strip() for number, word in zip(ids, decoded, strict=True)}
    kept = {n: word for n, word in candidates.items() if word and all(part.isalpha() for part in word.split("-"))}
    found: dict[str, int] = {}
    for (number, word), row in zip(kept.items(), content_ids(tokenizer, list(kept.values())), strict=True):
        if list(row) == [number]:
            found.setdefault(word, number)
    return list(found), list(found.values())


def _transformer(
    name: str, layer: int | None, vocabulary: str | Path | Sequence[str] | None, texts: str | Path | None,
    limit: int | None, device: str | None, trust_remote_code: bool,
) -> WordVectors:  # fmt: skip
    import torch

    from slonik.models.encoder import TorchEncoder
    from slonik.models.loading import load
    from slonik.models.padding import pad
    from slonik.models.pooling import reading_part

    encoder: TorchEncoder = load(name, device=device, trust_remote_code=trust_remote_code)
    if layer is None:
        table = encoder.model.get_input_embeddings().weight.detach()

        def of_tokens(ids: NDArray[np.int64]) -> FloatArray:
            return np.asarray(table[torch.from_numpy(ids).to(table.device)].float().cpu().numpy())

        return _of_table(name, encoder.tokenizer, of_tokens, vocabulary, limit)
    head, tail = template_of(encoder.tokenizer).head, template_of(encoder.tokenizer).tail
    room = encoder.max_length - len(head) - len(tail)

    def states(contents: Sequence[Sequence[int]]) -> list[FloatArray]:
        """States (T, D) of the layer for the content tokens of each text."""
        rows = [[*head, *ids[:room], *tail] or [encoder.pad_id] for ids in contents]
        inputs = pad(rows, encoder.pad_id, device=encoder.device)
        with torch.inference_mode():
            found = reading_part(encoder.model)(**inputs, output_hidden_states=True).hidden_states
        if not found:
            raise SlonikError(f"{name} gives no hidden states: its class does not support them")
        if not 0 <= layer < len(found):
            raise SlonikError(f"{name} has no layer {layer}: give 0 (what goes in) to {len(found) - 1}")
        block = found[layer].float().cpu().numpy()
        return [block[i, len(head) : len(head) + len(ids[:room])] for i, ids in enumerate(contents)]

    def alone(words: Sequence[str]) -> list[FloatArray | None]:
        contents = content_ids(encoder.tokenizer, words)
        return [part.mean(0) if len(part) else None for part in states(contents)]

    def outside(word: str) -> FloatArray | None:
        return alone([word])[0]

    label = f"{name}, layer {layer}"
    alone(["а"])  # says now that there is no such layer
    if texts is not None:
        found, notes = _in_texts(encoder.tokenizer, states, read_texts([Path(texts)]), room, limit or MOST_WORDS)
        if not found:
            raise SlonikError(f"{texts} holds no word {_LEAST_PLACES} times: give more texts")
        return WordVectors(label, tuple(found), np.stack(list(found.values())), outside, notes, "layer")
    words = _listed(vocabulary, limit) if vocabulary is not None else _cyrillic(encoder.tokenizer, limit or MOST_WORDS)
    rows: list[FloatArray] = []
    for start in track(range(0, len(words), _BATCH), f"words of {label}", -(-len(words) // _BATCH)):
        made = alone(words[start : start + _BATCH])
        rows += [np.zeros(encoder.hidden_size, np.float32) if row is None else row for row in made]
    return WordVectors(label, tuple(words), np.stack(rows), outside, (), "layer")


def _cyrillic(tokenizer: Tokenizer, most: int) -> list[str]:
    """Tokens that are whole words of two letters or more, Cyrillic ones where there are any."""
    words = [word for word in whole_words(tokenizer)[0] if len(word) > 1]
    own = [word for word in words if all("\u0400" <= letter <= "\u04ff" or letter == "-" for letter in word)]
    if not words:
        raise SlonikError("no token of the model is a whole word: name words to look among (--vocabulary FILE)")
    return (own or words)[:most]


def _in_texts(
    tokenizer: Tokenizer, states: object, texts: Iterable[str], room: int, most: int
) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    """The mean of each word's places in texts, words in lower case, the most frequent first."""
    assert callable(states)
    from razdel import tokenize

    sums: dict[str, FloatArray] = {}
    places: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    cut = 0
    batch: list[tuple[list[int], list[tuple[str, list[int]]]]] = []

    def add() -> None:
        for block, (_, words) in zip(states([ids for ids, _ in batch]), batch, strict=True):
            for word, tokens in words:
                tokens = [token for token in tokens if token < len(block)]
                if tokens and places[word] < _MOST_PLACES:
                    vector = block[tokens].mean(0)
                    sums[word] = sums[word] + vector if word in sums else vector
                    places[word] += 1
        batch.clear()

    for text in track(texts, "words in texts"):
        encoding = encode(tokenizer, text)
        cut += len(encoding.ids) > room
        spans = [(token.text.lower(), token.start, token.stop) for token in tokenize(text)]
        spans = [span for span in spans if all(part.isalpha() for part in span[0].split("-"))]
        seen.update(word for word, _, _ in spans)
        batch.append((encoding.ids, [(word, _tokens_of(encoding.offsets, start, stop)) for word, start, stop in spans]))
        if len(batch) == _BATCH:
            add()
    if batch:
        add()
    kept = [word for word, count in seen.most_common() if places[word] >= _LEAST_PLACES][:most]
    notes = [f"a word is the mean of at most {_MOST_PLACES} of its places; words with fewer than {_LEAST_PLACES} are "
             f"left out ({len(seen) - len(kept):,} of {len(seen):,})"]  # fmt: skip
    if cut:
        notes.append(f"{cut:,} texts were cut at the {room} tokens that the model reads")
    return {word: np.asarray(sums[word] / places[word], np.float32) for word in kept}, tuple(notes)


def _tokens_of(offsets: Sequence[tuple[int, int]], start: int, stop: int) -> list[int]:
    """Places of the tokens that have letters of a word."""
    return [place for place, (first, last) in enumerate(offsets) if last > start and first < stop and last > first]
