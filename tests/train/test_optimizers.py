"""Optimizers: row-wise AdamW against torch's, what is decayed, what is frozen, state that survives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slonik.core.errors import SlonikError
from slonik.models.fresh import FAMILIES, Shape, TokenIds, build
from slonik.train.adam_variants import Lamb, LazyRowAdamW
from slonik.train.optimizers import EmbeddingTables, Optimizers, hidden_matrices, layer_scales, learning_rate_ratio
from slonik.train.train_config import Schedule, TrainConfig
from tests.train import toy

ROWS = 5000


class _Bag(nn.Module):
    """A large embedding table and a linear layer on the mean of its rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(ROWS, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1))


def _steps(model: _Bag, optimizers: Optimizers, batches: list[Tensor]) -> None:
    for ids in batches:
        model(ids).square().mean().backward()
        optimizers.clip(1.0)
        optimizers.step()


def test_row_wise_adamw_equals_torchs_where_every_row_is_touched() -> None:
    lazy, dense = (nn.Embedding(6, 4, sparse=sparse) for sparse in (True, False))
    dense.load_state_dict(lazy.state_dict())
    ours = LazyRowAdamW(lazy.parameters(), 0.1, (0.8, 0.9))
    theirs = torch.optim.AdamW(dense.parameters(), 0.1, (0.8, 0.9), weight_decay=0.0)
    for step in range(5):
        ids = torch.tensor([0, 1, 2, 3, 4, 5, 3, 3, step])
        for table, optimizer in ((lazy, ours), (dense, theirs)):
            optimizer.zero_grad()
            table(ids).sin().square().sum().backward()
            optimizer.step()
    assert torch.allclose(lazy.weight, dense.weight, atol=1e-6)


def test_lazy_moves_only_the_rows_of_the_batch_and_a_rare_row_by_one_rate() -> None:
    model = _Bag()
    before = model.table.weight.detach().clone()
    optimizers = Optimizers({"model": model}, toy.config(learning_rate=0.01))
    optimizers.set_ratio(1.0)
    _steps(model, optimizers, [torch.tensor([[1, 2], [2, 3]])] * 20 + [torch.tensor([[7, 7]])])
    moved = (model.table.weight - before).abs()
    assert set(torch.nonzero(moved.sum(1)).flatten().tolist()) == {1, 2, 3, 7}
    assert torch.allclose(moved[7], torch.full((4,), 0.01), rtol=1e-3)


@pytest.mark.parametrize("embeddings", ["lazy", "dense"])
def test_clipping_gives_the_norm_over_all_gradients(embeddings: str) -> None:
    model, reference = _Bag(), _Bag()
    optimizers = Optimizers({"model": model}, toy.config(embeddings=embeddings))
    ids = torch.tensor([[1, 2], [2, 3], [2, 2]])
    for bag in (model, reference):
        (100 * bag(ids)).square().mean().backward()
    expected = nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
    assert float(optimizers.clip(0.5)) == pytest.approx(float(expected), rel=1e-5)
    ours = model.table.weight.grad
    assert ours is not None and reference.table.weight.grad is not None
    assert torch.allclose(ours.to_dense(), reference.table.weight.grad, rtol=1e-4)


def test_frozen_embeddings_stay_and_the_rest_moves() -> None:
    model = _Bag()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizers = Optimizers({"model": model}, toy.config(embeddings="frozen"))
    _steps(model, optimizers, [torch.tensor([[1, 2], [2, 3]])] * 3)
    assert torch.equal(model.table.weight, before["table.weight"])
    assert not torch.equal(model.head.weight, before["head.weight"])


def test_a_tied_table_is_updated_densely() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(ROWS, 4), "head": nn.Linear(4, ROWS, bias=False)})
    model["head"].weight = model["table"].weight
    Optimizers({"model": model}, toy.config(embeddings="lazy"))
    assert not model["table"].sparse


def test_decay_spares_biases_and_lazy_tables() -> None:
    model = _Bag()
    optimizers = Optimizers({"model": model}, toy.config(weight_decay=0.5, learning_rate=0.1, embeddings="lazy"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in model.head.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.set_ratio(1.0)
    optimizers.step()
    assert torch.allclose(model.head.weight, before["head.weight"] * 0.95)
    assert torch.equal(model.head.bias, before["head.bias"])
    assert torch.equal(model.table.weight, before["table.weight"])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_decay_spares_embeddings_norms_and_positions_of_every_family(family: str) -> None:
    shape = Shape(family=family, layers=2, hidden=32, heads=4, ffn=48, max_length=64)  # type: ignore[arg-type]
    model = build(shape, TokenIds(300, pad=0, bos=1, eos=2, cls=1, sep=2))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizers = Optimizers({"model": model}, toy.config(weight_decay=0.5, learning_rate=0.1, embeddings="dense"))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.set_ratio(1.0)
    optimizers.step()
    decayed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    matrices = {name for name, tensor in before.items() if tensor.dim() == 2 and bool(tensor.any())}
    left = sorted(matrices - decayed)
    assert decayed <= matrices and left
    told = ("embed", "shared", "wte", "wpe", "relative_attention_bias", "rel_ebd")
    assert all(any(part in name for part in told) for name in left)
    assert not any(any(part in name for part in told) for name in decayed)
    if model.config.tie_word_embeddings:  # the head is the table of the words
        assert not any(name.endswith(("decoder.weight", "lm_head.weight")) for name in decayed)


def test_state_goes_through_plain_tensors() -> None:
    batches = [torch.tensor([[1, 2], [2, 3]]), torch.tensor([[4, 5], [1, 1]])]
    whole = _Bag()
    _steps(whole, Optimizers({"model": whole}, toy.config()), batches * 2)
    first = _Bag()
    optimizers = Optimizers({"model": first}, toy.config())
    _steps(first, optimizers, batches)
    second = _Bag()
    second.load_state_dict(first.state_dict())
    continued = Optimizers({"model": second}, toy.config())
    continued.load_tensors({name: tensor.clone() for name, tensor in optimizers.tensors().items()})
    _steps(second, continued, batches)
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(SlonikError, match="every parameter is frozen"):
        Optimizers({"model": _Bag().requires_grad_(False)}, toy.config())


@pytest.mark.parametrize("embeddings", ["lazy", "frozen"])
def test_tables_are_left_as_they_were_found(embeddings: str) -> None:
    model = _Bag()
    tables = EmbeddingTables({"model": model}, toy.config(embeddings=embeddings))
    assert model.table.sparse or not model.table.weight.requires_grad
    tables.release()
    assert not model.table.sparse and model.table.weight.requires_grad


def test_lamb_is_adam_rescaled_to_the_length_of_the_matrix() -> None:
    torch.manual_seed(0)
    matrix, bias = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))
    start, rate, decay = matrix.detach().clone(), 0.01, 0.1
    ours = Lamb([{"params": [matrix], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}], rate, eps=1e-6)
    plain = nn.Parameter(bias.detach().clone())
    adam = torch.optim.AdamW([plain], rate, eps=1e-6, weight_decay=0.0)
    gradient = torch.randn(3, 4)
    matrix.grad, bias.grad, plain.grad = gradient.clone(), torch.randn(4), None
    plain.grad = bias.grad.clone()
    ours.step()
    adam.step()
    # At the first step the corrected moments are g and g^2: the update is sign(g) but for epsilon.
    update = gradient / (gradient.abs() + 1e-6) + decay * start
    assert torch.allclose(matrix, start - rate * start.norm() / update.norm() * update, atol=1e-6)
    assert torch.allclose(bias, plain, atol=1e-6)


def test_lamb_moves_a_zero_matrix_like_adam() -> None:
    matrix = nn.Parameter(torch.zeros(2, 2))
    matrix.grad = torch.ones(2, 2)
    Lamb([matrix], 0.1).step()
    assert torch.allclose(matrix, torch.full((2, 2), -0.1), atol=1e-4)


def test_adafactor_agrees_with_the_one_of_transformers_at_a_constant_rate() -> None:
    from transformers import Adafactor

    ours, theirs = nn.Linear(6, 5), nn.Linear(6, 5)
    theirs.load_state_dict(ours.state_dict())
    config = toy.config(optimizer="adafactor", learning_rate=1e-3, weight_decay=0.0)
    optimizers = Optimizers({"model": ours}, config)
    reference = Adafactor(
        theirs.parameters(), lr=1e-3, relative_step=False, warmup_init=False, scale_parameter=True, eps=(1e-30, 1e-3)
    )
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(inputs).square().mean().backward()
        optimizers.step()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_adafactor_has_the_numbers_of_the_one_of_torch() -> None:
    from slonik.train.adam_variants import Adafactor

    draw = torch.Generator().manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(4, 6) * 3), nn.Parameter(torch.zeros(5))] for _ in range(2))
    fields: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "d": 1.1}
    pair = (Adafactor(ours, **fields), torch.optim.Adafactor(theirs, **fields))
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        for optimizer in pair:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
        for name, value in pair[1].state[other].items():
            torch.testing.assert_close(pair[0].state[one][name], value, atol=1e-6, rtol=1e-5)


def test_muon_takes_the_matrices_of_layers_and_nothing_else() -> None:
    model = toy.student()
    muon = hidden_matrices({"model": model})
    names = {name for name, parameter in model.named_parameters() if id(parameter) in muon}
    assert names and all(name.endswith(".weight") and "LayerNorm" not in name for name in names)
    assert not any("embeddings" in name for name in names)
    assert {name.split(".")[-2] for name in names} >= {"query", "key", "value", "dense"}


def test_layer_decay_lowers_the_rate_towards_the_embeddings() -> None:
    names = ["encoder.layer.0.q.weight", "encoder.layer.1.q.weight", "embeddings.word.weight", "pooler.dense.weight"]
    scales = layer_scales(names, 0.5)
    assert [scales[name] for name in names] == [0.25, 0.5, 0.125, 1.0]
    model = toy.student(vocab_size=5000)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizers = Optimizers({"model": model}, toy.config(layer_decay=0.5, weight_decay=0.0, epsilon=1e-12))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for part in model.modules():
        if isinstance(part, nn.Embedding) and part.sparse:
            part.weight.grad = torch.ones_like(part.weight).to_sparse(1)
    optimizers.set_ratio(1.0)
    optimizers.step()
    expected = layer_scales(before, 0.5)
    for name, parameter in model.named_parameters():
        moved = float((before[name] - parameter).detach().mean())
        assert moved == pytest.approx(1e-3 * expected[name], rel=1e-2), name


@pytest.mark.parametrize(
    ("progress", "schedule", "expected"),
    [
        (0.0, "cosine", 0.0),
        (0.05, "cosine", 0.5),
        (0.1, "cosine", 1.0),
        (0.55, "cosine", 0.6),
        (1.0, "cosine", 0.2),
        (0.325, "linear", 0.8),
        (1.0, "linear", 0.2),
        (0.05, "constant", 0.5),
        (0.9, "constant", 1.0),
        (0.05, "wsd", 0.5),
        (0.79, "wsd", 1.0),
        (0.85, "wsd", 0.6),  # a quarter of the fall: its root is a half
        (1.0, "wsd", 0.2),
        (0.05, "inverse_sqrt", 0.5),
        (0.1, "inverse_sqrt", 1.0),
        (0.4, "inverse_sqrt", 0.5),
    ],
)
def test_learning_rates_are_the_values_by_hand(progress: float, schedule: Schedule, expected: float) -> None:
    assert learning_rate_ratio(progress, schedule, warmup=0.1, final=0.2) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"decay_ratio": 0.1}, "decay_ratio is for schedule wsd, not for cosine"),
        ({"schedule": "wsd", "decay_ratio": 0.95}, "warm-up and decay together are 1.01 of the run"),
        ({"schedule": "inverse_sqrt", "warmup_ratio": 0.0}, "counted from its warm-up"),
        ({"schedule": "constant", "final_ratio": 0.1}, "final_ratio is for schedules that fall to an end"),
        ({"warmup_steps": 100}, "has to be below max_steps"),
        ({"warmup_steps": 5, "warmup_ratio": 0.1}, "not both"),
    ],
)
def test_settings_of_a_schedule_that_do_nothing_are_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TrainConfig.model_validate({"max_steps": 100, **fields})


def test_a_warm_up_in_steps_is_one_in_shares() -> None:
    config = TrainConfig(max_steps=200, warmup_steps=20)
    assert config.warmup == 0.1 and config.identity() != TrainConfig(max_steps=200).identity()
    assert "warmup_steps" not in TrainConfig(max_steps=200).identity()  # runs begun before there was the field go on


def test_the_learning_rate_never_rises_after_the_warm_up() -> None:
    rates = [learning_rate_ratio(step / 100, "cosine", 0.06, 0.0) for step in range(101)]
    assert rates[:7] == sorted(rates[:7]) and rates[6:] == sorted(rates[6:], reverse=True)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate_ratio(0.0, "linear", 0.0, 0.0) == 1.0
