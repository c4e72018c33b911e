"""What may vary in a search."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from common.errors import InputError
from experiments.space import Distribution, read_space
from stages import params
from tests.conftest import ROOT

PARAMS = params.load(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("train.epochs=range(1,4)", CategoricalDistribution([1, 2, 3])),
        ("runtime.wandb=null,tweets", CategoricalDistribution([None, "tweets"])),
        ("train.precision=choice('fp32',auto)", CategoricalDistribution(["fp32", "auto"])),
        ("evaluate.minimum.f1=0.5,0.6,0.5", CategoricalDistribution([0.5, 0.6])),
        ("train.lr=tag(log,interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True)),
        ("train.epochs=interval(1,5)", IntDistribution(1, 5)),
    ],
)
def test_a_space_is_read_as_dvc_reads_it(override: str, distribution: Distribution) -> None:
    assert list(read_space([override], PARAMS).values()) == [distribution]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=1e-4,fast", r"train.lr=fast: train.lr: Input should be a valid number"),
        ("train.lr=interval(1e-4,2.5)", r"train.lr=2.5: train.lr: Input should be less than 1"),
        ("train.lr=interval(0.3,0.1)", r"train.lr=interval\(0.3,0.1\): `low <= high`"),
        ("train.momentum=0.1,0.2", r"train.momentum: no key of params.yaml"),
        ("train.lr=0.1,0.2 train.lr=0.3,0.4", r"train.lr: named twice"),
        ("train.lr=glob(*)", r"train.lr=glob\(\*\): "),
        ("train.lr=1e-4", r"train.lr=1e-4: write train.lr=1,2 or train.lr=interval\(1,2\)"),
        ("train.lr=1e-4,[", r"train.lr=1e-4,\["),
    ],
)
def test_an_override_that_is_no_space_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_space(override.split(), PARAMS)
