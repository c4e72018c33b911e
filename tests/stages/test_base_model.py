"""The weights to start from are the pinned ones."""

import shutil
from pathlib import Path

import pytest

from stages import params
from stages.base_model import locate
from stages.io import InputError
from stages.params import Model
from tests.conftest import ROOT


def test_the_default_model_comes_with_its_package() -> None:
    model = params.load(ROOT / "params.yaml").model
    assert (locate(model) / "model.safetensors").is_file()


def test_other_weights_than_the_pinned_are_refused(base_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base_model, tmp_path / "base"))
    with pytest.raises(InputError, match=r"model.sha256: .*model.safetensors has SHA-256"):
        locate(Model(name=str(folder), sha256="0" * 64, max_length=64))
    with pytest.raises(InputError, match=r"model\.sha256"):
        locate(Model(name=str(folder), max_length=64))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(base_model: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(base_model, tmp_path / "base"))
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"model.name: .* has no {name}"):
        locate(Model(name=str(folder), sha256="0" * 64, max_length=64))


def test_a_hub_name_needs_a_revision() -> None:
    with pytest.raises(InputError, match=r"model.revision: name the commit of some/model"):
        locate(Model(name="some/model", max_length=64))


def test_an_unreachable_hub_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"some/model is no folder.* cannot be fetched"):
        locate(Model(name="some/model", revision="0" * 40, max_length=64))
