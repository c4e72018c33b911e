"""Linear layers and word vectors in int8."""

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
    sizes = {"hidden_size": 32, "intermediate_size": 64}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=200, **sizes, **layers, attn_implementation="eager")
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def texts() -> list[Ids]:
    chance = torch.Generator().manual_seed(1)
    drawn = [torch.randint(0, 200, (1, length), generator=chance) for length in (5, 9, 30, 17)]
    return [(ids, torch.ones_like(ids)) for ids in drawn]


@torch.no_grad()
def logits(model: torch.nn.Module, texts: list[Ids]) -> torch.Tensor:
    return torch.cat([model(input_ids=ids, attention_mask=mask).logits for ids, mask in texts])


def test_all_layers_are_integers_and_the_answers_stay_near(
    model: BertForSequenceClassification, texts: list[Ids]
) -> None:
    before = logits(model, texts)
    quantise(model, texts)
    assert 0 < (logits(model, texts) - before).abs().max() < 0.05 * before.abs().max()
    kinds = {type(module) for module in model.modules()}
    assert torch.nn.Linear not in kinds
    assert QuantisedEmbedding in kinds
    layers = [module for module in model.modules() if isinstance(module, QuantisedLinear)]
    assert len(layers) == 14
    for layer in layers:
        assert layer.weight.dtype == torch.int8
        assert layer.weight.abs().max() == WEIGHT_TOP
        assert 0 <= layer.scale.zero <= INPUT_TOP
    assert 2 * INPUT_TOP * WEIGHT_TOP < 2**15, "a sum of two products has 16 bits"
    attention = model.bert.encoder.layer[0].attention
    assert attention.self.query.scale is attention.self.key.scale is attention.self.value.scale
    assert attention.self.query.scale is not attention.output.dense.scale


def test_outliers_do_not_coarsen_the_rest(
    model: BertForSequenceClassification, texts: list[Ids]
) -> None:
    """A unit 200 times larger than the others, as trained networks have."""
    with torch.no_grad():
        model.bert.encoder.layer[0].attention.output.LayerNorm.weight[3] *= 200
        model.bert.encoder.layer[0].intermediate.dense.weight[:, 3] /= 200
    before = logits(model, texts)
    quantise(model, texts)
    factor = model.bert.encoder.layer[0].intermediate.dense.scale.factor
    assert factor[3] < 0.1 < factor[:3].min()
    assert (logits(model, texts) - before).abs().max() < 0.05 * before.abs().max()


def test_a_word_that_never_learnt_is_zero() -> None:
    embedding = torch.nn.Embedding(4, 8, padding_idx=0)
    vectors = QuantisedEmbedding(embedding)(torch.tensor([[0, 1, 3]]))
    assert vectors.dtype == torch.float32
    assert (vectors[0, 0] == 0).all()
    assert torch.allclose(vectors[0, 1:], embedding.weight[[1, 3]], atol=0.02)
