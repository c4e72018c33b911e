"""The model to start from is the pinned one."""

import shutil
from pathlib import Path

import pytest

from common.errors import InputError
from common.hashing import sha256_of
from stages import params
from stages.params import Model, Pins
from stages.shared.base_model import FILES, locate
from tests.conftest import ROOT


def test_the_default_model_comes_with_its_package() -> None:
    model = params.load(ROOT / "params.yaml").model
    assert (locate(model) / "model.safetensors").is_file()


def test_another_revision_of_the_default_model_comes_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = params.load(ROOT / "params.yaml").model
    with pytest.raises(InputError, match=r"at revision 0{40} cannot be fetched"):
        locate(model.model_copy(update={"revision": "0" * 40}))


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
    found = sha256_of(folder / FILES[part])
    with pytest.raises(InputError) as error:
        locate(pinned)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"model.sha256.{part}: {folder / FILES[part]} has SHA-256 {found}; ")


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


def test_an_unreachable_hub_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"some/model is no folder.* cannot be fetched"):
        locate(Model(name="some/model", revision="0" * 40, max_length=64))
