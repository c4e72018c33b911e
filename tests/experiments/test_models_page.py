"""The lines of docs/models.md that make a base model's folder."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from common.hashing import sha256_of
from stages.params import Model
from stages.shared.base_model import FILES, locate
from tests.conftest import ROOT


def test_pickled_weights_become_a_base_model(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = Path(shutil.copytree(base_model, tmp_path / "pickled"))
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/models.md").read_text(), re.S)
    exec(code.replace("microsoft/deberta-v3-base", str(pickled)), {})  # noqa: S102 - our own page
    folder = tmp_path / "base-model"
    hashes = {part: sha256_of(folder / name) for part, name in FILES.items()}
    assert locate(Model(name=str(folder), sha256=hashes, max_length=64)) == folder  # type: ignore[arg-type]
    before, after = (load_file(path / "model.safetensors") for path in (base_model, folder))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    first, second = (Tokenizer.from_file(str(p / "tokenizer.json")) for p in (pickled, folder))
    assert first.encode("Flood in town").ids == second.encode("Flood in town").ids
