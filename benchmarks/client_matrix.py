"""Do other people's programs give our vectors? Every family x client x file; docs/clients.md has the tables.

    python benchmarks/client_matrix.py [--cache DIR] [--write docs/clients.md] [--families bert,...] [--clients "A;B"]

Each client gets an environment of its own under the cache folder (virtual environments by pip, folders by npm), made on
the first run; what cannot be installed or run stands in the tables with the reason. Models are random ones of two
layers, and embedded multilingual-e5-small. Texts are encoded one by one, and all together in one padded batch. A cell
is the largest difference of any number of any unit vector: of fp32 files to torch, of int8 files to our runtime on the
installed onnxruntime, one text at a time. The last text is over the length of the tiny models: its difference stands
apart (after a dagger) where it is another one, that is where a client cuts texts in its own way.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from tests import tiny  # noqa: E402

import slonik  # noqa: E402
from slonik.exporting.run import export  # noqa: E402
from slonik.text.sentence_config import SentenceConfig  # noqa: E402

WORKERS = Path(__file__).resolve().parent / "client_matrix"
LARGE = "embedded:multilingual-e5-small"
FAMILIES = (*tiny.ENCODERS, *tiny.MORE_ENCODERS, "t5", "gpt2", LARGE)
TITLES = {"t5": "t5 (its encoder)", "gpt2": "gpt2 (as a reader)", LARGE: "multilingual-e5-small, embedded"}
KINDS = {
    "fp32": ("plain", "model.onnx"),
    "int8": ("plain", "model_quantized.onnx"),
    "int8 of `--standard`": ("standard", "model_quantized.onnx"),
}
_CUT_ELSE = 1e-4
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [line for line in PROJECT["dependencies"] if not line.startswith("onnxruntime")]
LOWEST = next(line for line in PROJECT["dependencies"] if line.startswith("onnxruntime")).split(">=")[1].split(",")[0]


@dataclass(frozen=True)
class Client:
    """A client and where it runs.

    Attributes:
        name: its column.
        worker: what worker.py or worker.mjs calls it.
        environment: folder under the cache; "" = this Python.
        packages: what pip or npm installs there.
        npm: whether it runs under Node.
        shown: package whose version is shown; several, where one decides the other.
        kinds: files that it reads.
        options: further fields of its jobs.
    """

    name: str
    worker: str
    environment: str
    packages: tuple[str, ...]
    shown: tuple[str, ...]
    npm: bool = False
    kinds: tuple[str, ...] = tuple(KINDS)
    options: dict[str, Any] = field(default_factory=dict)


CLIENTS = (
    Client("slonik, least onnxruntime", "slonik", "slonik-least", (*BASE, f"onnxruntime=={LOWEST}"), ("onnxruntime",)),
    Client("slonik, newest onnxruntime", "slonik", "slonik-newest", (*BASE, "onnxruntime"), ("onnxruntime",)),
    Client("onnxruntime 1.20.0", "onnxruntime", "ort-1.20.0", ("onnxruntime==1.20.0", "numpy"), ("onnxruntime",)),
    Client("onnxruntime-web, WASM", "onnxruntime-web", "web", ("onnxruntime-web",), ("onnxruntime-web",), npm=True),
    Client(
        "onnxruntime-web of transformers.js 3, WASM", "onnxruntime-web", "js3", ("@huggingface/transformers@3",),
        ("onnxruntime-web",), npm=True,
    ),
    Client("OpenVINO", "openvino", "openvino", ("openvino", "numpy"), ("openvino",)),
    Client(
        "sentence-transformers, torch", "sentence-transformers", "", (), ("sentence-transformers", "torch"),
        kinds=("fp32",),
    ),
    Client(
        "sentence-transformers, ONNX", "sentence-transformers-onnx", "st-onnx",
        ("sentence-transformers", "optimum-onnx[onnxruntime]", "torch==2.13.0", "transformers<4.58"),
        ("sentence-transformers", "transformers", "onnxruntime"),
    ),
    Client("fastembed, `sentence_embedding`", "fastembed", "fastembed", ("fastembed",), ("fastembed", "onnxruntime")),
    Client("fastembed, mean", "fastembed-mean", "fastembed", ("fastembed",), ("fastembed", "onnxruntime")),
    Client(
        "transformers.js 3", "transformers.js", "js3", ("@huggingface/transformers@3",),
        ("@huggingface/transformers", "onnxruntime-node"), npm=True, options={"pooling": "mean"},
    ),
    Client(
        "transformers.js 4", "transformers.js", "js4", ("@huggingface/transformers@4",),
        ("@huggingface/transformers", "onnxruntime-node"), npm=True, options={"pooling": "mean"},
    ),
)  # fmt: skip


class Unavailable(Exception):
    """A client that cannot be installed here, with the reason."""


def program(client: Client, cache: Path) -> list[str]:
    """What runs the client's worker; its environment is made where it is missing.

    Raises:
        Unavailable: it cannot be.
    """
    if not client.environment:
        return [sys.executable, str(WORKERS / "worker.py")]
    place = cache / "environments" / client.environment
    stamp = place / ".packages"
    if client.npm and (shutil.which("node") is None or shutil.which("npm") is None):
        raise Unavailable("Node and npm are not installed")
    if not stamp.is_file() or stamp.read_text() != repr(client.packages):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        print(f"installing {client.environment} ...", file=sys.stderr)
        if client.npm:
            _run(["npm", "init", "-y"], place)
            _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *client.packages], place)
        else:
            _run([sys.executable, "-m", "venv", "."], place)
            _run(["bin/python", "-m", "pip", "install", "--quiet", *client.packages], place)
        stamp.write_text(repr(client.packages))
    if not client.npm:
        return [str(place / "bin" / "python"), str(WORKERS / "worker.py")]
    shutil.copyfile(WORKERS / "worker.mjs", place / "worker.mjs")  # Node looks for packages beside the file
    return ["node", str(place / "worker.mjs")]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"{' '.join(command[:4])} ... failed: {last[-1] if last else done.returncode}")


def versions(client: Client, cache: Path) -> str:
    """Versions of what is shown, as text."""
    place = cache / "environments" / client.environment
    found = []
    for package in client.shown:
        if client.npm:
            file = place / "node_modules" / package / "package.json"
            said = json.loads(file.read_text(encoding="utf-8"))["version"]
        else:
            python = str(place / "bin" / "python") if client.environment else sys.executable
            code = f"import importlib.metadata as m; print(m.version({package!r}))"
            said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        found.append(f"{package} {said}")
    return ", ".join(found)


@dataclass
class Subject:
    """A family's checkpoint and exports, texts as tokens, and the vectors that are right."""

    family: str
    checkpoint: str
    folders: dict[str, Path]
    texts: list[str]
    rows: list[list[int]]
    pad: int
    right: dict[str, np.ndarray]


def subject_of(family: str, cache: Path, *, kept: bool = False) -> Subject:
    """Make (or find) the folders of `family`, and encode its texts one by one in torch and in our runtime."""
    root = cache / "models" / family.replace(":", "-")
    checkpoint: Path | str = root / "checkpoint"
    if family == LARGE:
        checkpoint = family
    elif not (root / "checkpoint").is_dir():
        folder = tiny.checkpoint(root / "checkpoint", family)
        SentenceConfig.of("mean", max_length=64).write(folder, 32)
    folders = {kind: root / f"{kind}-{family.split(':')[-1]}" for kind in ("plain", "standard")}
    for kind, folder in folders.items():
        if kept and folder.is_dir():
            continue
        print(f"exporting {family} ({kind}) ...", file=sys.stderr)
        export(checkpoint, folder, standard=kind == "standard", role="encoder", measure_speed=False, overwrite=True)
    encoder: Any = slonik.load(str(checkpoint), backend="torch", device="cpu")
    long = [] if family == LARGE else [" ".join(tiny.TEXTS)]
    texts = [*tiny.TEXTS[:12], "Ёлка,\tпёс и кот\u200b!", "naïve café 你好", *long]
    rows = encoder.tokenize(texts, "")
    right = {"fp32": np.concatenate([encoder.encode([text], prefix="") for text in texts])}
    for kind, (which, file) in KINDS.items():
        if kind != "fp32":
            ours = slonik.load(folders[which], file=file, threads=1)
            right[kind] = np.concatenate([ours.encode([text], prefix="") for text in texts])
    saved = root / "saved"
    if family == LARGE and not saved.is_dir():
        from slonik.models import save

        save(encoder, saved)
    return Subject(family, str(saved if family == LARGE else checkpoint), folders, texts, rows, encoder.pad_id, right)


def answers(client: Client, subjects: list[Subject], cache: Path) -> dict[str, dict[str, Any]]:
    """Job -> its answer, for every family and file; a job on which the client died says so."""
    command = program(client, cache)
    jobs = []
    for subject in subjects:
        for kind in client.kinds:
            which, file = KINDS[kind]
            jobs.append({
                "key": f"{subject.family}|{kind}", "name": subject.family.replace(":", "-"), "file": file,
                "folder": str(subject.folders[which]), "checkpoint": subject.checkpoint, "texts": subject.texts,
                "rows": subject.rows, "pad": subject.pad, "dimension": subject.right["fp32"].shape[1],
                "writer": subject.family in ("t5", "gpt2"), **client.options,
            })  # fmt: skip
    work = cache / "answers"
    work.mkdir(exist_ok=True)
    out = work / f"{client.name.replace(' ', '-').replace('/', '-')}.jsonl"
    out.unlink(missing_ok=True)
    found: dict[str, dict[str, Any]] = {}
    environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    if client.worker == "slonik":
        environment["PYTHONPATH"] = str(ROOT / "src")
    while waiting := [job for job in jobs if job["key"] not in found]:
        (work / "jobs.json").write_text(json.dumps(waiting, ensure_ascii=False), encoding="utf-8")
        started = [*command, client.worker, str(work / "jobs.json"), str(out)]
        done = subprocess.run(started, capture_output=True, text=True, env=environment)
        begun = None
        for line in out.read_text(encoding="utf-8").splitlines() if out.is_file() else []:
            content = json.loads(line)
            begun = content.get("begun", begun)
            if "job" in content:
                found[content["job"]] = content
        if begun is None or begun in found:
            if not done.returncode and all(job["key"] in found for job in jobs):
                break
            last = [line for line in done.stderr.splitlines() if line.strip()]
            raise Unavailable(f"it did not start: {last[-1] if last else done.returncode}")
        found[begun] = {"error": f"the process died ({done.returncode})"}
    return found


def cell(answer: dict[str, Any], right: np.ndarray, reasons: list[str]) -> str:
    """Largest differences, one by one and in a batch; or the number of the reason."""
    if "error" in answer:
        reason = " ".join(str(answer["error"]).split())[:300].replace("|", "\\|")
        return f"[{_number(reasons, reason)}]"
    said: list[str] = []
    cut = most = 0.0
    for way in ("alone", "batched"):
        vectors = np.array(answer[way], dtype=np.float64)
        if vectors.shape != right.shape:
            return f"[{_number(reasons, f'it gives vectors of shape {vectors.shape}, not {right.shape}')}]"
        gaps = np.abs(vectors - right).max(axis=1)
        said.append(_figure(gaps[:-1].max()))
        most = max(most, float(gaps[:-1].max()))
        cut = max(cut, float(gaps[-1])) if np.isfinite(gaps).all() else cut
    return " / ".join(said) + (f" † {_figure(cut)}" if cut > max(_CUT_ELSE, 2 * most) else "")


def _figure(gap: float) -> str:
    return f"{gap:.0e}".replace("e-0", "e-") if np.isfinite(gap) else "NaN"


def _number(reasons: list[str], reason: str) -> int:
    if reason not in reasons:
        reasons.append(reason)
    return reasons.index(reason) + 1


def markdown(subjects: list[Subject], found: dict[str, Any], said: dict[str, str]) -> str:
    """The tables, a column per client, and the reasons under them."""
    reasons: list[str] = []
    lines = ["| client | versions |", "|---|---|"]
    lines += [f"| {name} | {version} |" for name, version in said.items()]
    for kind in KINDS:
        clients = [client for client in CLIENTS if client.name in found and kind in client.kinds]
        lines += ["", f"### {kind}", "", "| | " + " | ".join(client.name for client in clients) + " |"]
        lines.append("|---" * (len(clients) + 1) + "|")
        for subject in subjects:
            cells = []
            for client in clients:
                result = found[client.name]
                answer = {"error": result} if isinstance(result, str) else result[f"{subject.family}|{kind}"]
                cells.append(cell(answer, subject.right[kind], reasons))
            lines.append(f"| {TITLES.get(subject.family, subject.family)} | " + " | ".join(cells) + " |")
    if reasons:
        lines += ["", "What could not be run, in the client's words:", ""]
        lines += [f"{number}. `{reason.replace('`', chr(39))}`" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines)


def main() -> None:
    """Set up, run, print, and write the document where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=user_cache_path("slonik") / "client-matrix")
    parser.add_argument("--write", type=Path, help="Put the tables between the marks of this file.")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--clients", default="", help="Names of columns, separated by semicolons (default: all).")
    parser.add_argument("--kept", action="store_true", help="Use exports that are there already.")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    subjects = [subject_of(family, given.cache, kept=given.kept) for family in given.families.split(",")]
    wanted = [name.strip() for name in given.clients.split(";") if name.strip()]
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for client in CLIENTS:
        if wanted and client.name not in wanted:
            continue
        print(f"{client.name} ...", file=sys.stderr)
        try:
            found[client.name] = answers(client, subjects, given.cache)
            said[client.name] = versions(client, given.cache)
        except Unavailable as reason:
            found[client.name], said[client.name] = str(reason), "not run"
    text = markdown(subjects, found, said)
    print(text)
    if given.write is not None:
        before, _, rest = given.write.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        given.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
