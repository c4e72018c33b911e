"""params.yaml is read strictly."""

from pathlib import Path

import pytest

from common.errors import InputError
from stages import params
from tests.conftest import ROOT

SHIPPED = (ROOT / "params.yaml").read_text()


def load(tmp_path: Path, text: str) -> params.Params:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return params.load(path)


@pytest.mark.parametrize("number", ["2e-5", "2.0e-5", "0.00002"])
def test_every_spelling_of_a_number_is_one(tmp_path: Path, number: str) -> None:
    text = SHIPPED.replace("lr: 1.0e-4", f"lr: {number}")
    assert load(tmp_path, text).train.lr == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("lr: 1.0e-4", "lr: '5e-5'", "train.lr"),
        ("epochs: 2", "epochs: 3.5", "train.epochs"),
        ("epochs: 2", "epochs: true", "train.epochs"),
        ("epochs: 2", "epochs: 0", "train.epochs"),
        ("epochs: 2", "epoch: 3", "train.epoch:"),
        ("epochs: 2", "epoch: 3", "train.epochs: this key is missing"),
        ("precision: auto", "precision: int4", "train.precision"),
        ("exact: true", "exact: maybe", "compute.exact"),
        ("export:", "exports:", "exports"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in SHIPPED
    with pytest.raises(InputError, match=named):
        load(tmp_path, SHIPPED.replace(old, new))


@pytest.mark.parametrize("text", ["", "[1, 2]", "train: [", "just words"])
def test_a_file_that_is_no_params_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"params\.yaml"):
        load(tmp_path, text)
    with pytest.raises(InputError, match=r"none\.yaml: No such file"):
        params.load(tmp_path / "none.yaml")
