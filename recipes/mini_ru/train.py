"""Train the packed student on one GPU for a given time, without slonik and without a network.

    python train.py PACK OUT --seconds 560
    python train.py PACK OUT --device cpu --seconds 100 --tokens 1024 --texts 3000 --first-texts 1500    (a try)

Needs torch, numpy and tokenizers. Both teachers run beside the student, so that texts can be new all the time: worker
processes read the packed ones, alter them (words dropped, swapped, replaced, negated, joined, cut, in lower case) and
cut them into tokens; batches hold texts of one length, so that nothing is padded and nothing is masked. The student's
sentence vector, a Dense behind the mean of its token states, is to be the blend of the teachers; its token states are
to be the first teacher's. A static table of token vectors learns the same target on the side.

Written to OUT: weights in half precision (`student.N.bin`, `table.N.bin`: parts of at most 15 MB of one stream of the
tensors in the order of `layout.json`) and `log.json`. They are written at half time too, so that a run that is cut off
leaves something. `unpack.py` makes a checkpoint of them.

Shapes: B texts, T tokens of the student, D dimensions, V tokens of its vocabulary.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PART = 15_000_000
TABLE = 256  # dimensions of the static table; unpack.py may cut it
CUTS = (64, 128, 256)
CHUNK = 2000
SHORT = {"out": "ao", "norm1": "aln", "up": "fi", "down": "fo", "norm2": "oln"}  # modules of a layer in the pack


# --- texts, in worker processes -------------------------------------------------------------------------------------


class Reader:
    """What a worker holds: all texts, both tokenizers."""

    def __init__(self, pack: Path, texts: list[str], longest: int) -> None:
        from tokenizers import Tokenizer

        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        sys.path.insert(0, str(pack))
        module = type(sys)("use_pieces")
        module.__dict__["__name__"] = "use_pieces"
        exec(
            compile((pack / "pure_tokenizer.py").read_text(encoding="utf-8"), "pure_tokenizer.py", "exec"),
            module.__dict__,
        )
        self.use = module.UsePureTokenizer(str(pack / "sp.model"))
        self.own = Tokenizer.from_file(str(pack / "tokenizer.json"))
        self.own.no_truncation()
        self.own.no_padding()
        with np.load(pack / "use.npz") as stored:
            rows = stored["rows"]
        self.row_of = np.zeros(int(rows.max()) + 1, dtype=np.int64)  # pieces without a row count as unknown (row 0)
        self.row_of[rows] = np.arange(len(rows))
        self.texts = texts
        self.longest = longest

    def read(self, task: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
        """(start, stop, round): tokens of these texts, altered from round 1 on; flat, with lengths, and group marks;
        last how many were left out, too long or without a word."""
        start, stop, number = task
        rng = np.random.default_rng([start, number])
        chosen = [self._altered(index, rng) if number else self.texts[index] for index in range(start, stop)]
        own = [encoding.ids for encoding in self.own.encode_batch(chosen)]
        kept = [place for place, ids in enumerate(own) if 3 <= len(ids) <= self.longest]
        use = [self.use.encode(chosen[place], out_type=int, add_bos=True, add_eos=True) for place in kept]
        size = len(self.row_of)
        flat = np.fromiter((token if token < size else 0 for ids in use for token in ids), dtype=np.int64)
        return (
            np.array([token for place in kept for token in own[place]], dtype=np.int32),
            np.array([len(own[place]) for place in kept], dtype=np.int32),
            self.row_of[flat].astype(np.int32),
            np.array([len(ids) for ids in use], dtype=np.int32),
            np.array([start + place for place in kept], dtype=np.int32),
            np.array([len(own) - len(kept)], dtype=np.int32),
        )

    def _altered(self, index: int, rng: np.random.Generator) -> str:
        text, kind = self.texts[index], rng.random()
        words = text.split()
        if kind < 0.40 and len(words) > 3:
            words = self._changed(words, rng, 1 if len(words) < 8 else int(rng.integers(1, 3)))
        elif kind < 0.55 and len(words) > 2:
            share = (0.3, 0.5, 0.8)[int(rng.integers(3))]
            words = [self._word(rng) if rng.random() < share else word for word in words]
        elif kind < 0.65:
            words = words + self.texts[int(rng.integers(len(self.texts)))].split()
        elif kind < 0.80 and len(words) > 3:
            first = int(rng.integers(0, len(words) - 1))
            words = words[first : first + int(rng.integers(1, len(words) - first + 1))]
        found = " ".join(words)
        dress = rng.random()
        if dress < 0.25:
            found = found.lower()
        elif dress < 0.35:
            found = found.rstrip(".!?…;:,")
        elif dress < 0.45:
            found = found.lower().rstrip(".!?…;:,")
        return found

    def _changed(self, words: list[str], rng: np.random.Generator, times: int) -> list[str]:
        words = list(words)
        for _ in range(times):
            place, kind = int(rng.integers(len(words))), int(rng.integers(4))
            if kind == 0 and len(words) > 2:
                del words[place]
            elif kind == 1:
                other = int(rng.integers(len(words)))
                words[place], words[other] = words[other], words[place]
            elif kind == 2:
                words[place] = self._word(rng)
            else:
                words.insert(place, "не")
        return words

    def _word(self, rng: np.random.Generator) -> str:
        words = self.texts[int(rng.integers(len(self.texts)))].split()
        return words[int(rng.integers(len(words)))] if words else "слово"


_READER: Reader | None = None


def _begin(pack: str, longest: int, count: int | None) -> None:
    global _READER
    torch.set_num_threads(1)
    _READER = Reader(Path(pack), read_texts(Path(pack), count), longest)


def _work(task: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    assert _READER is not None
    return _READER.read(task)


def read_texts(pack: Path, count: int | None = None) -> list[str]:
    """The packed training texts."""
    return lzma.decompress((pack / "texts.txt.xz").read_bytes()).decode("utf-8").split("\n")[:count]


class Stream(threading.Thread):
    """Collects what the workers read, all texts as they are first and altered ones without end after that."""

    def __init__(self, pack: Path, workers: int, longest: int, texts: int | None) -> None:
        super().__init__(daemon=True)
        self._arguments = (str(pack), longest, texts)
        self._workers = workers
        self._count = len(read_texts(pack, texts))
        self._found: queue.Queue[tuple[np.ndarray, ...]] = queue.Queue()
        self.stop = threading.Event()

    def run(self) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(self._workers, _begin, self._arguments) as pool:
            waiting = threading.Semaphore(self._workers * 3)

            def tasks() -> Iterator[tuple[int, int, int]]:
                number = 0
                while not self.stop.is_set():
                    for start in range(0, self._count, CHUNK):
                        waiting.acquire()
                        yield start, min(start + CHUNK, self._count), number
                    number += 1

            for found in pool.imap_unordered(_work, tasks()):
                waiting.release()
                self._found.put(found)
                if self.stop.is_set():
                    pool.terminate()
                    return

    def take(self, wait: bool = False) -> list[tuple[np.ndarray, ...]]:
        """Everything that was read since the last call."""
        found = [self._found.get(timeout=600)] if wait else []
        while not self._found.empty():
            found.append(self._found.get())
        return found


class Pool:
    """Texts on the device, sorted by length, and inside a length so that copies of one text lie together."""

    def __init__(self, device: torch.device, most: int) -> None:
        self.device, self._most = device, most
        self._chunks: list[tuple[np.ndarray, ...]] = []
        self.count = self.read = self.left_out = 0

    def add(self, chunks: Sequence[tuple[np.ndarray, ...]]) -> None:
        """Take in more; the oldest go where there are too many."""
        self.read += sum(len(chunk[1]) for chunk in chunks)
        self.left_out += sum(int(chunk[5][0]) for chunk in chunks)
        self._chunks += chunks
        while sum(len(chunk[1]) for chunk in self._chunks) > self._most and len(self._chunks) > 1:
            self._chunks.pop(0)
        own, self.lengths, use, self.use_lengths, groups = (
            np.concatenate([chunk[part] for chunk in self._chunks]) for part in range(5)
        )
        self.count = len(self.lengths)
        key = np.random.default_rng(self.read).permutation(int(groups.max()) + 1)[groups]
        self.order = np.lexsort((key, self.lengths))
        self.lengths, self.use_lengths = self.lengths[self.order], self.use_lengths[self.order]
        self._own, self._use = (torch.from_numpy(flat).to(self.device) for flat in (own, use))
        starts = [np.concatenate([[0], np.cumsum(sizes)[:-1]]) for sizes in self._sizes()]
        self._own_start, self._use_start = (torch.from_numpy(some[self.order]).to(self.device) for some in starts)
        self._use_size = torch.from_numpy(self.use_lengths.astype(np.int64)).to(self.device)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        own, use = (np.concatenate([chunk[part] for chunk in self._chunks]) for part in (1, 3))
        return own.astype(np.int64), use.astype(np.int64)

    def batches(self, tokens: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Every text once, as (first, last) places in the order; random places where they are parted."""
        found = []
        bounds = np.flatnonzero(np.diff(self.lengths)) + 1
        for first, last in zip([0, *bounds], [*bounds, self.count], strict=True):
            size = max(4, tokens // int(self.lengths[first]))
            start = first - int(rng.integers(size))
            for place in range(start, last, size):
                low, high = max(place, first), min(place + size, last)
                if high - low >= min(size, last - first) // 2 + 1 and high - low >= 3:
                    found.append((int(low), int(high)))
        rng.shuffle(found)
        return found

    def batch(self, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """Own ids (B, T), the second teacher's ids (B, U), its mask (B, U)."""
        length, widest = int(self.lengths[first]), int(self.use_lengths[first:last].max())
        places = self._own_start[first:last, None] + torch.arange(length, device=self.device)
        steps = torch.arange(widest, device=self.device)
        mask = steps < self._use_size[first:last, None]
        use = (self._use_start[first:last, None] + steps).clamp_max(len(self._use) - 1)
        return self._own[places], self._use[use] * mask, mask


# --- networks ---------------------------------------------------------------------------------------------------------


class Layer(nn.Module):
    """A layer of BERT: attention, feed-forward, each normalised after it is added."""

    def __init__(self, width: int, inner: int, heads: int, epsilon: float) -> None:
        super().__init__()
        self.heads, self.epsilon = heads, epsilon
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) of one precision, which the weights are brought to."""
        batch, tokens, width = x.shape
        qkv = linear(self.qkv, x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = norm(self.norm1, x + linear(self.out, read.transpose(1, 2).reshape(batch, tokens, width)))
        return norm(self.norm2, x + linear(self.down, F.gelu(linear(self.up, x))))


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, module.weight.to(x.dtype), module.bias.to(x.dtype))


def norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, module.normalized_shape, module.weight.to(x.dtype), module.bias.to(x.dtype), module.eps)


class Bert(nn.Module):
    """A BERT over texts of one length; no mask."""

    def __init__(self, vocabulary: int, width: int, inner: int, heads: int, layers: int, epsilon: float) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(vocabulary, width), nn.Embedding(512, width)
        self.kind = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, epsilon)
        self.layers = nn.ModuleList(Layer(width, inner, heads, epsilon) for _ in range(layers))

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, T) -> (B, T, D) in `dtype`."""
        x = self.word(ids) + self.place.weight[: ids.shape[1]] + self.kind
        x = norm(self.norm, x.to(dtype))
        for layer in self.layers:
            x = layer(x)
        return x


class Use(nn.Module):
    """The second teacher: means of token embeddings and of convolutions over 2, 3 and 5 of them, then dense layers."""

    orders = ((2, 0), (3, 1), (5, 2))

    def __init__(self, path: Path) -> None:
        super().__init__()
        with np.load(path) as stored:
            for name in stored.files:
                value = stored[name]
                tensor = torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value)
                if name != "eps":
                    self.register_buffer(name, tensor)
            self.epsilon = float(stored["eps"])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, U), (B, U) -> unit vectors (B, 512)."""
        real = mask[..., None].float()
        x = (self.table[ids].float() * self.row_scale[ids][..., None] + self.row_low[ids][..., None]) * real
        names = [n for n, _ in self.orders]
        joined = torch.cat([x @ getattr(self, f"proj{n}") + getattr(self, f"proj_b{n}") for n in names], -1)
        gain, shift = (torch.cat([getattr(self, f"ln_{kind}{n}") for n in names]) for kind in ("g", "b"))
        branches = F.layer_norm(joined, gain.shape, gain, shift, self.epsilon) * real
        parts = [x]
        for (n, left), y in zip(self.orders, branches.chunk(len(names), -1), strict=True):
            weight = [getattr(self, f"{kind}_{n}") for kind in ("w1", "b1", "w2", "b2")]
            h = (F.relu(self._window(y, n, left) @ weight[0] + weight[1]) + y) * real
            parts.append((F.relu(self._window(h, n, left) @ weight[2] + weight[3]) + h) * real)
        features = F.layer_norm(torch.cat(parts, -1), (1280,), self.ln_g, self.ln_b, self.epsilon) * real
        sizes = mask.sum(1, keepdim=True).float()
        mean = (features.sum(1) @ self.cnn_W + sizes * self.cnn_b) / sizes.sqrt()
        y1 = F.relu(mean @ self.p1 + F.relu(mean @ self.d0) @ self.d1)
        return F.normalize(torch.tanh(y1 @ self.p3 + F.relu(y1 @ self.d2) @ self.d3), dim=-1)

    @staticmethod
    def _window(x: Tensor, n: int, left: int) -> Tensor:
        padded = F.pad(x, (0, 0, left, n - 1 - left))
        return torch.cat([padded[:, place : place + x.shape[1]] for place in range(n)], -1)


def unpacked(blocks: np.ndarray) -> np.ndarray:
    """4-bit blocks of 32 weights (M, 18 bytes) -> float32 (M * 32,)."""
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    values = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).astype(np.float32) - 8.0
    return (values * scale).reshape(-1)


class Networks(nn.Module):
    """Teachers, blend, student and table."""

    def __init__(self, pack: Path, device: torch.device) -> None:
        super().__init__()
        facts = json.loads((pack / "e5.json").read_text())
        self.facts = facts
        with np.load(pack / "e5.npz") as stored:
            arrays = {name: stored[name] for name in stored.files}
        values = {name: unpacked(a) if a.dtype == np.uint8 else a.astype(np.float32) for name, a in arrays.items()}
        width, inner = facts["hidden"], len(values["l0.fi.b"])
        sizes = (facts["vocabulary"], width, inner, facts["heads"])
        self.teacher = Bert(*sizes, facts["layers"], facts["epsilon"])
        self.student = Bert(*sizes, len(facts["student_layers"]), facts["epsilon"])
        _fill(self.teacher, values, range(facts["layers"]))
        _fill(self.student, values, facts["student_layers"])
        self.second = Use(pack / "use.npz")
        with np.load(pack / "blend.npz") as stored:
            for name in stored.files:
                self.register_buffer(name, torch.from_numpy(np.asarray(stored[name], dtype=np.float32)))
        self.output = nn.Linear(width, self.axes.shape[1])
        self.rows = nn.Embedding(facts["vocabulary"], TABLE)
        nn.init.normal_(self.rows.weight, std=0.1)
        self.teacher.requires_grad_(False)
        self.to(device)
        self.half = torch.float16 if device.type == "cuda" else torch.float32
        self.teacher.to(self.half)
        self.prefix = torch.tensor(facts["prefix"], device=device)

    @torch.no_grad()
    def targets(self, ids: Tensor, use_ids: Tensor, use_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first teacher's states (B, T, D) and pooled vectors (B, D), and the blend (B, 384)."""
        read = torch.cat([ids[:, :1], self.prefix.expand(len(ids), -1), ids[:, 1:]], 1)
        states = self.teacher(read, self.half).float()
        pooled = states.mean(1)
        states = torch.cat([states[:, :1], states[:, 1 + len(self.prefix) :]], 1)
        first = F.normalize(F.normalize(pooled, dim=-1) - self.mean1, dim=-1) * self.weights[0]
        second = F.normalize(self.second(use_ids, use_mask) - self.mean2, dim=-1) * self.weights[1]
        return states, pooled, self.scale * F.normalize(torch.cat([first, second], -1) @ self.axes, dim=-1)

    def vectors(self, ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The student's states (B, T, D) and sentence vectors (B, 384)."""
        states = self.student(ids, dtype)
        return states, self.output(states.float().mean(1))


def _fill(model: Bert, values: dict[str, np.ndarray], layers: Sequence[int]) -> None:
    def put(parameter: Tensor, value: np.ndarray) -> None:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value.reshape(parameter.shape))))

    width = model.kind.numel()
    put(model.word.weight, values["emb.word"])
    put(model.place.weight, values["emb.pos"].reshape(-1, width)[:512])
    put(model.kind, values["emb.type"].reshape(-1, width)[0])
    put(model.norm.weight, values["emb.ln.w"])
    put(model.norm.bias, values["emb.ln.b"])
    for layer, number in zip(model.layers, layers, strict=True):
        for ending in ("w", "b"):
            get = lambda short, n=number, e=ending: values[f"l{n}.{short}.{e}"]  # noqa: E731
            name = "weight" if ending == "w" else "bias"
            put(
                getattr(layer.qkv, name),
                np.concatenate([get("q").reshape(-1), get("k").reshape(-1), get("v").reshape(-1)]),
            )
            for module, short in (
                (layer.out, "ao"),
                (layer.norm1, "aln"),
                (layer.up, "fi"),
                (layer.down, "fo"),
                (layer.norm2, "oln"),
            ):
                put(getattr(module, name), get(short))


# --- objective --------------------------------------------------------------------------------------------------------


def cosine(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean of 2 (1 - cos)."""
    return 2.0 * (1.0 - F.cosine_similarity(made, wanted, dim=-1)).mean()


def similarity_kl(made: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """KL of the rows of similarities to the other texts of the batch."""
    own = torch.eye(len(made), dtype=torch.bool, device=made.device)
    rows = [
        torch.log_softmax((F.normalize(x, dim=-1) @ F.normalize(x, dim=-1).T / temperature).masked_fill(own, -1e4), -1)
        for x in (made, wanted)
    ]
    return F.kl_div(rows[0], rows[1], reduction="batchmean", log_target=True)


def loss_of(
    nets: Networks, batch: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype, settings: Any
) -> dict[str, Tensor]:
    """Weighted parts of the loss."""
    ids = batch[0]
    states, _, wanted = nets.targets(*batch)
    made_states, made = nets.vectors(ids, dtype)
    parts = {"cosine": settings.cosine * cosine(made, wanted)}
    parts["similarity"] = settings.similarity * similarity_kl(made, wanted, settings.temperature)
    parts["length"] = 0.1 * (made.norm(dim=-1) / nets.scale - 1.0).square().mean()
    parts["cuts"] = settings.cuts * sum(cosine(made[:, :cut], wanted[:, :cut]) for cut in CUTS) / len(CUTS)
    variance = states.flatten(0, 1).var(0).mean()
    parts["states"] = settings.states * (made_states.float() - states).square().mean() / variance
    bag = nets.rows(ids[:, 1:-1]).mean(1)
    table = sum(cosine(bag[:, :cut], wanted[:, :cut]) for cut in CUTS) / len(CUTS)
    parts["table"] = table + 0.1 * similarity_kl(bag, wanted[:, :TABLE], 0.05)
    return parts


# --- measuring --------------------------------------------------------------------------------------------------------


class HeldOut:
    """Agreement with the blend on texts that nothing trains on."""

    def __init__(self, nets: Networks, pack: Path, longest: int, device: torch.device) -> None:
        held = json.loads((pack / "held.json").read_text(encoding="utf-8"))
        self._parts = {
            "texts": held["texts"], "english": [pair[0] for pair in held["pairs"]],
            "russian": [pair[1] for pair in held["pairs"]], "near": [text for pair in held["near"] for text in pair],
        }  # fmt: skip
        texts = [text for part in self._parts.values() for text in part]
        reader = Reader(pack, texts, longest)
        self._nets, self._batches, self._count = nets, [], len(texts)
        pool = Pool(device, len(texts) + 1)
        pool.add([reader.read((0, len(texts), 0))])
        if pool.left_out:
            print(f"{pool.left_out} of {len(texts)} held-out texts are left out: over {longest} tokens", flush=True)
        numbers = reader.read((0, len(texts), 0))[4][pool.order]
        bounds = np.flatnonzero(np.diff(pool.lengths)) + 1
        for first, last in zip([0, *bounds], [*bounds, pool.count], strict=True):
            for low in range(first, last, 512):
                high = min(low + 512, last)
                self._batches.append((numbers[low:high], pool.batch(int(low), int(high))))
        self._wanted = self._vectors(lambda batch: nets.targets(*batch)[2])

    @torch.no_grad()
    def _vectors(self, encode: Callable[[tuple[Tensor, Tensor, Tensor]], Tensor]) -> np.ndarray:
        found = None
        for numbers, batch in self._batches:
            made = encode(batch).float().cpu().numpy()
            found = np.zeros((self._count, made.shape[1]), dtype=np.float32) if found is None else found
            found[numbers] = made / np.linalg.norm(made, axis=1, keepdims=True)
        assert found is not None
        return found

    def measure(self, dtype: torch.dtype) -> dict[str, float]:
        """Agreement, translations found, correlation on near pairs, of student and table."""
        metrics = {}
        student = self._vectors(lambda batch: self._nets.vectors(batch[0], dtype)[1])
        table = self._vectors(lambda batch: self._nets.rows(batch[0][:, 1:-1]).mean(1))
        for name, made, wanted in (("", student, self._wanted), ("table_", table, self._wanted[:, :TABLE])):
            wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-9)
            seen = np.abs(made).sum(1) > 0
            metrics[name + "agreement"] = float((made * wanted).sum(1)[seen].mean())
            first, count = len(self._parts["texts"]), len(self._parts["english"])
            english, russian = made[first : first + count], made[first + count : first + 2 * count]
            if count:
                metrics[name + "translations"] = float(((russian @ english.T).argmax(1) == np.arange(count)).mean())
            rest = first + 2 * count
            near = [(x[rest::2] * x[rest + 1 :: 2]).sum(1) for x in (made, wanted)]
            metrics[name + "near"] = float(np.corrcoef(_ranks(near[0]), _ranks(near[1]))[0, 1])
        return metrics


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(np.float64)


# --- the run ----------------------------------------------------------------------------------------------------------


def least_squares(nets: Networks, pool: Pool, tokens: int, rng: np.random.Generator) -> None:
    """Begin the output map where the first teacher's pooled states come nearest to the blend."""
    xs, ys = [], []
    for first, last in pool.batches(tokens, rng)[:24]:
        _, pooled, wanted = nets.targets(*pool.batch(first, last))
        xs.append(pooled.double().cpu())
        ys.append(wanted.double().cpu())
    x, y = torch.cat(xs), torch.cat(ys)
    middle, aim = x.mean(0), y.mean(0)
    square = (x - middle).T @ (x - middle)
    square += torch.eye(len(square)) * 1e-3 * square.trace() / len(square)
    weight = torch.linalg.solve(square, (x - middle).T @ (y - aim))
    with torch.no_grad():
        nets.output.weight.copy_(weight.T)
        nets.output.bias.copy_(aim - middle @ weight)


def optimizers(nets: Networks, settings: Any) -> list[tuple[torch.optim.Optimizer, float]]:
    """AdamW for the student (decay on matrices of layers alone), Adam for the table; each with its peak rate."""
    decayed, rest = [], []
    for name, parameter in [*nets.student.named_parameters(), *nets.output.named_parameters()]:
        (decayed if parameter.ndim == 2 and name.startswith("layers") else rest).append(parameter)
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    fused = next(nets.parameters()).device.type == "cuda"
    return [
        (torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=fused), settings.rate),
        (torch.optim.Adam(nets.rows.parameters(), betas=(0.9, 0.99), fused=fused), settings.table_rate),
    ]


def save(nets: Networks, out: Path) -> None:
    """Student and table as streams in half precision, in parts."""
    layout = {}
    for stream, tensors in (
        ("student", {**{f"student.{k}": v for k, v in nets.student.state_dict().items()},
                     **{f"output.{k}": v for k, v in nets.output.state_dict().items()}}),
        ("table", {"rows.weight": nets.rows.weight}),
    ):  # fmt: skip
        layout[stream] = [[name, list(tensor.shape)] for name, tensor in tensors.items()]
        data = b"".join(t.detach().to(torch.float16).cpu().contiguous().numpy().tobytes() for t in tensors.values())
        for number, start in enumerate(range(0, len(data), PART)):
            (out / f"{stream}.{number}.bin").write_bytes(data[start : start + PART])
    (out / "layout.json").write_text(json.dumps(layout))


def main() -> None:
    """Train until the time is over."""
    settings = _arguments()
    began = time.perf_counter()
    device = torch.device(settings.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    torch.manual_seed(0)
    settings.out.mkdir(parents=True, exist_ok=True)
    stream = Stream(settings.pack, settings.workers, settings.longest, settings.texts)
    stream.start()
    nets = Networks(settings.pack, device)
    held = HeldOut(nets, settings.pack, settings.longest, device)
    pool, rng = Pool(device, settings.most), np.random.default_rng(0)
    while pool.count < settings.first_texts:
        pool.add(stream.take(wait=True))
    least_squares(nets, pool, settings.tokens, rng)
    if settings.compile:
        for layer in [*nets.student.layers, *nets.teacher.layers]:
            layer.compile(dynamic=True)
    optimizers_ = optimizers(nets, settings)
    log: list[dict[str, float]] = [{"seconds": time.perf_counter() - began, "step": 0, **held.measure(dtype)}]
    print(json.dumps(log[-1]), flush=True)
    start = time.perf_counter()
    limit = settings.seconds - (start - began)
    step = tokens = 0
    next_log, saved, sums, finished = 0.0, False, {}, False
    while not finished:
        if (fresh := stream.take()) and (pool.count < settings.most or len(fresh) * CHUNK > pool.count // 20):
            pool.add(fresh)
        for first, last in pool.batches(settings.tokens, rng):
            share = (time.perf_counter() - start) / limit
            if share >= 1.0:
                finished = True
                break
            factor = min(1.0, share / 0.02) * min(1.0, (1.0 - share) / (1.0 - settings.flat))
            for optimizer, rate in optimizers_:
                for group in optimizer.param_groups:
                    group["lr"] = rate * max(factor, 1e-4)
                optimizer.zero_grad(set_to_none=True)
            parts = loss_of(nets, pool.batch(first, last), dtype, settings)
            torch.stack(list(parts.values())).sum().backward()
            nn.utils.clip_grad_norm_([*nets.student.parameters(), *nets.output.parameters()], 1.0)
            for optimizer, _ in optimizers_:
                optimizer.step()
            step += 1
            tokens += (last - first) * int(pool.lengths[first])
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
            if share * limit >= next_log:
                steps = step - (log[-1]["step"] if len(log) > 1 else 0)
                found = {name: float(value) / max(1, steps) for name, value in sums.items()}
                if not all(math.isfinite(value) for value in found.values()):
                    raise SystemExit(f"the loss is no number at step {step}: {found}")
                sums = {}
                log.append({"seconds": time.perf_counter() - began, "step": step, "tokens": tokens, "pool": pool.count,
                            "read": pool.read, "left_out": pool.left_out, **found, **held.measure(dtype)})  # fmt: skip
                print(json.dumps({k: round(v, 5) for k, v in log[-1].items()}), flush=True)
                next_log += settings.every
                (settings.out / "log.json").write_text(json.dumps(log))
            if share >= 0.5 and not saved:
                save(nets, settings.out)
                saved = True
    stream.stop.set()
    log.append({"seconds": time.perf_counter() - began, "step": step, "tokens": tokens, **held.measure(dtype),
                **{f"fp32_{k}": v for k, v in held.measure(torch.float32).items()}})  # fmt: skip
    print(json.dumps(log[-1]), flush=True)
    save(nets, settings.out)
    (settings.out / "log.json").write_text(json.dumps(log))
    print("done", flush=True)
    os._exit(0)  # workers are still reading


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=480, help="of everything, reading included")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=32_768, help="of a batch")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--table-rate", type=float, default=0.01)
    parser.add_argument("--flat", type=float, default=0.3, help="share of the time before the rates fall to 0")
    parser.add_argument("--cosine", type=float, default=1.0)
    parser.add_argument("--similarity", type=float, default=0.5)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--cuts", type=float, default=0.3)
    parser.add_argument("--states", type=float, default=0.3)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--longest", type=int, default=64, help="tokens of a text, at most; longer ones are left out")
    parser.add_argument("--texts", type=int, help="read so many texts alone (for a try)")
    parser.add_argument("--first-texts", type=int, default=60_000, help="begin when so many are read")
    parser.add_argument("--most", type=int, default=4_000_000, help="texts on the device")
    parser.add_argument("--every", type=float, default=20, help="seconds between measurements")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
