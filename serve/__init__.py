"""The HTTP service: answers from a locked model, and from nothing else."""

import sys

# Without it, OpenVINO sends nothing to its makers: it would at each import, unasked.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
