"""A decoder or an encoder-decoder on onnxruntime, with a cache of keys and values: no torch.

Reads the folders that `slonik export` writes, and those of other exporters of the same convention: a decoder in
`onnx/model.onnx` (or `decoder_model_merged.onnx`), an encoder-decoder in `onnx/encoder_model.onnx` and
`onnx/decoder_model_merged.onnx`; inputs `past_key_values.N.key`, outputs `present.N.key`, a past of length 0 at first.
What is drawn and how texts are written side by side is `writing`'s.

Shapes: B texts, T tokens, P tokens of a cache, S tokens of an encoder-decoder's prompt, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import OrtValue

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file
from slonik.core.protocols import FloatArray
from slonik.runtime.session import available_threads, open_session, read_metadata
from slonik.runtime.writing import Writer
from slonik.text import TASK_FILE
from slonik.text.batching import pad_ids
from slonik.text.lines import read_json
from slonik.text.prompts import GENERATION_FILE, Prompts, WritingFacts
from slonik.text.tokenizing import check_vocabulary, load_tokenizer

DECODER_MASK = "decoder_attention_mask"
KEEP = "num_logits_to_keep"
_DECODERS = ("model", "decoder_model_merged")
_ENDINGS = ("_quantized.onnx", ".onnx", "_fp16.onnx")
_PAST, _PRESENT = "past_key_values.", "present."


@dataclass(frozen=True)
class OnnxCache:
    """What a model has read of B texts: keys and values as onnxruntime holds them, by the names of their inputs.

    Attributes:
        past: of the decoder's own tokens, (B, H, P, d).
        mask: (B, P), 1 for the tokens of a text.
        crossed: of an encoder-decoder, keys and values of the prompts, (B, H, S, d).
        hidden, read: what its encoder gave (B, S, D), and the mask of the prompts (B, S).
    """

    past: Mapping[str, OrtValue]
    mask: NDArray[np.int64]
    crossed: Mapping[str, OrtValue]
    hidden: FloatArray | None = None
    read: NDArray[np.int64] | None = None


class OnnxGenerator(Writer):
    """A model on onnxruntime that writes; a `Generator` for the server.

    Args:
        decoder: session over the decoder.
        encoder: over the encoder of an encoder-decoder.
        prompts: rules for its prompts.
        folder: where its files are.
        max_length: as in `Writer`.

    Raises:
        SlonikError: the graph has no cache, or one of a kind that is not known.
    """

    def __init__(
        self,
        decoder: onnxruntime.InferenceSession,
        encoder: onnxruntime.InferenceSession | None,
        prompts: Prompts,
        folder: Path,
        *,
        max_length: int = 512,
    ) -> None:
        super().__init__(prompts, max_length=max_length)
        self.folder = folder
        self._decoder, self._encoder = decoder, encoder
        inputs = {item.name: item.shape for item in decoder.get_inputs()}
        self._optional = {item.name for item in decoder.get_overridable_initializers()}
        self._names = set(inputs)
        self._pasts = {name: shape for name, shape in inputs.items() if name.startswith(_PAST)}
        self._crossed = {name for name in self._pasts if ".encoder." in name}
        self._presents = [name.replace(_PAST, _PRESENT) for name in self._pasts]
        self._check(folder, {item.name for item in decoder.get_outputs()})
        # Without a mask of its own the decoder of two stacks cannot tell padding from texts.
        self.divisible = not self.two_stacks or DECODER_MASK in self._optional | self._names

    def _check(self, folder: Path, outputs: set[str]) -> None:
        missing = {"logits", *self._presents} - outputs
        unknown = self._names - set(self._pasts) - {
            "input_ids", "attention_mask", "position_ids", "encoder_hidden_states", "encoder_attention_mask",
            DECODER_MASK, KEEP,
        }  # fmt: skip
        sized = all(isinstance(size, int) for shape in self._pasts.values() for size in (shape[1], shape[3]))
        if not self._pasts or missing or unknown or not sized or (self.two_stacks and self._encoder is None):
            what = (
                f"an input {sorted(unknown)[0]} that is not known here" if unknown
                else f"no output {sorted(missing)[0]}" if missing
                else "no inputs past_key_values.*" if not self._pasts
                else "a cache of unknown size" if not sized else "no encoder beside it"
            )  # fmt: skip
            raise SlonikError(
                f"the decoder in {folder} cannot be written with (it has {what}): export the checkpoint with "
                "`slonik export`"
            )

    def read(self, rows: Sequence[list[int]]) -> tuple[FloatArray, OnnxCache]:
        """Logits (B, V) of the token after each prompt, and their cache; a decoder's prompts are padded on the left."""
        count = len(rows)
        empty = {
            name: OrtValue.ortvalue_from_numpy(np.zeros((count, shape[1], 0, shape[3]), dtype=np.float32))
            for name, shape in self._pasts.items()
        }
        past = {name: value for name, value in empty.items() if name not in self._crossed}
        if self._encoder is None:
            ids, mask = pad_ids(rows, self.facts.pad, left=True)
            return self._run(ids, OnnxCache(past, mask, {}))
        ids, read = pad_ids(rows, self.facts.pad)
        [hidden] = self._encoder.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": read})
        start = np.full((count, 1), self.facts.start, dtype=np.int64)
        crossed = {name: empty[name] for name in self._crossed}
        return self._run(start, OnnxCache(past, np.ones_like(start), crossed, hidden, read))

    def step(self, tokens: Sequence[int], cache: OnnxCache) -> tuple[FloatArray, OnnxCache]:
        """Logits (B, V) of the token after the next one of each text, and their cache."""
        ids = np.array(tokens, dtype=np.int64)[:, None]
        mask = np.concatenate([cache.mask, np.ones_like(ids)], axis=1)
        return self._run(ids, OnnxCache(cache.past, mask, cache.crossed, cache.hidden, cache.read))

    def _run(self, ids: NDArray[np.int64], cache: OnnxCache) -> tuple[FloatArray, OnnxCache]:
        """One pass of the decoder over its next tokens (B, T), which the cache's mask has already."""
        known: dict[str, NDArray[Any] | None] = {"input_ids": ids}
        if self.two_stacks:
            known |= {"encoder_hidden_states": cache.hidden, "encoder_attention_mask": cache.read}
            known[DECODER_MASK] = cache.mask
        else:
            places = np.maximum(cache.mask.cumsum(1) - 1, 0)[:, -ids.shape[1] :]
            known |= {"attention_mask": cache.mask, "position_ids": places}
        known[KEEP] = np.array(1, dtype=np.int64)
        taken = self._names | self._optional
        feeds = {name: OrtValue.ortvalue_from_numpy(value) for name, value in known.items() if name in taken}
        outputs = self._decoder.run_with_ort_values(
            ["logits", *self._presents], {**feeds, **cache.past, **cache.crossed}
        )
        logits: FloatArray = outputs[0].numpy()[:, -1].astype(np.float32, copy=False)
        found = dict(zip(self._pasts, outputs[1:], strict=True))
        crossed = {name: found.pop(name) for name in self._crossed}
        return logits, OnnxCache(found, cache.mask, crossed, cache.hidden, cache.read)

    def joined(self, first: OnnxCache, second: OnnxCache) -> OnnxCache:
        """The cache of the texts of two caches: what a decoder has read is padded on the left, prompts on the right."""
        mask = _stacked([first.mask, second.mask], 1, left=True)
        past = _both(first.past, second.past, left=True)
        if first.hidden is None or second.hidden is None or first.read is None or second.read is None:
            return OnnxCache(past, mask, {})
        crossed = _both(first.crossed, second.crossed, left=False)
        hidden = _stacked([first.hidden, second.hidden], 1, left=False)
        return OnnxCache(past, mask, crossed, hidden, _stacked([first.read, second.read], 1, left=False))

    def kept(self, cache: OnnxCache, rows: Sequence[int]) -> OnnxCache:
        """The cache of some of its texts, without the columns that none of them needs."""
        places = list(rows)
        mask = cache.mask[places]
        first = int(mask.any(0).argmax())
        past = _selected(cache.past, places, slice(first, None))
        if cache.hidden is None or cache.read is None:
            return OnnxCache(past, mask[:, first:], {})
        read = cache.read[places]
        last = int(read.sum(1).max())
        crossed = _selected(cache.crossed, places, slice(last))
        return OnnxCache(past, mask[:, first:], crossed, cache.hidden[places][:, :last], read[:, :last])

    def describe(self) -> dict[str, Any]:
        """Facts about the model: what the exporter wrote down of it, and the size of its files."""
        files = [path for path in (self.folder / "onnx").iterdir() if path.is_file()]
        facts = dict(read_metadata(self._decoder).get("facts") or {})
        return {"name": self.name, **facts, "bytes": sum(path.stat().st_size for path in files)}

    def identity(self) -> str:
        """Hash of what decides the logits: every file in onnx/."""
        return ":".join(sha256_file(path) for path in sorted((self.folder / "onnx").iterdir()) if path.is_file())


def load(
    folder: str | Path, *, file: str | None = None, threads: int | None = None, prefix: str = "", max_length: int = 512
) -> OnnxGenerator:
    """The decoder or encoder-decoder of an exported folder; a task model's own prefix and length are used.

    Args:
        file: which file of `onnx/` holds the decoder; None = the int8 one, else fp32. Of an encoder-decoder the encoder
            of the same precision is taken with it.
        threads: None = one per processor.

    Raises:
        SlonikError: no such folder or file, a damaged one, or one that does not write.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise SlonikError(f"there is no folder {folder}: pass a folder written by slonik export")
    decoder_path, encoder_path = _files(place, file)
    own = threads or available_threads()
    decoder = open_session(decoder_path, threads=own, inputs=["input_ids"], what="a decoder")
    encoder = open_session(encoder_path, threads=own) if encoder_path is not None else None
    tokenizer = load_tokenizer(place)
    config = read_json(place / "config.json")
    facts = WritingFacts.of(config, read_json(place / GENERATION_FILE, optional=True), tokenizer)
    _check_config(place, config, facts, decoder)
    check_vocabulary(tokenizer, int(config["vocab_size"]), str(folder))
    if (place / TASK_FILE).is_file():
        from slonik.text.task_config import TaskConfig

        task = TaskConfig.read(place)
        prefix, max_length = str(task.details.get("denoiser", prefix)), task.max_length
    prompts = Prompts(tokenizer, facts, str(folder), prefix=prefix)
    return OnnxGenerator(decoder, encoder, prompts, place, max_length=max_length)


def _check_config(
    folder: Path, config: Mapping[str, Any], facts: WritingFacts, decoder: onnxruntime.InferenceSession
) -> None:
    """Refuse an ONNX file of another model than the config's.

    Raises:
        SlonikError: they differ in what can be seen: the vocabulary, the stacks, the longest context.
    """
    shapes = {item.name: item.shape for item in decoder.get_outputs()}
    rows = shapes.get("logits", [None])[-1]
    crossed = any(".encoder." in name for name in shapes)
    longest = int(read_metadata(decoder).get("max_length") or facts.context)
    told = [
        ("vocab_size", config.get("vocab_size"), rows, isinstance(rows, int)),
        ("is_encoder_decoder", facts.two_stacks, crossed, True),
        ("longest context", facts.context, longest, facts.context > longest),
    ]
    for name, said, found, counts in told:
        if counts and said != found:
            raise SlonikError(
                f"the files of {folder} do not belong together: config.json has {name} {said}, the decoder in onnx/ "
                f"{found}; export the checkpoint again"
            )


def _files(folder: Path, file: str | None) -> tuple[Path, Path | None]:
    """The decoder's file, and the encoder's where there are two stacks."""
    place = folder / "onnx"
    names = sorted(path.name for path in place.glob("*.onnx"))
    stems = [stem for stem in _DECODERS if any(name.startswith(stem) for name in names)]
    two = any(name.startswith("encoder_model") for name in names)
    stem = "decoder_model_merged" if two else next(iter(stems), "")
    known = {stem + ending: "encoder_model" + ending for ending in _ENDINGS if stem + ending in names}
    if file is not None and Path(file).name not in names:
        raise SlonikError(f"{folder} has no onnx/{Path(file).name}: it has {', '.join(names) or 'no ONNX files'}")
    if not known and file is None:
        held = f"it has {', '.join(names)}" if names else "there are no ONNX files"
        raise SlonikError(f"{folder} holds no decoder that writes ({held}): make one with slonik export")
    chosen = Path(file).name if file is not None else next(iter(known))
    if not two:
        return place / chosen, None
    encoder = known.get(chosen, "encoder_model.onnx")
    if encoder not in names:
        raise SlonikError(f"{folder} has no onnx/{encoder} beside {chosen}: it has {', '.join(names)}")
    return place / chosen, place / encoder


def _stacked(arrays: Sequence[NDArray[Any]], axis: int, *, left: bool) -> NDArray[Any]:
    """Arrays of unequal length along `axis` as one batch, padded with zeros."""
    longest = max(array.shape[axis] for array in arrays)
    padded = []
    for array in arrays:
        room = longest - array.shape[axis]
        widths = [(0, 0)] * array.ndim
        widths[axis] = (room, 0) if left else (0, room)
        padded.append(np.pad(array, widths) if room else array)
    return np.concatenate(padded)


def _both(first: Mapping[str, OrtValue], second: Mapping[str, OrtValue], *, left: bool) -> dict[str, OrtValue]:
    return {
        name: OrtValue.ortvalue_from_numpy(_stacked([value.numpy(), second[name].numpy()], 2, left=left))
        for name, value in first.items()
    }


def _selected(values: Mapping[str, OrtValue], rows: list[int], columns: slice) -> dict[str, OrtValue]:
    return {
        name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.numpy()[rows][:, :, columns]))
        for name, value in values.items()
    }
