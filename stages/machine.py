"""The machine that a training ran on: for the record, and no part of the result."""

import os
import platform
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
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
