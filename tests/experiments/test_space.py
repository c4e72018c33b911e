"""What may vary in a search."""

import optuna
import pytest

from common.errors import InputError
from experiments.space import combinations, read_space
from stages import params
from stages.params import Params
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def p() -> Params:
    return params.load(ROOT / "params.yaml")


def test_a_space_is_read_as_dvc_reads_it(p: Params) -> None:
    space = read_space(
        [
            "train.epochs=range(1,4)",
            "train.freeze_embeddings=true,false",
            "train.precision=choice('fp32',auto)",
            "runtime.wandb=null,tweets",
            "evaluate.minimum.f1=0.5,0.6,0.5",
        ],
        p,
    )
    assert combinations(space)[0] == {
        "train.epochs": 1,
        "train.freeze_embeddings": True,
        "train.precision": "fp32",
        "runtime.wandb": None,
        "evaluate.minimum.f1": 0.5,
    }
    assert len(combinations(space)) == 3 * 2 * 2 * 2 * 2
    of = read_space(["train.lr=tag(log,interval(1e-5,1e-3))"], p)["train.lr"]
    assert of == optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True)
    of = read_space(["train.epochs=interval(1,5)"], p)["train.epochs"]
    assert of == optuna.distributions.IntDistribution(1, 5)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.lr=1e-4,fast", r"train.lr=fast: train.lr: Input should be a valid number"),
        ("train.lr=interval(1e-4,2.5)", r"train.lr=2.5: train.lr: Input should be less than 1"),
        ("train.lr=interval(0.3,0.1)", r"train.lr=interval\(0.3,0.1\): `low <= high`"),
        ("train.weight_decay=tag(log,interval(0,0.1))", r"weight_decay=tag.*low > 0"),
        ("train.momentum=0.1,0.2", r"train.momentum: no key of params.yaml"),
        ("nowhere=1,2", r"nowhere: no key"),
        ("train.lr=0.1,0.2 train.lr=0.3,0.4", r"train.lr: named twice"),
        ("train.lr=glob(*)", r"train.lr=glob\(\*\): "),
        ("train.lr=1e-4", r"train.lr=1e-4: write train.lr=1,2 or train.lr=interval\(1,2\)"),
        ("train.lr=1e-4,[", r"train.lr=1e-4,\["),
    ],
)
def test_what_is_no_space_is_named(p: Params, override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_space(override.split(), p)


def test_an_interval_has_no_combinations(p: Params) -> None:
    with pytest.raises(InputError, match=r"train.lr may be anything in between: .*--trials"):
        combinations(read_space(["train.lr=interval(1e-4,1e-3)"], p))
