"""slonik's encoders as mteb asks for them: a folder, an ONNX folder, an embedded model, used inside mteb as it is.

    import mteb
    from slonik.evaluation.mteb.models import for_mteb

    mteb.evaluate(for_mteb("my-encoder"), mteb.get_tasks(tasks=["RUParaPhraserSTS"]))

Prompts are the checkpoint's prefixes, chosen in mteb's own order: of the task and kind of text, of the task, of the
task's type and kind, of the type, of the kind ("query"; "document" or "passage"), then the checkpoint's default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.protocols import Encoder
from slonik.evaluation.long_texts import too_long
from slonik.evaluation.prefix import applied_prefix
from slonik.evaluation.suite import opened

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

_KINDS = {"query": ("query",), "document": ("document", "passage")}
_OWN = "slonik"  # the organisation of models that no hub knows
_REVISION = 16  # digits


class EncoderForMteb:
    """An encoder behind mteb's `EncoderProtocol`; similarity is the cosine.

    Args:
        model_name: what to load, as mteb names it when it opens a model itself.
        revision: not used: a folder is what it is.
        device: of a model that torch runs.
        encoder: an encoder that is loaded already; `model_name` is not opened then.
        prompts: name of a task, a task's type or a kind of text -> text put before it, instead of the checkpoint's.

    Attributes:
        used: name of a task -> kind of text -> what was put before it.
        texts: name of a task -> texts encoded. cut: those of them that are longer than the encoder reads.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        *,
        device: str | None = None,
        encoder: Encoder | None = None,
        prompts: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.encoder = opened(model_name, device=device, **options) if encoder is None else encoder
        self.model_name = model_name
        sentence = getattr(self.encoder, "sentence", None)
        self.prompts = dict(getattr(sentence, "prefixes", None) or {}) if prompts is None else dict(prompts)
        self.used: dict[str, dict[str, str]] = {}
        self.cut: dict[str, int] = {}
        self.texts: dict[str, int] = {}

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> NDArray[np.float32]:
        """Vectors (N, D) of the texts of all batches.

        Raises:
            SlonikError: inputs without texts.
        """
        kind = None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))
        prefix = self.prefix_of(str(task_metadata.name), str(task_metadata.type), kind)
        self.used.setdefault(str(task_metadata.name), {})[kind or "text"] = prefix
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise SlonikError(
                    f"{task_metadata.name} has {', '.join(batch)} and no texts: {self.model_name} reads text"
                )
            texts += [str(text) for text in batch["text"]]
        task = str(task_metadata.name)
        self.texts[task] = self.texts.get(task, 0) + len(texts)
        self.cut[task] = self.cut.get(task, 0) + too_long(self.encoder, texts, prefix)
        return np.asarray(self.encoder.encode(texts, prefix=prefix), dtype=np.float32)

    def prefix_of(self, task: str, task_type: str, kind: str | None) -> str:
        """The text before an input.

        Args:
            kind: "query", "document" or None.
        """
        kinds = _KINDS.get(kind or "", ())
        names = [f"{task}-{one}" for one in kinds] + [task] + [f"{task_type}-{one}" for one in kinds] + [task_type]
        for name in (*names, *kinds):
            if name in self.prompts:
                return self.prompts[name]
        return applied_prefix(self.encoder)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines (N, M) of all pairs, as a tensor."""
        import torch

        first, second = self._unit(embeddings1), self._unit(embeddings2)
        return torch.from_numpy(first @ second.T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines (N,) of pairs, as a tensor."""
        import torch

        return torch.from_numpy((self._unit(embeddings1) * self._unit(embeddings2)).sum(axis=1))

    @staticmethod
    def _unit(vectors: Any) -> NDArray[np.float32]:
        found = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    @property
    def weights(self) -> str | None:
        """Hash of the weights, where the encoder has one."""
        digest = getattr(self.encoder, "weights_hash", None)
        return str(digest() if callable(digest) else digest) if digest else None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb writes about the model: its name, and a revision that changes with weights and prompts."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        revision = sha256_json([self.weights or self.model_name, self.prompts, applied_prefix(self.encoder)])[
            :_REVISION
        ]
        sentence = getattr(self.encoder, "sentence", None)
        facts = {
            "name": _mteb_name(self.model_name),
            "revision": revision,
            "framework": ["ONNX"] if "Onnx" in type(self.encoder).__name__ else ["PyTorch"],
            "similarity_fn_name": ScoringFunction.COSINE,
            "max_tokens": getattr(sentence, "max_length", None),
            "use_instructions": bool(self.prompts),
            "open_weights": True,
        }
        return ModelMeta.create_empty(facts)


def _mteb_name(name: str) -> str:
    """ORGANISATION/MODEL: a hub id stays, a folder's or an embedded model's name gets slonik's organisation."""
    if name.count("/") == 1 and not Path(name).exists() and not name.startswith("."):
        return name
    return f"{_OWN}/{Path(name.removeprefix('embedded:')).name or 'model'}"


def for_mteb(
    model: str | Path | Encoder, *, prompts: Mapping[str, str] | None = None, **options: Any
) -> EncoderForMteb:
    """A model for `mteb.evaluate`: a folder of ours, an ONNX folder, a hub id, an embedded model, or a loaded one.

    Args:
        prompts: name of a task, a task's type, "query" or "document" -> text put before it; None = the checkpoint's.
        options: of loading: device, dtype, pooling, trust_remote_code.

    Raises:
        SlonikError: there is no such model, or options that it does not take.
    """
    if isinstance(model, str | Path):
        return EncoderForMteb(str(model), prompts=prompts, **options)
    return EncoderForMteb(str(model.name), encoder=opened(model, **options), prompts=prompts)
