"""Arithmetic that gives the same bits on every x86-64 CPU with AVX2.

Libraries choose their instructions, and with them the order of sums, by the CPU. If they are
restricted to the instructions that all these CPUs share, their results are equal (MKL developer
guide, "Obtaining Numerically Reproducible Results").
"""

import itertools
import os
import platform
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from common.errors import InputError

if TYPE_CHECKING:
    import torch

    from stages.params import Compute

# Each library reads its variable when it is loaded.
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch
    "MKL_CBWR": "COMPATIBLE",  # torch's BLAS; the only branch that AMD's CPUs have too
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy: all above AVX2
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy and SciPy
    # Torch's threads and those of `_multiply_by_numpy` take turns; waiting ones must not spin.
    "OMP_WAIT_POLICY": "passive",
}
SMALL = 10_000_000  # multiplications; below it, several threads are not faster than one


def restrict() -> None:
    """Restrict the libraries to AVX2; call this before any of them is imported.

    Raises RuntimeError if NumPy or torch is loaded already.
    """
    os.environ.pop("NPY_ENABLE_CPU_FEATURES", None)  # NumPy accepts only one of the two
    if platform.machine() != "x86_64" or ENVIRONMENT.items() <= os.environ.items():
        return  # the restriction exists for x86-64 only, or is set already
    if loaded := {"numpy", "torch"} & sys.modules.keys():
        raise RuntimeError(f"too late to choose instructions: {loaded} is loaded")
    os.environ.update(ENVIRONMENT)


def use_threads(compute: "Compute") -> None:
    """Let torch, NumPy and scikit-learn use `compute.threads`; set exact products if required.

    Raises InputError if `compute.exact` is true and this CPU or process cannot compute exactly.
    """
    from threadpoolctl import threadpool_limits

    # Another order of sums gives other results. For exact products, OpenBLAS has one thread, and
    # several threads call it.
    blas = 1 if compute.exact else compute.threads
    threadpool_limits({"openmp": compute.threads, "blas": blas})
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(compute.threads)
        if compute.exact and platform.machine() == "x86_64":
            is_restricted = torch.backends.cpu.get_cpu_capability() == "AVX2"
            if not is_restricted or not torch.cpu.get_capabilities()["avx2"]:
                raise InputError(
                    "compute.exact: needs a CPU with AVX2, and `python -m stages STAGE`, which "
                    "restricts libraries before they are loaded; set it to false elsewhere"
                )
            _multiply_by_numpy(compute.threads)


@cache
def _multiply_by_numpy(threads: int) -> "torch.library.Library":
    """Let NumPy's OpenBLAS multiply torch's matrices on the CPU.

    MKL's exact branch takes two to three times as long. OpenBLAS, restricted to one kind of core,
    is exact as well, because its kernels and blocks are then fixed. Its own threads spin while they
    wait, and other work on the machine delays them. So each thread of a pool multiplies its part of
    the rows, and sleeps while it waits.
    """
    import numpy as np
    import torch

    pool = ThreadPoolExecutor(threads)

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out = a.new_empty((*a.shape[:-1], b.shape[-1]))
        x, y, z = a.detach().numpy(), b.detach().numpy(), out.numpy()

        def part(rows: slice) -> None:
            np.matmul(x[rows], y[rows] if y.ndim == 3 else y, out=z[rows])

        if out.numel() * a.shape[-1] < SMALL:
            part(slice(None))
        else:
            edges = [len(x) * n // threads for n in range(threads + 1)]
            list(pool.map(part, itertools.starmap(slice, itertools.pairwise(edges))))
        return out

    def product_plus(
        c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1
    ) -> torch.Tensor:
        out = product(a, b)
        return (out if alpha == 1 else out.mul_(alpha)).add_(c, alpha=beta)

    # Torch has no types for it.
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    kernels = {"mm": product, "bmm": product, "addmm": product_plus, "baddbmm": product_plus}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that other kernels are replaced
        for name, kernel in kernels.items():
            library.impl(name, kernel, "CPU")  # type: ignore[no-untyped-call]
    return library
