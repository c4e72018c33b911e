"""Describes the machine that a training ran on; models do not depend on it."""

import os
import platform
import re
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "accelerate", "onnx", "scikit-learn", "dvc")


def describe_machine(seconds: float) -> dict[str, Any]:
    """Return a description of this machine and its libraries, with the seconds of a training."""
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
    """Return the model name of the CPU, or its architecture if the name is unknown."""
    with suppress(OSError):  # only Linux has the file; on arm64 it has no model name
        if match := re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()):
            return match[1]
    return platform.processor() or platform.machine()
