"""How other programs read an exported encoder: lines for fastembed, sentence-transformers and transformers.js.

They are made from the pipeline, so that they give its vectors: a client's own pooling where that is all there is, the
file's `sentence_embedding`, which holds the whole pipeline, where there is more. What a client cannot do is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slonik.text.sentence_config import SentenceConfig

_POOLINGS = {"mean": "MEAN", "cls": "CLS"}
_DTYPES = {"model_quantized.onnx": "q8", "model.onnx": "fp32", "model_fp16.onnx": "fp16"}
_CUT = "It cuts a text over the length without its last special token, so that such a vector differs from ours."
_TEXTS = ("Привет, мир!", "Как дела?")


@dataclass(frozen=True)
class Snippet:
    """Lines for one client.

    Attributes:
        client: its name.
        language: of the lines, as Markdown fences name it.
        program: the lines.
        remarks: what has to be known besides, a sentence each.
    """

    client: str
    language: str
    program: str
    remarks: tuple[str, ...] = ()


def snippets(
    name: str,
    sentence: SentenceConfig,
    dimension: int,
    files: Sequence[str],
    *,
    int8: str = "",
    writer: bool = False,
) -> list[Snippet]:
    """Lines for each client.

    Args:
        name: the folder's name, or its hub id.
        dimension: D of its sentence vectors.
        files: names of the ONNX files that the folder has.
        int8: "dynamic" where the int8 file takes its ranges from each batch.
        writer: a family (T5, GPT-2) that transformers.js would look for other files of, to write text.
    """
    file = next((known for known in _DTYPES if known in files), "model.onnx")
    remarks = _remarks(sentence, batches=int8 == "dynamic" and file == "model_quantized.onnx")
    return [
        Snippet(
            "fastembed", "python", _fastembed(name, sentence, dimension, file),
            (*_fastembed_version(sentence), *remarks),
        ),
        Snippet(
            "sentence-transformers", "python", _sentence_transformers(name, file),
            ("It needs optimum-onnx: pip install sentence-transformers[onnx].",),
        ),
        Snippet("transformers.js", "js", _transformers_js(name, sentence, file, writer), (*remarks, _CUT)),
    ]  # fmt: skip


def _texts(sentence: SentenceConfig, quote: str = '"') -> str:
    """Two texts as a list, with the default prefix, which these clients do not add."""
    prefix = sentence.prefix(None)
    return "[" + ", ".join(f"{quote}{_escaped(prefix + text, quote)}{quote}" for text in _TEXTS) + "]"


def _escaped(text: str, quote: str) -> str:
    for before, after in (("\\", "\\\\"), (quote, f"\\{quote}"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(before, after)
    return text


def _own(sentence: SentenceConfig) -> str:
    """The pooling that a client can do itself, "" where the pipeline is more than that."""
    return sentence.pooling if sentence.plain and sentence.pooling in _POOLINGS else ""


def _fastembed(name: str, sentence: SentenceConfig, dimension: int, file: str) -> str:
    own = _own(sentence)
    output = "" if own else ' output_name="sentence_embedding",'
    return (
        "from fastembed import TextEmbedding\n"
        "from fastembed.common.model_description import ModelSource, PoolingType\n\n"
        "TextEmbedding.add_custom_model(\n"
        f"    model={name!r}, sources=ModelSource(hf={name!r}), dim={dimension}, model_file={'onnx/' + file!r},\n"
        f"    pooling=PoolingType.{_POOLINGS[own] if own else 'DISABLED'},"
        f" normalization={bool(own) and sentence.normalize},{output}\n"
        ")\n"
        f"model = TextEmbedding({name!r}, specific_model_path={name!r})  # the folder; without it, from the hub\n"
        f"vectors = list(model.embed({_texts(sentence)}))"
    )


def _fastembed_version(sentence: SentenceConfig) -> tuple[str, ...]:
    if _own(sentence):
        return ()
    return (
        "fastembed's own poolings do not make this vector; `output_name`, which takes it from the file, came with 0.9.",
    )


def _sentence_transformers(name: str, file: str) -> str:
    return (
        "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer({name!r}, backend="onnx", model_kwargs={{"file_name": {"onnx/" + file!r}}})\n'
        f'vectors = model.encode(["{_TEXTS[0]}", "{_TEXTS[1]}"])'
    )


def _transformers_js(name: str, sentence: SentenceConfig, file: str, writer: bool) -> str:
    own, texts = "" if writer else _own(sentence), _texts(sentence, "'")
    named = "'" + _escaped(name, "'") + "'"
    if own:
        options = f"{{ pooling: '{own}', normalize: {str(sentence.normalize).lower()} }}"
        return (
            "import { pipeline } from '@huggingface/transformers';\n\n"
            f"const extract = await pipeline('feature-extraction', {named}, {{ dtype: '{_DTYPES[file]}' }});\n"
            f"const vectors = await extract({texts}, {options});"
        )
    loader, chosen = ("PreTrainedModel", ", model_file_name: 'model'") if writer else ("AutoModel", "")
    return (
        f"import {{ AutoTokenizer, {loader} }} from '@huggingface/transformers';\n\n"
        f"const tokenizer = await AutoTokenizer.from_pretrained({named});\n"
        f"const model = await {loader}.from_pretrained({named}, {{ dtype: '{_DTYPES[file]}'{chosen} }});\n"
        f"const inputs = await tokenizer({texts}, {{ padding: true, truncation: true }});\n"
        "const vectors = (await model(inputs)).sentence_embedding;"
    )


def _remarks(sentence: SentenceConfig, *, batches: bool) -> tuple[str, ...]:
    """What fastembed and transformers.js do otherwise than the folder says."""
    found = []
    if sentence.default_prefix and sentence.prefix(None):
        found.append("It adds no prefix: the texts above carry the default one.")
    if not sentence.include_prompt and any(sentence.prefixes.values()):
        found.append("It pools a prefix with the text, which this model leaves out: encode without one.")
    if sentence.long_texts != "truncate":
        what = sentence.long_texts
        found.append(f"It cuts texts over {sentence.max_length} tokens, where this folder says `{what}`.")
    if batches:
        found.append(
            "The int8 file takes its ranges from what it sees: in a batch a text's vector depends a little on its "
            "neighbours (one at a time it does not)."
        )
    return tuple(found)
