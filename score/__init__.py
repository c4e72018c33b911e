"""Answers files of tweets, on one machine or on Beam."""

from common.commands import check_command

check_command("score", "score")
