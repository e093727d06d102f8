"""What a model is: the one table that every path asks, from `slonik.load` to `slonik serve`.

Reads config.json and the names of files; loads nothing, and needs neither torch nor transformers. Which stack a family
has is Transformers' own answer (its Auto mappings, which cannot be read without torch), held to it by a test.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slonik.core.errors import SlonikError
from slonik.models import distributions
from slonik.models.checkpoint_files import INDEX, WEIGHTS, read_config_json
from slonik.models.names import BASELINE_NAMES, EMBEDDED_PREFIX, ENCODER_NAMES, UNIVERSAL_SENTENCE_ENCODER
from slonik.text import TAGGER_FILE, TASK_FILE
from slonik.text.lines import read_json
from slonik.text.pipeline_files import is_static, modules_without_weights, transformer_folder
from slonik.text.prompts import is_generator
from slonik.text.sentence_config import SentenceConfig, names_pooling

Name = Literal[
    "encoder", "decoder", "encoder-decoder", "static", "head", "task", "tagger", "exported", "baseline", "embedded"
]  # fmt: skip
Stack = Literal["encoder", "decoder", "encoder-decoder"]

SLIM_PREFIX = "slonik_"
STOCK_HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
TOKEN_HEAD = "ForTokenClassification"
_WRITING = ("LMHeadModel", "DoubleHeadsModel", "EncoderDecoderModel")
_HUB_FILES = ("*.json", "*.json.gz", "*.safetensors", "*.txt", "*.model", "*.py")
_ARTICLES: dict[str, str] = {"encoder": "an encoder", "decoder": "a decoder", "encoder-decoder": "an encoder-decoder"}

_ENCODERS = """
    albert bert big_bird camembert canine convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm esmc
    eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm longformer ltg_bert luke megatron-bert
    mobilebert modernbert modernvbert mpnet mra neomme nomic_bert nystromformer perceiver reformer rembert roberta
    roberta-prelayernorm roc_bert roformer squeezebert tapas ultrabert ultravbert xlm xlm-roberta xlm-roberta-xl xmod
    yoso
"""  # Families that read both ways (Transformers: those with a masked-language model), LTG-BERT among them.
_ENCODER_DECODERS = """
    audioflamingo3 bart bigbird_pegasus blenderbot blenderbot-small encoder-decoder fsmt glmasr granite_speech
    granite_speech_plus led longt5 m2m_100 marian mbart moss_transcribe_diarize mt5 musicflamingo mvp nemo_speechlm
    nllb-moe pegasus pegasus_x plbart prophetnet qwen2_audio qwen3_asr seamless_m4t seamless_m4t_v2
    switch_transformers t5 t5gemma t5gemma2 umt5 vibevoice_asr voxtral voxtral_realtime
"""  # Families that Transformers trains from sequence to sequence.
_DECODERS = """
    afmoe apertus arcee aria_text axk1 axk2 bailing_hybrid bamba beam bert-generation biogpt bitnet bloom blt codegen
    cohere cohere2 cohere2_moe cohere_compass_text cpmant ctrl cwm dbrx deepseek_v2 deepseek_v3 deepseek_v32
    deepseek_v4 diffllama doge dots1 dots3_note dots3_note_text emu3 ernie4_5 ernie4_5_moe exaone4 exaone_moe falcon
    falcon_h1 falcon_mamba flex_olmo flint fuyu gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text gemma4
    gemma4_assistant gemma4_text gemma4_unified gemma4_unified_assistant gemma4_unified_text git glm glm4 glm4_moe
    glm4_moe_lite glm_moe_dsa got_ocr2 gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite
    granite_swa granitemoe granitemoe_swa granitemoehybrid granitemoeshared helium hrm_text hunyuan_v1_dense
    hunyuan_v1_moe hy_v3 hy_v4 hyperclovax inkling2_text inkling_text internlm3 iquestcoder jais2 jamba jetmoe
    kimi_linear kolibri1 laguna lfm2 lfm2_moe lfm3 llama llama4 llama4_text longcat_flash mamba mamba2 mellum
    mimo_v2_flash minicpm3 minimax minimax_m2 minimax_m3_vl_text ministral ministral3 mistral mixtral mllama
    modernbert-decoder moshi mpt musicgen musicgen_melody nanochat nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid
    olmoe openai-gpt opt persimmon phi phi3 phi4_multimodal phimoe qwen2 qwen2_moe qwen3 qwen3_5 qwen3_5_moe
    qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next qwen4_exp qwen4_exp_text recurrent_gemma rwkv seed_oss smollm3
    solar_open stablelm starcoder2 trocr vaultgemma whisper xglm xlnet xlstm youtu zamba zamba2 zaya
"""  # Families that write from left to right and do neither of the above.

FAMILIES: dict[str, Stack] = {
    **dict.fromkeys(_ENCODERS.split(), "encoder"),
    **dict.fromkeys(_ENCODER_DECODERS.split(), "encoder-decoder"),
    **dict.fromkeys(_DECODERS.split(), "decoder"),
}
"""Model type -> the stack that its checkpoints have when they say nothing else."""


@dataclass(frozen=True)
class Kind:
    """What a model is.

    Attributes:
        name: "encoder", "decoder", "encoder-decoder": a bare transformer or one with its language-model head; "static":
            a table of token vectors, no network; "head": a transformer with a stock head for a task; "task": ours, an
            encoder or language model with `task.json`; "tagger": tags words, ours or of Transformers; "exported": ONNX
            files without weights; "baseline", "embedded": encode, and are no checkpoint.
        family: Transformers' model type, of our uneven shapes that of the stock class; "" where there is no config.
        stack: which transformer is inside, whatever stands on it; None where there is none.
        folder: where its files are; None for what has none.
        architecture: the class that wrote the checkpoint; "" where the config does not say.
        exported: ONNX files lie in the folder, beside weights or without.
        given: what the user called it.
    """

    name: Name
    family: str = ""
    stack: Stack | None = None
    folder: Path | None = None
    architecture: str = ""
    exported: bool = False
    given: str = ""

    @property
    def in_words(self) -> bool:
        """Whether it is a decoder or an encoder-decoder: it learns and answers tasks in words."""
        return self.stack in ("decoder", "encoder-decoder")

    @property
    def writes(self) -> bool:
        """Whether its files hold such a model with its language-model head; a bare one gives vectors, as does a decoder
        whose folder names a pooling that ours never do (Qwen3-Embedding's last token)."""
        if self.folder is not None and self.in_words:
            if self.name == "exported":
                return is_generator(self.folder)
            if self.stack == "decoder" and _pools_otherwise(self.folder):
                return False
        bare = self.architecture.endswith("Model") and not self.architecture.endswith(_WRITING)
        return self.in_words and self.name != "head" and not bare

    @property
    def encodes(self) -> bool:
        """Whether what it gives is vectors: neither a text nor what a head makes of them."""
        bare = self.name not in ("head", "task", "tagger")
        return bare and not (self.folder is not None and names_head(self.folder)) and not self.writes

    def __str__(self) -> str:
        """Words for a sentence: "a decoder (gpt2)"."""
        if self.name in ("baseline", "tagger"):
            return f"a {self.name}"
        if self.name == "static":
            return "a static model (token vectors, no network)"
        if self.stack is None:
            return "an encoder in a package of its own" if self.name == "embedded" else "an exported model"
        return f"{_ARTICLES[self.stack]} ({self.family})"


def _pools_otherwise(folder: Path) -> bool:
    """Whether a decoder's folder names a pooling, and another than the mean that ours have."""
    return names_pooling(folder) and SentenceConfig.read(folder).pooling != "mean"


def kind_of(model: str | Path) -> Kind:
    """What `model` is: a folder, a hub id, `embedded:NAME`, or the bare name of a baseline.

    A hub model is fetched and an embedded one unpacked, as loading it would do.

    Raises:
        SlonikError: there is no such model, or its config.json is missing, damaged, or of a family that is not known.
    """
    name = str(model)
    if not is_checkpoint(model):
        return Kind("embedded" if name == UNIVERSAL_SENTENCE_ENCODER else "baseline", given=name)
    folder = resolve(model)
    exported = is_exported(folder)
    if (folder / TAGGER_FILE).is_file():
        return Kind("tagger", folder=folder, given=name)
    if is_static(folder):
        return Kind("static", folder=folder, given=name)
    if exported and not has_weights(folder):
        config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        stack = stack_of(config) if config else None
        return Kind("exported", family_of(str(config.get("model_type", ""))), stack, folder, exported=True, given=name)
    config = read_config_json(transformer_folder(folder))
    family = family_of(str(config["model_type"]))
    stack = stack_of(config)
    if stack is None:
        raise SlonikError(
            f"the model_type {family!r} in {folder / 'config.json'} is not known: take an encoder (BERT and its kin), "
            "a decoder (GPT-2, Llama, ...) or an encoder-decoder (T5, ...) of Transformers"
        )
    architecture = _architecture(config)
    found: Name = "head" if architecture.endswith(STOCK_HEADS) else stack
    if architecture.endswith(TOKEN_HEAD):
        found = "tagger"
    if (folder / TASK_FILE).is_file():
        task = read_json(folder / TASK_FILE)
        found = "tagger" if task.get("target") == "tags" or task.get("kind") == "tokens" else "task"
    return Kind(found, family, stack, folder, architecture, exported, name)


def is_checkpoint(model: str | Path) -> bool:
    """Whether `model` has a folder: False for the bare name of a baseline and for encoders in packages of their own."""
    name = str(model)
    return name not in (*BASELINE_NAMES, UNIVERSAL_SENTENCE_ENCODER) or Path(name).is_dir()


def is_exported(model: str | Path) -> bool:
    """Whether `model` is a folder with ONNX files, or an embedded model that ships as one: onnxruntime opens it."""
    return exported_folder(model) is not None


def exported_folder(model: str | Path) -> Path | None:
    """The folder whose ONNX files `model` is: itself, or where its distribution is installed; None where there is none.

    Raises:
        SlonikError: the distribution is damaged or for a newer slonik.
    """
    name = str(model)
    if name.startswith(EMBEDDED_PREFIX):
        found = distributions.find(name.removeprefix(EMBEDDED_PREFIX))
        return found.folder if found is not None and found.kind == "encoder" else None
    return Path(model) if (Path(model) / "onnx").is_dir() else None


def names_head(folder: Path) -> bool:
    """Whether the files of a folder name a head: `task.json`, or a class of Transformers that has one."""
    if (folder / TASK_FILE).is_file():
        return True
    path = transformer_folder(folder) / "config.json"
    return path.is_file() and _architecture(read_json(path)).endswith(STOCK_HEADS)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds safetensors of a whole model."""
    folder = transformer_folder(folder)
    return (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()


def family_of(model_type: str) -> str:
    """The stock family of a model type; our uneven-shape types are named after theirs ("slonik_deberta_v2")."""
    return model_type.removeprefix(SLIM_PREFIX).replace("_", "-") if model_type.startswith(SLIM_PREFIX) else model_type


def stack_of(config: Mapping[str, Any]) -> Stack | None:
    """Which transformer a config.json describes; None for a family that is not known.

    The class that it names decides where a family has several (a T5 whose encoder alone was saved); a BERT is a decoder
    only where its config says so.
    """
    family, architecture = family_of(str(config.get("model_type", ""))), _architecture(config)
    if architecture.endswith("EncoderModel"):
        return "encoder"
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    causal = architecture.endswith(("ForCausalLM", "LMHeadModel")) and not architecture.endswith("WithLMHeadModel")
    if causal or config.get("is_decoder"):
        return "decoder"
    if family in FAMILIES:
        return FAMILIES[family]
    own_code = config.get("auto_map") or {}
    if "AutoModelForSeq2SeqLM" in own_code or architecture.endswith("ForConditionalGeneration"):
        return "encoder-decoder"
    if "AutoModelForCausalLM" in own_code:
        return "decoder"
    return "encoder" if own_code or architecture.endswith("ForMaskedLM") else None


_converting = 0  # how many blocks allow it; of the whole process, for a server loads in threads of its own


@contextmanager
def converting_weights() -> Iterator[None]:
    """Have pickled weights of models that are opened in the block converted (`slonik.models.converted_weights`)."""
    global _converting
    _converting += 1
    try:
        yield
    finally:
        _converting -= 1


def resolve(model: str | Path, *, convert_weights: bool | None = None) -> Path:
    """The local folder of `model`: itself, the cache of an embedded model, or a snapshot from the hub.

    Args:
        convert_weights: where weights are pickled (.bin) only, give a folder in the cache with the same as safetensors,
            read as weights alone (`slonik.models.converted_weights`); None = as `converting_weights` says.

    Raises:
        SlonikError: there is none and none can be fetched.
    """
    asked = _converting > 0 if convert_weights is None else convert_weights
    folder = _found(model, asked)
    if not asked:
        return folder
    from slonik.models.converted_weights import converted

    return converted(folder)


def _found(model: str | Path, pickled: bool) -> Path:
    name = str(model)
    if name.startswith(EMBEDDED_PREFIX):
        from slonik.models import embedded

        return embedded.materialise(name.removeprefix(EMBEDDED_PREFIX))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise SlonikError(
            f"{folder} is a file: pass the checkpoint folder that holds it (`slonik report` reads files of results)"
        )
    if name in BASELINE_NAMES:
        raise SlonikError(
            f"{name} is a baseline, which has no weights to work on: it can be measured and compared with"
        )
    return hub_folder(name, pickled=pickled)


def hub_folder(name: str, *, pickled: bool = False) -> Path:
    """A local snapshot of the hub model `name`: config, safetensors, tokenizer, sentence files.

    Args:
        pickled: fetch weights that are pickled too, where there are no others.

    Raises:
        SlonikError: the name cannot be a hub id, the hub is out of reach, what fetches from it is not installed, or it
            has no such model.
    """
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise SlonikError(f"there is no folder {name}: pass a checkpoint folder, a hub id, or embedded:NAME")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ModuleNotFoundError as error:
        raise SlonikError(
            f"there is no folder {name}{_instead(name)}; a model of that name on the hub would be fetched with an "
            f"extra (the package {error.name} is missing): pip install 'slonik[train]'"
        ) from None
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
        if pickled and (lacking := pickled_files_wanted(folder)):
            folder = Path(snapshot_download(name, allow_patterns=[*_HUB_FILES, *lacking]))
        return folder
    except HFValidationError:
        raise SlonikError(f"there is no folder {name}, and it cannot be a hub id{_instead(name)}") from None
    except RepositoryNotFoundError:
        raise SlonikError(
            f"there is no folder {name}, and the hub has no model of that name (or it is private){_instead(name)}"
        ) from None
    except Exception:  # offline, refused, timed out: many classes, none of them ours to mend, or to show
        ways = (
            _instead(name) or ": copy the checkpoint to a folder and pass that, or use embedded:multilingual-e5-small"
        )
        raise SlonikError(
            f"there is no folder {name}, and the hub cannot be reached to look for a model of that name{ways}"
        ) from None


def pickled_files_wanted(folder: Path) -> list[str]:
    """Patterns of the pickled files that would stand for the weights that a snapshot lacks."""
    wanted = [] if has_weights(folder) else ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
    return wanted + [f"{place}/pytorch_model.bin" for place in modules_without_weights(folder)]


def _instead(name: str) -> str:
    """What could have been meant by a bare name, as the end of a sentence; "" for OWNER/NAME."""
    if "/" in name:
        return ""
    names = sorted([*ENCODER_NAMES, *(EMBEDDED_PREFIX + shipped for shipped in distributions.installed_names())])
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]!r}? Pass" if close else "pass"
    return f": {meant} a folder, or one of {', '.join(names)}"


def _architecture(config: Mapping[str, Any]) -> str:
    """The class that wrote the checkpoint; "" where the config does not say."""
    return str((config.get("architectures") or [""])[0])
