"""Linear layers and word vectors in int8."""

import copy

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from stages.export.quantise import (
    INPUT_TOP,
    WEIGHT_TOP,
    Ids,
    QuantisedEmbedding,
    QuantisedLinear,
    quantise,
)


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        attn_implementation="eager",
    )
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def texts() -> list[Ids]:
    chance = torch.Generator().manual_seed(1)
    drawn = [torch.randint(0, 200, (1, length), generator=chance) for length in (5, 9, 30, 17)]
    return [(ids, torch.ones_like(ids)) for ids in drawn]


@torch.no_grad()
def logits(model: torch.nn.Module, texts: list[Ids]) -> torch.Tensor:
    return torch.cat([model(input_ids=ids, attention_mask=mask).logits for ids, mask in texts])


def test_the_answers_stay_near(model: BertForSequenceClassification, texts: list[Ids]) -> None:
    before = logits(model, texts)
    quantise(model, texts)
    after = logits(model, texts)
    assert 0 < (after - before).abs().max() < 0.05 * before.abs().max()
    kinds = {type(module) for module in model.modules()}
    assert torch.nn.Linear not in kinds
    assert {QuantisedLinear, QuantisedEmbedding} <= kinds


def test_integers_leave_room_for_a_sum_of_two_in_16_bits(
    model: BertForSequenceClassification, texts: list[Ids]
) -> None:
    assert 2 * INPUT_TOP * WEIGHT_TOP < 2**15
    quantise(model, texts)
    layers = [module for module in model.modules() if isinstance(module, QuantisedLinear)]
    assert len(layers) == 14
    for layer in layers:
        assert layer.weight.dtype == torch.int8
        assert layer.weight.abs().max() == WEIGHT_TOP
        assert 0 <= layer.scale.zero <= INPUT_TOP


def test_layers_with_one_input_share_its_scale(
    model: BertForSequenceClassification, texts: list[Ids]
) -> None:
    quantise(model, texts)
    attention = model.bert.encoder.layer[0].attention
    assert attention.self.query.scale is attention.self.key.scale is attention.self.value.scale
    assert attention.self.query.scale is not attention.output.dense.scale


def test_outliers_do_not_coarsen_the_rest(
    model: BertForSequenceClassification, texts: list[Ids]
) -> None:
    """A unit 200 times larger than the others, as trained networks have."""
    norm = model.bert.encoder.layer[0].attention.output.LayerNorm
    dense = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    assert isinstance(dense, torch.nn.Linear)
    with torch.no_grad():
        norm.weight[3] *= 200
        dense.weight[:, 3] /= 200
    plain = copy.deepcopy(dense)
    inputs: list[torch.Tensor] = []
    dense.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].flatten(0, -2)))
    logits(model, texts)
    rows = torch.cat(inputs)
    quantise(model, texts)
    quantised = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    assert isinstance(quantised, QuantisedLinear)
    assert quantised.scale.factor.argmin() == 3
    with torch.no_grad():
        error = (quantised(rows) - plain(rows)).abs().max()
        step = (rows.max() - rows.min()) / INPUT_TOP
        coarse = plain((rows / step).round() * step)
        assert error < 0.2 * (coarse - plain(rows)).abs().max()


def test_a_word_that_never_learnt_is_zero() -> None:
    embedding = torch.nn.Embedding(4, 8, padding_idx=0)
    vectors = QuantisedEmbedding(embedding)(torch.tensor([[0, 1, 3]]))
    assert vectors.dtype == torch.float32
    assert (vectors[0, 0] == 0).all()
    assert torch.allclose(vectors[0, 1:], embedding.weight[[1, 3]], atol=0.02)
