"""An encoder with a head for one task, as a module to train and as a folder on disk.

The folder is an ordinary encoder checkpoint, which `slonik.load` and `AutoModel` still read, plus `task.json` and
`head.safetensors`. Turning texts into token fields is `slonik.text.pairs`' business, losses are in
`slonik.train.objectives`.

Shapes: B examples, R inputs of one example (two texts apart, or candidates), T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_bytes
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.loading import load, save
from slonik.models.state import state_hash
from slonik.text.task_config import TaskConfig

HEAD_FILE = "head.safetensors"


class TokenMasking:
    """Hides a random share of the tokens of training inputs: a small task then cannot be learned by heart.

    The regulariser of a task model that is trained for many passes on few texts; nothing is predicted at the hidden
    places. Torch's own random state decides, which the training loop keeps in its checkpoints.

    Source: Iyyer et al. 2015, section 3.1 (word dropout), with the mask token in place of nothing.

    Args:
        share: of the tokens, 0 to 1.
        mask: id of the mask token.
        special: (V,) True for ids that are never hidden; V ids.
    """

    def __init__(self, share: float, mask: int, special: Tensor) -> None:
        self.share = share
        self.mask = mask
        self.special = special

    def __call__(self, ids: Tensor) -> Tensor:
        """(..., T) ids, some of them hidden; another draw at each call."""
        hidden = torch.rand(ids.shape, device=ids.device) < self.share
        return torch.where(hidden & ~self.special.to(ids.device)[ids], self.mask, ids)


class TaskModel(nn.Module):
    """An encoder and a head.

    Args:
        encoder: its transformer becomes a submodule and is trained along.
        head: takes (hidden, batch), see `slonik.models.heads`.
        config: what the outputs mean.

    Attributes:
        masking: hides tokens of training inputs, while it is set.
    """

    masking: TokenMasking | None = None

    def __init__(self, encoder: TorchEncoder, head: nn.Module, config: TaskConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.transformer = encoder.model
        self.head = head
        self.config = config
        self._takes_types = int(getattr(encoder.model.config, "type_vocab_size", 0) or 0) > 1

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def max_length(self) -> int:
        """The most tokens of one input: what the task was trained with, within the positions that there are."""
        return min(self.config.max_length, self.encoder.max_length)

    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Last hidden states of `input_ids` (B, T) or (B, R, T): (B, T, D) or (B, R, T, D).

        A field `hidden` of that shape stands for them: states of a frozen encoder that were computed before.
        """
        if "hidden" in batch:
            return batch["hidden"]
        ids = batch["input_ids"]
        if self.training and self.masking is not None:
            ids = self.masking(ids)
        flat = {"input_ids": ids.flatten(0, -2), "attention_mask": batch["attention_mask"].flatten(0, -2)}
        if self._takes_types and "token_type_ids" in batch:
            flat["token_type_ids"] = batch["token_type_ids"].flatten(0, -2)
        if getattr(self.head, "reads_all_layers", False):
            return torch.stack(self.transformer(**flat, output_hidden_states=True).hidden_states)
        states: Tensor = self.transformer(**flat).last_hidden_state
        return states.reshape(*ids.shape, states.shape[-1])

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Outputs of the head for a batch of fields; their shape is the head's."""
        outputs: Tensor = self.head(self.hidden(batch), batch)
        return outputs

    def weights_hash(self) -> str:
        return sha256_json([self.encoder.weights_hash(), state_hash(self.head)])

    def identity(self) -> str:
        """sha256 of everything that decides the outputs: the encoder's identity, the head's weights, the task."""
        return sha256_json([self.encoder.identity(), state_hash(self.head), self.config.model_dump(mode="json")])


def new_task_model(encoder: TorchEncoder, config: TaskConfig, *, seed: int = 0) -> TaskModel:
    """A task model with a fresh head; equal for equal seeds, the caller's random state left as it was.

    Raises:
        SlonikError: unknown kind of head, or options that it does not have.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(encoder.dimension, config)
    return TaskModel(encoder, head.to(encoder.device), config)


def save_task_model(
    model: TaskModel,
    folder: str | Path,
    passport: Passport | None = None,
    *,
    overwrite: bool = False,
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Write the whole task model, atomically.

    Args:
        beside: further files of the folder, name -> content.

    Raises:
        SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
    """
    target = Path(folder)
    with new_folder(target, overwrite=overwrite) as unfinished:
        save(model.encoder, unfinished, passport)
        head = {name: tensor.detach().cpu().contiguous() for name, tensor in model.head.state_dict().items()}
        save_file(head, unfinished / HEAD_FILE)
        model.config.write(unfinished)
        for name, content in (beside or {}).items():
            write_bytes(unfinished / name, content)
    return target


def load_task_model(folder: str | Path, *, device: str | None = None, trust_remote_code: bool = False) -> TaskModel:
    """The task model in `folder`, in eval mode.

    Raises:
        SlonikError: it is no task model, or head and encoder do not belong together.
    """
    config = TaskConfig.read(folder)
    encoder = load(folder, device=device, trust_remote_code=trust_remote_code)
    model = new_task_model(encoder, config)
    path = Path(folder) / HEAD_FILE
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise SlonikError(f"{path} is missing: save the task model again, or copy the whole folder") from None
    except (SafetensorError, OSError) as error:
        raise SlonikError(f"{path} is damaged ({error}): copy the task model again") from None
    own = model.head.state_dict()
    wrong = [name for name in {*own, *tensors} if name not in own or name not in tensors]
    wrong += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if wrong:
        raise SlonikError(
            f"{path} does not fit task.json (first difference: {sorted(wrong)[0]}): copy the folder whole"
        )
    model.head.load_state_dict(tensors)
    return model.eval()
