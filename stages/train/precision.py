"""The precision of the training: fp32, bf16 or fp16."""

from collections.abc import Mapping
from typing import Any

import torch

from common.errors import InputError


def precision(wanted: str, exact: bool, config: Mapping[str, Any]) -> str:
    """Name the fastest precision that hardware and base model allow, unless one is asked for.

    Raises:
        InputError: the precision asked for is not to be had here.

    """
    if wanted == "auto":
        if torch.cuda.is_available():
            # DeBERTa's attention overflows in fp16.
            half = "fp32" if "deberta" in config.get("model_type", "") else "fp16"
            wanted = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else half
        else:
            capabilities = torch.cpu.get_capabilities()
            fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
            wanted = "bf16" if fast and not exact else "fp32"
    elif wanted == "fp16" and not torch.cuda.is_available():
        raise InputError("train.precision: fp16 needs a GPU; on a CPU take bf16 or fp32")
    elif wanted == "bf16" and exact and not torch.cuda.is_available():
        raise InputError(
            "train.precision: bf16 differs between kinds of CPU; take fp32, or compute.exact: false"
        )
    return "no" if wanted == "fp32" else wanted
