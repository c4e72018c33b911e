"""Base models of other architectures, from their weights to an answer of each engine."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModel

from common.errors import InputError
from stages.params import Params
from stages.shared.base_model import locate, positions
from stages.train.network import make_network
from tests.conftest import Project
from tests.stages.architectures import check_architecture, make, pinned

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.mark.parametrize("name", ["deberta-v3", "ModernBERT"])  # the others: nightly
def test_an_architecture_comes_to_an_answer(name: str, pipeline: Project, tmp_path: Path) -> None:
    check_architecture(name, pipeline, tmp_path)


def test_more_tokens_than_positions_are_refused_at_once(p: Params, tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bertweet", ["some words"] * 9)
    assert locate(pinned(p, base, 128).model) == base
    with pytest.raises(InputError, match=r"max_length: 136, but .* has 128 positions; take 128 or"):
        locate(pinned(p, base, 136).model)
    assert positions({"model_type": "bert", "max_position_embeddings": 512}) == 512
    assert positions({"model_type": "t5"}) is None


def test_a_body_without_all_its_weights_is_refused(
    p: Params, base_model: Path, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(base_model, num_hidden_layers=3)
    AutoModel.from_pretrained(base_model).save_pretrained(tmp_path / "base")
    config.save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match=r"lacks 16 of the weights .*layer\.2\."):
        make_network(tmp_path / "base", p.train)
