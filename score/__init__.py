"""Classifies files of tweets, on one machine or on Apache Beam."""

from common.commands import check_command

check_command("score", "score")
