"""Base models of other architectures, from their weights to an answer of each engine."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModel

from common.errors import InputError
from stages.params import Params
from stages.shared.base_model import configuration, locate, positions
from tests.conftest import Project
from tests.stages.architectures import check_architecture, make, pinned

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.mark.parametrize("name", ["albert", "deberta-v3", "ModernBERT"])  # the others: nightly
def test_an_architecture_comes_to_an_answer(name: str, pipeline: Project, tmp_path: Path) -> None:
    check_architecture(name, pipeline, tmp_path)


def test_more_tokens_than_positions_are_refused_at_once(p: Params, tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bertweet", ["some words"] * 9)
    assert locate(pinned(p, base, 128).model) == base
    with pytest.raises(InputError, match=r"max_length: 136, but .* has 128 positions; take 128 or"):
        locate(pinned(p, base, 136).model)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5"}, None),
    ],
)
def test_positions(config: dict[str, Any], expected: int | None) -> None:
    assert positions(config) == expected


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        configuration(tmp_path)


def test_a_body_without_all_its_weights_is_refused(
    p: Params, base_model: Path, tmp_path: Path
) -> None:
    from stages.train.trainer import Trainer

    config = AutoConfig.from_pretrained(base_model, num_hidden_layers=3)
    AutoModel.from_pretrained(base_model).save_pretrained(tmp_path / "base")
    config.save_pretrained(tmp_path / "base")
    recipe = p.train.model_copy(update={"precision": "fp32"})
    with pytest.raises(InputError, match=r"lacks 16 of the weights .*layer\.2\."):
        Trainer(tmp_path / "base", 10, recipe, p.compute)
