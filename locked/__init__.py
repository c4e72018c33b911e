"""The locked model: its manifest, its store and the classifier."""

import sys

from common.commands import check_command

# OpenVINO would otherwise send usage data to its makers at each import.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # disables its import
check_command("locked")
