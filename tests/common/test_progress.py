"""Progress bars: one line rewritten on a terminal, lines in a log, one process's only."""

import io
import time

import pytest

from common import progress
from common.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.05)
    log, began = io.StringIO(), time.monotonic()
    with Progress(total=40, desc="train", file=log) as bar:
        for _ in range(40):
            time.sleep(0.005)
            bar.update()
    assert "\r" not in log.getvalue()
    lines = [line for line in log.getvalue().split("\n") if line]
    assert 2 <= len(lines) <= 3 + (time.monotonic() - began) / 0.05
    assert lines[0].startswith("train:   0%")
    assert "40/40" in lines[-1]


def test_a_terminal_gets_one_line_of_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with Progress(total=3, file=terminal) as bar:
            bar.update(3)
    assert terminal.getvalue().count("\n") == 1
    assert "\r" in terminal.getvalue()
