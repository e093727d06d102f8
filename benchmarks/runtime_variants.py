"""What each step of the export is worth: the same network with one thing changed at a time, side by side.

    python benchmarks/runtime_variants.py [--model embedded:multilingual-e5-small] [--texts FILE] [--count 60]
        [--processor-time]

Single texts, one thread, token ids ready made; engines take turns after every 20 texts. "stock" rows use what
torch.onnx.export and onnxruntime.quantization give by themselves. OpenVINO joins where it is installed, its int8 where
nncf is. Processor time instead of the clock's is for machines with other work.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import slonik
from runtime_speed import measure
from slonik.exporting.fusions import drop_reshapes, keep_layer_norm, merge_projections, optimise, unfold_gemm
from slonik.exporting.graph import Graph
from slonik.exporting.parity import calibration_texts, parity_texts
from slonik.exporting.precision import input_ranges, quantise
from slonik.exporting.torch_graph import SentenceGraph, to_onnx

Run = Callable[[str], np.ndarray]


def session_of(model: onnx.ModelProto, *, skip_norm: bool = False) -> onnxruntime.InferenceSession:
    """A session as the runtime opens it; `skip_norm` leaves onnxruntime's SkipLayerNormalization fusion on."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    disabled = None if skip_norm else ["SkipLayerNormFusion"]
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
    )


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that can be edited."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def stock_int8(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """onnxruntime.quantization's dynamic int8, per channel, matrices only."""
    onnx.save(model, folder / "stock.onnx")
    quantize_dynamic(
        folder / "stock.onnx", folder / "stock8.onnx", per_channel=True, weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"], extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
    )  # fmt: skip
    return onnx.load(folder / "stock8.onnx")


def without(pass_name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """`optimise` with one pass left out."""
    graph = Graph(copied(model))
    for step in (unfold_gemm, drop_reshapes, merge_projections, keep_layer_norm):
        if step.__name__ != pass_name:
            step(graph)
    return graph.finish()


def variants(model: str, folder: Path) -> dict[str, Run]:
    """All systems by name, torch first."""
    encoder = slonik.load(model, backend="torch", device="cpu")
    graph = SentenceGraph(encoder.model, encoder.sentence).eval()  # type: ignore[attr-defined]
    length = encoder.max_length  # type: ignore[attr-defined]
    raw = to_onnx(graph, length)
    ours = optimise(copied(raw))
    rows = encoder.tokenize(calibration_texts())  # type: ignore[attr-defined]
    ranges = input_ranges(ours, rows)

    def int8(source: onnx.ModelProto, scheme: str = "dynamic", cap: float = 0.99) -> onnx.ModelProto:
        edited = copied(source)
        seen = ranges if source is ours else input_ranges(source, rows[:8]) if cap < 1 else {}
        quantise(edited, scheme, seen, cap=cap)  # type: ignore[arg-type]
        return edited

    stock = to_onnx(graph, length, fused=False)
    stock8 = stock_int8(stock, folder)
    sessions = {
        "stock fp32": session_of(stock, skip_norm=True),
        "ours fp32": session_of(ours),
        "stock dynamic int8": session_of(stock8, skip_norm=True),
        "stock dynamic int8, no SkipLayerNorm": session_of(stock8),
        "ours dynamic int8": session_of(int8(ours)),
        "ours, q k v apart": session_of(int8(without("merge_projections", raw), cap=1.0)),
        "ours, SkipLayerNorm": session_of(int8(without("keep_layer_norm", raw), cap=1.0), skip_norm=True),
        "ours, no channels divided": session_of(int8(ours, cap=1.0)),
        "ours static int8": session_of(int8(ours, "static")),
    }

    def torch_run(text: str) -> np.ndarray:
        with torch.inference_mode():
            ids = torch.tensor([IDS[text]])
            return graph(ids, torch.ones_like(ids))[1][0].numpy()

    def session_run(session: onnxruntime.InferenceSession) -> Run:
        def run(text: str) -> np.ndarray:
            ids = np.array([IDS[text]])
            return session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]

        return run

    found: dict[str, Run] = {"torch fp32": torch_run}
    found |= {name: session_run(session) for name, session in sessions.items()}
    return found | torch_runs(graph, rows[0]) | openvino_runs(stock, folder, rows)


def torch_runs(graph: SentenceGraph, row: list[int]) -> dict[str, Run]:
    """torch's own ways to be faster: int8 products by its quantised engine, oneDNN graph on a traced module."""

    def run_of(module: torch.nn.Module) -> Run:
        def run(text: str) -> np.ndarray:
            with torch.inference_mode():
                ids = torch.tensor([IDS[text]])
                return module(ids, torch.ones_like(ids))[1][0].numpy()

        return run

    torch.backends.quantized.engine = "x86"
    int8 = torch.ao.quantization.quantize_dynamic(copy.deepcopy(graph), {torch.nn.Linear}, dtype=torch.qint8)
    torch.jit.enable_onednn_fusion(True)
    ids = torch.tensor([row])
    with torch.no_grad():
        traced = torch.jit.trace(graph, (ids, torch.ones_like(ids)), check_trace=False)
        frozen = torch.jit.freeze(traced)
    return {"torch int8 (x86 engine)": run_of(int8), "torch, oneDNN graph": run_of(frozen)}


def openvino_runs(model: onnx.ModelProto, folder: Path, rows: list[list[int]]) -> dict[str, Run]:
    """OpenVINO on the stock graph: fp32, bf16, and where nncf is there int8 weights alone, and with activations whose
    ranges come from `rows` of token ids."""
    try:
        import openvino
    except ImportError:
        print("openvino is not installed: pip install openvino nncf")
        return {}
    onnx.save(model, folder / "openvino.onnx")
    core = openvino.Core()
    base = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}

    def compiled(graph: object, **settings: object) -> Run:
        request = core.compile_model(graph, "CPU", {**base, **settings}).create_infer_request()

        def run(text: str) -> np.ndarray:
            ids = np.array([IDS[text]])
            request.infer({"input_ids": ids, "attention_mask": np.ones_like(ids)})
            return request.get_output_tensor(1).data[0].copy()

        return run

    path = str(folder / "openvino.onnx")
    found = {
        "OpenVINO fp32": compiled(path, INFERENCE_PRECISION_HINT="f32"),
        "OpenVINO bf16": compiled(path, INFERENCE_PRECISION_HINT="bf16"),
    }
    try:
        import nncf

        weights = nncf.compress_weights(core.read_model(path), mode=nncf.CompressWeightsMode.INT8_SYM)
        found["OpenVINO int8 weights"] = compiled(weights)
        seen = nncf.Dataset(
            rows, lambda row: {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), int)}
        )
        static = nncf.quantize(
            core.read_model(path), seen, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows)
        )
        found["OpenVINO int8 (static)"] = compiled(static)
    except ImportError:
        print("nncf is not installed: pip install nncf")
    return found


IDS: dict[str, list[int]] = {}


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:multilingual-e5-small")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else parity_texts()
    texts = [line for line in lines if line.strip()][: options.count]
    encoder = slonik.load(options.model, backend="torch", device="cpu")
    IDS.update(zip(texts, encoder.tokenize(texts), strict=True))  # type: ignore[attr-defined]
    del encoder
    with tempfile.TemporaryDirectory() as folder:
        clock = time.process_time if options.processor_time else time.perf_counter
        rows = measure(variants(options.model, Path(folder)), texts, options.rounds, clock)
    print("| variant | median ms | lowest ms | faster (median) | faster (lowest) | cosine mean | lowest |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['engine']} | {row['median_ms']:.2f} | {row['lowest_ms']:.2f} | {row['times_faster_median']:.2f} | "
            f"{row['times_faster_lowest']:.2f} | {row['mean_cosine']:.5f} | {row['lowest_cosine']:.5f} |"
        )


if __name__ == "__main__":
    main()
