"""The pipeline's stages: prepare, distill, train, export, evaluate."""

from common.commands import check_command

check_command("stages", "stages")
