"""Models that answer in words, T5 and its kin and decoders: likelihood of given answers, and greedy text.

The raw tokenizer is used without its template: the prompt of a text-to-text model ends with `</s>`, put there by hand,
for some tokenizers of T5 models (FRED-T5's) do not. Training is done elsewhere; `fields` gives it what it needs.

Shapes: B texts, T tokens, V pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import hash_tensors, read_config_json, read_tensors
from slonik.models.encoder import STORED_NAMES, tensor_bytes
from slonik.models.kinds import resolve
from slonik.models.loading import quiet_transformers
from slonik.models.task_config import TaskConfig
from slonik.text.batching import token_budget_batches
from slonik.text.tokenizing import content_ids, load_tokenizer, read_special_names, template_of, write_tokenizer

SEQ2SEQ = ("t5", "mt5", "umt5")
CAUSAL = ("gpt2", "gpt_neo", "gptj", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma", "opt")
NOT_SCORED = -100
Fields = dict[str, NDArray[Any]]


def answers_in_words(folder: Path) -> bool:
    """Whether the checkpoint in `folder` is a text-to-text model or a decoder, by its config.json."""
    return read_config_json(folder).get("model_type") in (*SEQ2SEQ, *CAUSAL)


@dataclass
class TextModel:
    """A text-to-text model or decoder with its tokenizer.

    Attributes:
        model: with its language-model head. tokenizer: raw. kind: which of the two.
        names: special tokens by role. passport: lineage. name: what the user called it.
        max_length: tokens of a prompt (text to text), or of prompt and answer (decoder).
        prefix: put before every prompt, e.g. the denoiser's "<LM>".
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    kind: Literal["seq2seq", "causal"]
    names: dict[str, str]
    passport: Passport
    name: str
    max_length: int
    prefix: str = ""

    @property
    def eos(self) -> int:
        """Id of the end of a text."""
        found = self.model.config.eos_token_id
        return int(found[0] if isinstance(found, list) else found)

    @property
    def pad(self) -> int:
        """Id to pad with."""
        found = self.model.config.pad_token_id
        return int(found) if found is not None else self.eos

    def prompt_ids(self, prompt: str, room: int) -> list[int]:
        """At most `room` ids of a prompt; of a longer one the end is kept, where the question stands."""
        ids = content_ids(self.tokenizer, [self.prefix + prompt])[0]
        start = content_ids(self.tokenizer, [self.prefix])[0] if self.prefix else []
        if self.kind == "seq2seq":
            room -= 1 + len(start)
            rest = ids[len(start) :]
            return [*start, *rest[max(0, len(rest) - room) :], self.eos]
        head = list(template_of(self.tokenizer).head)
        return [*head, *ids[max(0, len(ids) - room + len(head)) :]]

    def answer_ids(self, answer: str, *, ends: bool = True) -> list[int]:
        """Ids of an answer; `ends`: with the end of the text."""
        text = answer if self.kind == "seq2seq" else f" {answer.strip()}"
        return [*content_ids(self.tokenizer, [text])[0], *([self.eos] if ends else [])]

    def fields(self, prompt: str, answer: str, *, ends: bool = True, longest_answer: int = 256) -> Fields:
        """Arrays of one example: input_ids, attention_mask, labels (NOT_SCORED where nothing is scored).

        Text to text: `labels` are the decoder's words. Decoder: prompt and answer in a row, the answer scored.
        """
        answered = self.answer_ids(answer, ends=ends)[:longest_answer]
        if self.kind == "seq2seq":
            ids, labels = self.prompt_ids(prompt, self.max_length), answered
        else:
            asked = self.prompt_ids(prompt, max(1, self.max_length - len(answered)))
            ids, labels = asked + answered, [NOT_SCORED] * len(asked) + answered
        made = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
        return {name: np.array(values, dtype=np.int64) for name, values in made.items()}

    def likelihoods(
        self,
        prompts: Sequence[str],
        answers: Sequence[Sequence[str]],
        *,
        per_token: bool = False,
        ends: bool = True,
        batch_texts: int = 32,
        batch_tokens: int = 8192,
    ) -> list[NDArray[np.float64]]:
        """Log-probability of each of a prompt's answers, all of its tokens together (or their mean).

        Args:
            per_token: the mean, so that long answers are not worse for being long (answers without training).
            ends: score the end of the text too.
        """
        rows = [(n, self.fields(p, a, ends=ends)) for n, p in enumerate(prompts) for a in answers[n]]
        sizes = [one["input_ids"].size + one["labels"].size for _, one in rows]
        scores = np.zeros(len(rows))
        self.model.eval()
        for batch in token_budget_batches(sizes, batch_tokens, batch_texts):
            tensors = self._padded([rows[place][1] for place in batch])
            with torch.inference_mode():
                logits = self.model(**tensors).logits
            found = token_log_likelihoods(logits, tensors["labels"], shifted=self.kind == "causal")
            counts = (tensors["labels"] != NOT_SCORED).sum(-1).clamp_min(1)
            total = found.sum(-1) / counts if per_token else found.sum(-1)
            scores[batch] = total.double().cpu().numpy()
        ends_at = np.cumsum([len(options) for options in answers])
        return [scores[end - len(options) : end] for end, options in zip(ends_at, answers, strict=True)]

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 64, batch_texts: int = 8) -> list[str]:
        """Greedy continuations, one prompt's length at a time where the family cannot take padding on the left."""
        made = []
        self.model.eval()
        size = batch_texts if self.kind == "seq2seq" else 1
        for start in range(0, len(prompts), size):
            seq2seq = self.kind == "seq2seq"
            room = self.max_length if seq2seq else max(self.max_length // 2, self.max_length - max_tokens)
            ids = [self.prompt_ids(prompt, room) for prompt in prompts[start : start + size]]
            tensors = self._padded(
                [{"input_ids": np.array(one), "attention_mask": np.ones(len(one), dtype=np.int64)} for one in ids]
            )
            fresh = max_tokens if seq2seq else min(max_tokens, max(1, self.max_length - len(ids[0])))
            with torch.inference_mode(), quiet_transformers():
                found = self.model.generate(  # type: ignore[operator]
                    **tensors, max_new_tokens=fresh, do_sample=False, num_beams=1, pad_token_id=self.pad,
                    eos_token_id=self.eos,
                )  # fmt: skip
            skip = 0 if seq2seq else tensors["input_ids"].shape[1]
            made += [self.tokenizer.decode(row[skip:].tolist(), skip_special_tokens=True).strip() for row in found]
        return made

    def weights_hash(self) -> str:
        """sha256 over the weights."""
        return hash_tensors(
            (name, STORED_NAMES[tensor.dtype], tuple(tensor.shape), tensor_bytes(tensor))
            for name, tensor in self.model.state_dict().items()
        )

    def _padded(self, rows: Sequence[Fields]) -> dict[str, Tensor]:
        fill = {"input_ids": self.pad, "attention_mask": 0, "labels": NOT_SCORED}
        made = {}
        for name in rows[0]:
            longest = max(len(row[name]) for row in rows)
            table = np.full((len(rows), longest), fill[name], dtype=np.int64)
            for place, row in enumerate(rows):
                table[place, : len(row[name])] = row[name]
            made[name] = torch.from_numpy(table).to(self.model.device)
        return made


def token_log_likelihoods(logits: Tensor, labels: Tensor, *, shifted: bool) -> Tensor:
    """Log-probability of each label, 0 where it is NOT_SCORED: (B, T, V), (B, T) -> (B, T), or (B, T - 1) if shifted.

    Args:
        shifted: the logits of a place are for the label of the next (decoders).
    """
    if shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    scored = labels != NOT_SCORED
    chances = torch.log_softmax(logits.float(), dim=-1)
    found = chances.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return found * scored


def load_text_model(
    model: str | Path, *, prefix: str = "", max_length: int = 512, trust_remote_code: bool = False
) -> TextModel:
    """A text-to-text model or decoder from a folder or hub id; a task model's own prefix and length are used.

    Raises:
        SlonikError: no such model, another family, broken files.
    """
    folder = resolve(model)
    config = read_config_json(folder)
    read_tensors(folder)
    family = str(config["model_type"])
    if family not in (*SEQ2SEQ, *CAUSAL):
        raise SlonikError(f"{model} ({family}) does not answer in words: give a T5 model or a decoder")
    seq2seq = family in SEQ2SEQ
    cls: Any = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    try:
        with quiet_transformers():
            made = cls.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise SlonikError(f"cannot load the model in {folder}: {' '.join(str(error).split())[:300]}") from None
    if (folder / "task.json").is_file():
        task = TaskConfig.read(folder)
        prefix, max_length = str(task.details.get("denoiser", prefix)), task.max_length
    positions = config.get("n_positions") or config.get("max_position_embeddings")
    if not seq2seq and positions:
        max_length = min(max_length, int(positions))
    passport = Passport.read(folder)
    if not (folder / "passport.json").exists():
        passport = Passport(name=str(model), origin=str(model))
    return TextModel(
        made.eval(), load_tokenizer(folder), "seq2seq" if seq2seq else "causal", read_special_names(folder), passport,
        str(model), max_length, prefix,
    )  # fmt: skip


def save_text_model(model: TextModel, folder: str | Path, task: TaskConfig | None, passport: Passport) -> Path:
    """Write the model as a checkpoint that plain libraries read, with `task.json` beside it, atomically.

    Raises:
        SlonikError: the folder is not empty, or the disk is full.
    """
    target = Path(folder)
    with new_folder(target) as unfinished, quiet_transformers():
        model.model.save_pretrained(unfinished)
        write_tokenizer(model.tokenizer, unfinished, names=model.names, max_length=model.max_length, types=False)
        if task is not None:
            task.write(unfinished)
        passport.write(unfinished)
    return target
