"""Cut models compute what gated models compute, are of stock class where they can be, and load again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from slonik.compression.gates import gated
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.surgery import apply, keep_tokens, masks
from slonik.core.errors import SlonikError
from slonik.models import slim
from slonik.models.checkpoint_files import TensorInfo
from slonik.models.describe import layer_sizes
from slonik.models.loading import load_transformer
from tests.compression.families import CUT, batch, some_plan, tiny


def _hidden(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs)[0] * inputs["attention_mask"][:, :, None]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("family", CUT)
def test_masked_model_equals_cut_model(family: str, hidden: bool) -> None:
    model = tiny(family)
    plan = some_plan(model, hidden=hidden)
    inputs = batch()
    with gated(model, masks(model, plan)):
        masked = _hidden(model, inputs)
    cut = _hidden(apply(model, plan), inputs)
    whole_output = _hidden(model, inputs)
    kept = masked if plan.hidden is None else masked[..., list(plan.hidden)]
    assert cut.shape == kept.shape
    assert torch.allclose(cut, kept, atol=1e-5)
    reference = whole_output if plan.hidden is None else whole_output[..., list(plan.hidden)]
    assert not torch.allclose(cut, reference, atol=1e-2)


@pytest.mark.parametrize("family", CUT)
def test_language_model_head_is_cut_along(family: str) -> None:
    model = tiny(family, head="mlm")
    plan = some_plan(model, hidden=True)
    inputs = batch()
    with gated(model, masks(model, plan)):
        masked = _hidden(model, inputs)
    assert torch.allclose(_hidden(apply(model, plan), inputs), masked, atol=1e-4)


@pytest.mark.parametrize("family", CUT)
def test_uneven_model_saves_and_loads_without_a_flag(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    cut = apply(model, some_plan(model))
    assert cut.config.model_type.startswith("slonik_")
    cut.save_pretrained(tmp_path)
    again = load_transformer(tmp_path)
    assert type(again) is type(cut)
    assert torch.allclose(_hidden(again, batch()), _hidden(cut, batch()), atol=1e-6)
    assert (tmp_path / "modeling_slonik.py").is_file()


@pytest.mark.parametrize("family", CUT)
@pytest.mark.parametrize("hidden", [False, True])
def test_even_model_is_the_stock_class(family: str, hidden: bool, tmp_path: Path) -> None:
    model = tiny(family)
    plan = some_plan(model, hidden=hidden, even=True)
    if hidden:
        three = {"heads": ((0, 1, 3), (1, 2, 3)), "hidden": tuple(range(3, 27))}
        plan = plan.model_copy(update=three)
    if not hidden:
        plan = plan.model_copy(update={"heads": tuple(tuple(range(4)) for _ in plan.layers)})
    cut = apply(model, plan)
    assert type(cut) is type(model)
    cut.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(_hidden(again, batch()), _hidden(cut, batch()), atol=1e-6)
    with gated(model, masks(model, plan)):
        masked = _hidden(model, batch())
    kept = masked if plan.hidden is None else masked[..., list(plan.hidden)]
    assert torch.allclose(_hidden(again, batch()), kept, atol=1e-5)


def test_modernbert_is_stock_with_its_first_layer_and_slim_without(tmp_path: Path) -> None:
    model = tiny("modernbert")
    plan = whole(model)
    with_first, without = apply(model, keep_layers(plan, [0, 2])), apply(model, keep_layers(plan, [1, 2]))
    assert type(with_first) is type(model)
    assert with_first.config.layer_types == [model.config.layer_types[0], model.config.layer_types[2]]
    assert without.config.model_type == "slonik_modernbert"
    without.save_pretrained(tmp_path)
    with gated(model, masks(model, keep_layers(plan, [1, 2]))):
        masked = _hidden(model, batch())
    assert torch.allclose(_hidden(load_transformer(tmp_path), batch()), masked, atol=1e-5)


def test_projection_that_would_vanish_is_refused() -> None:
    """Stock ELECTRA has no projection where embedding and hidden size agree, so the parent's would be lost."""
    model = tiny("electra")
    with pytest.raises(SlonikError, match="embeddings_project"):
        apply(model, some_plan(model, hidden=True, even=True))


def test_plans_compose() -> None:
    model = tiny("bert")
    first = some_plan(model, hidden=True)
    once = apply(model, first)
    second = some_plan_of_two(once)
    twice = apply(once, second)
    direct = apply(model, first.then(second))
    assert torch.allclose(_hidden(direct, batch()), _hidden(twice, batch()), atol=1e-6)


def some_plan_of_two(model: PreTrainedModel) -> Plan:
    plan = whole(model)
    return plan.model_copy(
        update={
            "heads": (plan.heads[0], plan.heads[1][1:]),
            "ffn": (plan.ffn[0][::2], plan.ffn[1][3:]),
            "hidden": tuple(range(0, 21, 2)),
        }
    )


@pytest.mark.parametrize("family", CUT)
def test_kept_tokens_give_the_same_states(family: str) -> None:
    model = tiny(family)
    kept = [0, 1, 2, 3, 4, *range(10, 60, 3)]
    cut = keep_tokens(model, kept)
    new = torch.tensor([[5, 8, 13, 20, 9], [7, 7, 6, 21, 10]])
    old = torch.tensor(kept)[new]
    with torch.no_grad():
        assert torch.allclose(cut(input_ids=new)[0], model(input_ids=old)[0], atol=1e-6)
    assert cut.config.vocab_size == len(kept)
    assert type(cut) is type(model)


def test_special_ids_follow_the_vocabulary() -> None:
    model = tiny("bert")
    cut = keep_tokens(model, [3, 2, 1, 30, 31])
    assert (cut.config.pad_token_id, cut.config.eos_token_id, cut.config.bos_token_id) == (2, 1, None)
    assert cut.get_input_embeddings().padding_idx == 2


def test_padding_cannot_move_where_positions_count_from_it() -> None:
    with pytest.raises(SlonikError, match="special tokens first"):
        keep_tokens(tiny("xlm-roberta"), [1, 0, 2, 3])
    with pytest.raises(SlonikError, match="padding token"):
        keep_tokens(tiny("bert"), [0, 2, 3])


def test_result_is_deterministic_and_leaves_parent_and_random_state_alone() -> None:
    model = tiny("deberta-v2")
    plan = some_plan(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    first, second = apply(model, plan), apply(model, plan)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_plan_for_other_weights_is_refused() -> None:
    plan = some_plan(tiny("bert", seed=1))
    with pytest.raises(SlonikError, match="other weights"):
        apply(tiny("bert"), plan)
    with pytest.raises(SlonikError, match="roberta"):
        apply(tiny("roberta"), plan)
    far = plan.model_copy(update={"layers": (0, 7)})
    with pytest.raises(SlonikError, match="layers 7"):
        apply(tiny("bert", seed=1), far)


def test_first_layer_of_a_deberta_with_convolution_stays() -> None:
    model = tiny("deberta-conv")
    with pytest.raises(SlonikError, match="keep layer 0"):
        apply(model, keep_layers(whole(model), [1, 2]))


def test_cutting_to_zero_is_an_error() -> None:
    model = tiny("bert")
    with pytest.raises(SlonikError, match="cut to zero"):
        keep_layers(whole(model), [])
    with pytest.raises(ValueError, match="no heads"):
        Plan.model_validate(whole(model).model_dump() | {"heads": ((), (0,), (1,))})


def test_only_looked_at_families_are_not_cut() -> None:
    from tests.tiny.models import model as tiny_model

    with pytest.raises(SlonikError, match="not cut"):
        apply(tiny_model("gpt2"), whole(tiny_model("gpt2")))


def test_missing_pooler_stays_missing() -> None:
    model: Any = tiny("bert")
    model.pooler = None
    assert apply(model, some_plan(model)).pooler is None


def test_sizes_are_readable_from_the_saved_config(tmp_path: Path) -> None:
    model = tiny("bert")
    cut = apply(model, some_plan(model))
    cut.save_pretrained(tmp_path)
    slim.register()
    config: Any = AutoConfig.from_pretrained(tmp_path)
    assert (config.heads_per_layer, config.ffn_per_layer, config.head_dim) == ([1, 3], [16, 29], 8)
    widths, ffn = layer_sizes({name: TensorInfo("F32", tuple(t.shape)) for name, t in cut.state_dict().items()})
    assert (widths, ffn) == ([8, 24], [16, 29])


def test_bfloat16_stays_bfloat16() -> None:
    model: Any = tiny("bert")
    model = model.to(torch.bfloat16)
    assert apply(model, some_plan(model)).dtype == torch.bfloat16
