"""Exports that write: the convention of their files, parity with torch, texts side by side, without torch, served.

One export per family serves all of these tests: tracing is what costs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

import slonik
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.exporting import parity
from slonik.exporting.generation.graph import check_family
from slonik.exporting.generation.report import GenerationReport
from slonik.exporting.generation.run import writes
from slonik.exporting.run import export
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.kinds import kind_of
from slonik.models.writing import open_generator
from slonik.runtime.generator import OnnxGenerator
from slonik.runtime.sampling import SamplingConfig
from slonik.runtime.session import open_session
from slonik.runtime.writing import Writer, WritingBatch
from slonik.text.tokenizing import write_tokenizer
from tests import tiny
from tests.serving.conftest import serving

PROMPTS = ["Маленький слон", "Снег", "Вчера в городе выпал первый снег и все дети вышли во двор играть", "Да"]
GREEDY = SamplingConfig(max_tokens=12, temperature=0)
DRAWN = SamplingConfig(max_tokens=12, temperature=0.9, top_p=0.9, top_k=10_000, repetition_penalty=1.3, seed=4)
FAMILIES = ("gpt2", "fred-t5")
FP32 = {"gpt2": "model.onnx", "fred-t5": "decoder_model_merged.onnx"}


def _checkpoint(folder: Path, family: str) -> Path:
    """A random model whose choices are plain; of a FRED-T5's shape: gated, with a head of its own."""
    tokenizer = tiny.tokenizer("bpe")
    layers = {"gpt2": 2, "fred-t5": 1}[family]
    shape = Shape.model_validate(
        {"family": family, "layers": layers, "hidden": 32, "heads": 4, "ffn": 64, "max_length": 64}
    )
    model = build(shape, TokenIds(tokenizer.get_vocab_size(), pad=1, bos=0, eos=2), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(1.0 if "shared" in name else 3.0 if family == "gpt2" else 1.7)
    model.save_pretrained(folder)
    names = {"eos_token": "</s>", "bos_token": "<s>", "pad_token": "<pad>"}
    write_tokenizer(tokenizer, folder, names=names, max_length=64)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def source(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _checkpoint(tmp_path_factory.mktemp("source") / family, family)


@pytest.fixture(scope="module")
def exported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GenerationReport]:
    out = tmp_path_factory.mktemp("exported") / source.name
    report = export(str(source), out, measure_speed=False, corpus=tiny.TEXTS)
    assert isinstance(report, GenerationReport)
    return out, report


@pytest.fixture(scope="module")
def folder(exported: tuple[Path, GenerationReport]) -> Path:
    return exported[0]


@pytest.fixture(scope="module")
def reference(source: Path) -> Writer:
    return open_generator(source)


@pytest.fixture(scope="module")
def fp32(folder: Path, family: str) -> OnnxGenerator:
    writer = open_generator(folder, file=FP32[family], threads=1)
    assert isinstance(writer, OnnxGenerator)
    return writer


@pytest.fixture(scope="module")
def int8(folder: Path) -> OnnxGenerator:
    writer = open_generator(folder, threads=1)
    assert isinstance(writer, OnnxGenerator)
    return writer


def test_files_have_the_names_that_other_clients_read(folder: Path, family: str) -> None:
    names = sorted(path.name for path in (folder / "onnx").iterdir())
    stems = ["model"] if family == "gpt2" else ["decoder_model_merged", "encoder_model"]
    assert names == sorted(stem + end for stem in stems for end in (".onnx", "_quantized.onnx"))
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "passport.json"):
        assert (folder / name).is_file()
    assert not (folder / "modules.json").exists()
    for end in (".onnx", "_quantized.onnx"):
        session = open_session(folder / "onnx" / (stems[0] + end), threads=1, inputs=["input_ids"])
        inputs = {item.name: item.shape for item in session.get_inputs()}
        outputs = [item.name for item in session.get_outputs()]
        if family == "gpt2":
            assert {"input_ids", "attention_mask", "position_ids"} < set(inputs)
            pasts = [f"past_key_values.{layer}.{part}" for layer in (0, 1) for part in ("key", "value")]
        else:
            assert {"input_ids", "encoder_attention_mask", "encoder_hidden_states"} < set(inputs)
            pasts = [
                f"past_key_values.0.{stack}.{part}" for stack in ("decoder", "encoder") for part in ("key", "value")
            ]
        assert {name for name in inputs if "past" in name} == set(pasts)
        assert outputs == ["logits", *(name.replace("past_key_values", "present") for name in pasts)]
        assert all(inputs[name][1] == 4 and inputs[name][3] == 8 for name in pasts)
        model = onnx.load(folder / "onnx" / (stems[0] + end))
        assert {node.domain for node in model.graph.node} <= {""}  # standard operators, for any engine
        if family != "gpt2":  # onnxruntime before 1.22 cannot reshape states that are not there by a -1
            assert sum("_named" in name for node in model.graph.node for name in node.output) == 2
        assert ("MatMulInteger" in {node.op_type for node in model.graph.node}) == ("quantized" in end)


def test_a_client_that_knows_the_convention_alone_writes_the_same(
    folder: Path, family: str, reference: Writer, fp32: OnnxGenerator
) -> None:
    """As transformers.js and optimum do it: empty pasts first, all of the mask, presents become pasts."""
    session = open_session(folder / "onnx" / FP32[family], threads=1, inputs=["input_ids"])
    ids = np.array([reference.prompt_ids(PROMPTS[0])])
    shapes = {item.name: item.shape for item in session.get_inputs()}
    past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items() if "past" in name}
    given: dict[str, np.ndarray] = {}
    tokens, length = ids, 0
    if family != "gpt2":
        encoder = open_session(folder / "onnx" / "encoder_model.onnx", threads=1)
        [states] = encoder.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        given = {"encoder_hidden_states": states, "encoder_attention_mask": np.ones_like(ids)}
        tokens = np.array([[reference.facts.start]])
    written: list[int] = []
    for _ in range(GREEDY.max_tokens):
        if family == "gpt2":
            given["position_ids"] = np.arange(length, length + tokens.shape[1])[None]
            given["attention_mask"] = np.ones((1, length + tokens.shape[1]), dtype=np.int64)
        logits, *presents = session.run(None, {"input_ids": tokens, **given, **past})
        assert logits.shape[1] == tokens.shape[1]
        length += tokens.shape[1]
        past = dict(zip(past, presents, strict=True))
        token = int(logits[0, -1].argmax())
        if token in reference.facts.ends:
            break
        written.append(token)
        tokens = np.array([[token]])
    text = reference.begin(PROMPTS[0], GREEDY)
    batch = WritingBatch(reference)
    batch.add([text])
    while text.open:
        batch.step()
    assert written == text.written and len(written) > 2


def test_the_report_holds_floors_and_the_passport_keeps_them(
    exported: tuple[Path, GenerationReport], source: Path
) -> None:
    folder, report = exported
    likeness = report.likeness
    assert likeness["fp32"].difference < 1e-4 and likeness["fp32"].same_texts == likeness["fp32"].texts == 24
    assert likeness["int8"].mean_cosine >= parity.floors()["dynamic"]["mean_cosine"]
    assert 0 <= likeness["int8"].divergence < 0.05
    metrics = {(record.task, record.metric): record.value for record in Passport.read(folder).records}
    assert metrics["fp32", "same_texts"] == 1.0 and metrics["int8", "bytes"] == report.sizes["int8"]
    assert Passport.read(folder).lineage[-1].command == "export"
    assert report.counts["matrices"] >= 8
    assert "--as encoder" in report.sentences()[-1] and report.table().rows


def test_texts_are_those_of_torch(reference: Writer, fp32: OnnxGenerator) -> None:
    for sampling in (GREEDY, DRAWN):
        assert fp32.complete(PROMPTS, sampling) == reference.complete(PROMPTS, sampling)
        assert "".join(fp32.stream(PROMPTS[0], sampling)) == reference.complete(PROMPTS[:1], sampling)[0]
    assert fp32.complete([""], GREEDY) == reference.complete([""], GREEDY)
    assert fp32.answers(["слон " * 100, "Кто это?"]) == reference.answers(["слон " * 100, "Кто это?"])


def test_a_text_does_not_depend_on_its_neighbours(reference: Writer, fp32: OnnxGenerator, int8: OnnxGenerator) -> None:
    """Prompts of very different lengths, some of which reach the end of the context."""
    long = SamplingConfig(max_tokens=500, temperature=0.9, seed=2)
    for writer in (reference, fp32, int8):
        for sampling in (GREEDY, DRAWN, long):
            alone = [writer.complete([prompt], sampling, first=place)[0] for place, prompt in enumerate(PROMPTS)]
            assert writer.complete(PROMPTS, sampling) == alone


def test_texts_join_and_leave_while_others_are_written(
    reference: Writer, fp32: OnnxGenerator, int8: OnnxGenerator
) -> None:
    for writer in (reference, fp32, int8):
        texts = [
            writer.begin(prompt, SamplingConfig(max_tokens=6 + 5 * place, seed=9), place)
            for place, prompt in enumerate(PROMPTS)
        ]
        batch = WritingBatch(writer)
        for number, text in enumerate(texts):
            batch.add([text])
            for _ in range(2 + number):
                batch.step()
        texts[2].cancelled = True
        before = len(texts[2].written)
        while batch.texts:
            batch.step()
        assert len(texts[2].written) == before
        for place, text in enumerate(texts):
            if place != 2:
                alone = writer.complete([PROMPTS[place]], SamplingConfig(max_tokens=6 + 5 * place, seed=9), first=place)
                assert [text.text()] == alone and text.finish is not None


def test_a_failing_text_leaves_the_others_alone(int8: OnnxGenerator) -> None:
    good, bad = int8.begin(PROMPTS[0], GREEDY), int8.begin(PROMPTS[1], GREEDY)
    bad.ids[0] = 10**6  # no such token
    batch = WritingBatch(int8)
    batch.add([good, bad])
    while batch.texts:
        batch.step()
    assert bad.error is not None and good.error is None
    assert [good.text()] == int8.complete([PROMPTS[0]], GREEDY)


def test_prompts_need_room_and_the_context_ends_texts(int8: OnnxGenerator, reference: Writer) -> None:
    full = "слон " * 200
    for writer in (int8, reference):
        with pytest.raises(SlonikError, match="takes fewer than 64"):
            writer.complete([full])
    most = next(prompt for n in range(200, 0, -1) if len(int8.tokenizer.encode(prompt := "слон " * n).ids) < 60)
    ids = int8.prompt_ids(most)
    text = int8.begin(most, SamplingConfig(max_tokens=10_000, temperature=1.0, seed=1))
    batch = WritingBatch(int8)
    batch.add([text])
    while text.open:
        batch.step()
    assert len(text.written) <= (64 if int8.two_stacks else 64 - len(ids))


WITHOUT_TORCH = """
import builtins, json, sys
real = builtins.__import__
def refuse(name, *rest, **more):
    if name.split(".")[0] in ("torch", "transformers"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
    return real(name, *rest, **more)
builtins.__import__ = refuse
import slonik
made = slonik.generate(sys.argv[1], json.loads(sys.argv[2]), max_tokens=12, temperature=0)
from slonik.cli.main import build_app
from typer.testing import CliRunner
done = CliRunner().invoke(build_app(), ["generate", sys.argv[1], "--prompt", "Снег", "--max-tokens", "5", "--stream"])
assert done.exit_code == 0, done.output
import os, signal, threading, httpx2
answers = []
def ask(url, names):
    body = {"model": names[0], "prompt": "Снег", "max_tokens": 3, "temperature": 0}
    def run():
        try:
            answers.append(httpx2.post(url + "/v1/completions", json=body, timeout=60, trust_env=False))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=run).start()
slonik.serve(sys.argv[1], port=0, ready=ask)
assert answers[0].status_code == 200, answers[0].text
assert not {"torch", "transformers"} & set(sys.modules)
print(json.dumps([one.text for one in made]))
"""


def test_it_writes_without_torch(folder: Path, int8: OnnxGenerator) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder), json.dumps(PROMPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == int8.complete(PROMPTS, GREEDY)


def test_requests_at_once_get_what_each_gets_alone(int8: OnnxGenerator, reference: Writer) -> None:
    for writer in (int8, reference):
        name, writer.name = writer.name, "writer"
        with serving(writer) as url, ThreadPoolExecutor(8) as pool:
            import httpx2

            def ask(number: int) -> tuple[str, str, int]:
                body = {"model": "writer", "prompt": PROMPTS[number % 4], "max_tokens": 4 + number, "seed": number}
                body |= {"temperature": 0 if number % 3 == 0 else 0.8, "top_p": 0.95}
                answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=60, trust_env=False).json()
                choice = answer["choices"][0]
                return choice["text"], choice["finish_reason"], answer["usage"]["completion_tokens"]

            answers = list(pool.map(ask, range(16)))
        for number, (text, reason, count) in enumerate(answers):
            sampling = SamplingConfig(
                max_tokens=4 + number, temperature=0 if number % 3 == 0 else 0.8, top_p=0.95, seed=number
            )
            assert text == "".join(writer.stream(PROMPTS[number % 4], sampling))
            assert (reason == "length") == (count == 4 + number)
        writer.name = name


def test_every_end_token_of_the_folder_ends_a_text(folder: Path, fp32: OnnxGenerator, tmp_path: Path) -> None:
    free = fp32.begin(PROMPTS[0], SamplingConfig(max_tokens=8, temperature=0))
    batch = WritingBatch(fp32)
    batch.add([free])
    while free.open:
        batch.step()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, free.written[3]]}), encoding="utf-8")
    changed = open_generator(copy, file=fp32_name(fp32), threads=1)
    first = free.written.index(free.written[3])
    assert changed.begin(PROMPTS[0], GREEDY).ids == free.ids
    assert changed.complete([PROMPTS[0]], GREEDY) == [fp32.prompts.text(free.ids, free.written[:first])]


def fp32_name(writer: OnnxGenerator) -> str:
    return FP32["fred-t5" if writer.two_stacks else "gpt2"]


def test_what_it_is_and_what_it_is_not(folder: Path, source: Path, tmp_path: Path, int8: OnnxGenerator) -> None:
    assert kind_of(folder).writes and kind_of(source).writes
    assert int8.describe()["parameters"] > 0 and int8.identity()
    assert slonik.generate(int8, PROMPTS[:1], max_tokens=3)[0].prompt == PROMPTS[0]
    with pytest.raises(SlonikError, match="exported to write"):
        slonik.load(folder)
    with pytest.raises(SlonikError, match="has no onnx/nothing"):
        open_generator(folder, file="nothing.onnx")
    with pytest.raises(SlonikError, match="leave device='cuda' out"):
        open_generator(folder, device="cuda")
    with pytest.raises(SlonikError, match="is for exported folders"):
        open_generator(source, file="model.onnx")
    wrong = (({"int8": "static"}, "--int8 static"), ({"fp16": True}, "--fp16"), ({"role": "x"}, "--as is 'x'"))
    for options, words in wrong:
        with pytest.raises(SlonikError, match=words):
            export(str(source), tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    assert not writes(str(source), "encoder")
    with pytest.raises(SlonikError, match="is exported already"):
        export(str(folder), tmp_path / "out")
    assert "slonik.generate" in slonik.show(folder).loader
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "generation_config.json").unlink()
    for path in (copy / "onnx").iterdir():
        if "decoder_model_merged" in path.name:
            path.unlink()
    with pytest.raises(SlonikError):
        open_generator(copy)
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    config = json.loads((changed / "config.json").read_text(encoding="utf-8"))
    for wrong in ({"vocab_size": 400}, {"is_encoder_decoder": not int8.two_stacks}, {"n_positions": 10_000}):
        (changed / "config.json").write_text(json.dumps({**config, **wrong}), encoding="utf-8")
        with pytest.raises(SlonikError, match="do not belong together"):
            open_generator(changed)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tiny.checkpoint(tmp_path_factory.mktemp("bert") / "bert", "bert")


def test_what_does_not_write_is_not_exported_to_write(encoder_folder: Path, tmp_path: Path) -> None:
    assert not writes(str(encoder_folder), "auto")
    arguments = ["export", str(encoder_folder), "--out", str(tmp_path / "out"), "--as", "generator"]
    done = CliRunner().invoke(build_app(), arguments)
    assert isinstance(done.exception, SlonikError) and "does not write texts" in str(done.exception)
    with pytest.raises(SlonikError, match="family 'opt'"):
        from transformers import OPTConfig, OPTForCausalLM

        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
        check_family(OPTForCausalLM(OPTConfig(vocab_size=20, word_embed_proj_dim=16, **small)), "my-opt")
