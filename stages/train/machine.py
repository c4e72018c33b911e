"""Describes the machine that a training ran on; this is no part of the result."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "accelerate", "onnx", "scikit-learn", "dvc")


def machine(seconds: float) -> dict[str, Any]:
    """Describe this machine and its libraries, and how long a training took."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "processor": ", ".join(gpus) or processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def processor() -> str:
    """Name the CPU."""
    with suppress(OSError):  # on Linux alone
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):  # not on arm64
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()
