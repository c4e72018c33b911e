"""Arithmetic that does not follow the kind of CPU."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from common.errors import InputError
from stages.params import Compute
from stages.shared import arithmetic
from tests.conftest import ROOT

COMPUTE = Compute(exact=True, threads=2)
# Of SUMS, with the libraries of constraints.txt, on every x86-64 CPU with AVX2.
SHA256 = "eb41e0eaa7dbb2f86802e8e7046bb2c4a3eb766a96451f205291771113279039"
# As a stage computes: products, functions of torch and NumPy, and a gradient.
SUMS = """
import hashlib
from stages.shared import arithmetic
arithmetic.restrict()
import numpy as np, torch
from stages.params import Compute
arithmetic.use_threads(Compute(exact=True, threads=2))
torch.manual_seed(0)
x = torch.randn(300, 500, requires_grad=True)
w = torch.randn(500, 700)
y = torch.nn.functional.gelu(x @ w).tanh().exp().log_softmax(-1)
y.square().mean().backward()
z = np.random.default_rng(0).normal(size=1000) ** 2
parts = [y.detach().numpy(), x.grad.numpy(), np.exp(z), np.log(z), np.log1p(z), z**1.5]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other kinds have sums of their own")
def test_the_sums_are_those_of_every_other_cpu() -> None:
    bare = {k: v for k, v in os.environ.items() if k not in arithmetic.ENVIRONMENT}
    output = subprocess.check_output([sys.executable, "-c", SUMS], cwd=ROOT, env=bare, text=True)
    assert output.strip() == SHA256


def test_arithmetic_is_chosen_before_libraries_are_loaded_and_on_x86_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    arithmetic.restrict()  # as it was: nothing to do
    for name in arithmetic.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="too late"):
        arithmetic.restrict()
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    arithmetic.restrict()
    arithmetic.use_threads(COMPUTE)
    assert not arithmetic.ENVIRONMENT.keys() & os.environ.keys()


@pytest.mark.parametrize(
    ("capability", "has"), [("AVX512", True), ("DEFAULT", True), ("AVX2", False)]
)
def test_a_cpu_without_avx2_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capability: str, has: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": has})
    with pytest.raises(InputError, match=r"compute.exact: needs a CPU with AVX2"):
        arithmetic.use_threads(COMPUTE)


@pytest.mark.parametrize("rows", [1, 3, 64, 501])
def test_products_are_products(rows: int) -> None:
    arithmetic.use_threads(COMPUTE)
    chance = np.random.default_rng(rows)
    drawn = (chance.integers(-9, 9, shape) for shape in ((rows, 40), (40, 90), (90,)))
    a, b, c = (torch.tensor(part, dtype=torch.float64) for part in drawn)  # exact, and not ours
    x, y, z = a.float(), b.float(), c.float()
    expected = (a.unsqueeze(-1) * b).sum(1)
    assert torch.equal((x @ y).double(), expected)
    assert torch.equal(torch.addmm(z, x, y, beta=2, alpha=3).double(), 2 * c + 3 * expected)
    turned = torch.stack([y.T, 2 * y.T]).transpose(1, 2)
    product = torch.stack([x, -x]) @ turned
    assert torch.equal(product.double(), torch.stack([expected, -2 * expected]))


def test_handing_out_rows_changes_no_more_than_the_last_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arithmetic.use_threads(COMPUTE)
    a, b = torch.randn(333, 384), torch.randn(384, 200)
    shared = a @ b
    assert torch.equal(a @ b, shared)
    monkeypatch.setattr(arithmetic, "SMALL", 1e12)
    torch.testing.assert_close(a @ b, shared, rtol=0, atol=1e-4)
