"""The locked model: what it is, where it comes from, and what it answers."""

import sys

from common.commands import check_command

# Without it, OpenVINO sends nothing to its makers: it would at each import, unasked.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # as Python allows
check_command("locked")
