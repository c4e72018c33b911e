"""Arithmetic that comes out the same, to the bit, on every x86-64 CPU with AVX2.

Libraries choose their instructions by the CPU they find, and so the order in which they sum. Held
to those that all these CPUs have, they agree (Intel's own name for it is conditional numerical
reproducibility: MKL developer guide, "Obtaining Numerically Reproducible Results").
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
from stages.shared.params import Compute

if TYPE_CHECKING:
    import torch

# Each library reads its own as it is loaded.
HELD = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch
    "MKL_CBWR": "COMPATIBLE",  # torch's BLAS; the only branch that AMD's CPUs have too
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy: all above AVX2
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy and SciPy
}
# Torch's threads take turns with those that multiply: who waits must not keep the CPU busy.
PATIENT = {"OMP_WAIT_POLICY": "passive"}
SMALL = 10_000_000  # multiplications, below which handing them out takes what it saves, or more


def hold() -> None:
    """Hold the libraries to AVX2; to be called before any of them is imported."""
    held = HELD | PATIENT
    os.environ.pop("NPY_ENABLE_CPU_FEATURES", None)  # NumPy takes one of the two
    if platform.machine() != "x86_64" or held.items() <= os.environ.items():
        return  # other machines have one set of instructions each
    if loaded := {"numpy", "torch"} & sys.modules.keys():
        raise RuntimeError(f"too late to choose instructions: {loaded} is loaded")
    os.environ.update(held)


def use_threads(compute: Compute) -> None:
    """Give torch, NumPy and scikit-learn `compute.threads`; where exact, give torch exact products.

    Raises:
        InputError: `compute.exact` is asked of a CPU that cannot have it.

    """
    from threadpoolctl import threadpool_limits

    # Sums in another order are other results. OpenBLAS has no threads of its own where it is to
    # serve torch's.
    blas = 1 if compute.exact else compute.threads
    threadpool_limits({"openmp": compute.threads, "blas": blas})
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(compute.threads)
        if compute.exact and platform.machine() == "x86_64":
            held = torch.backends.cpu.get_cpu_capability() == "AVX2"
            if not held or not torch.cpu.get_capabilities()["avx2"]:
                raise InputError(
                    "compute.exact: needs a CPU with AVX2, and `python -m stages STAGE`, which "
                    "tells libraries so as they start; set it to false elsewhere"
                )
            _take_products(compute.threads)


@cache
def _take_products(threads: int) -> "torch.library.Library":
    """Let NumPy's OpenBLAS multiply torch's matrices on the CPU.

    The branch of MKL that is exact everywhere takes twice to three times as long. OpenBLAS, held
    to one kind of core, is exact as well: its kernels and blocks are fixed then. Its own threads
    spin where they wait, and other work on the machine stalls them; so each part of the rows is
    one thread's, and who waits sleeps.
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

    # torch has no types for it
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there were kernels before
        for name in ("mm", "bmm"):
            library.impl(name, product, "CPU")  # type: ignore[no-untyped-call]
        for name in ("addmm", "baddbmm"):
            library.impl(name, product_plus, "CPU")  # type: ignore[no-untyped-call]
    return library
