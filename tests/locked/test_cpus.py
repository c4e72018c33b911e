"""The CPUs that count, on every platform."""

import os
import shutil
from pathlib import Path

import pytest

from locked.cpus import cpus


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu").mkdir()
    monkeypatch.setattr("locked.cpus.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")  # of version 1
    for quota, expected in (("-1", 8), ("200000", 2)):
        (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
        assert cpus() == expected
    for quota, expected in (("150000", 2), ("6400000", 8)):  # of version 2
        (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
        assert cpus() == expected
    shutil.rmtree(tmp_path / "cpu")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpus() == 8


def test_a_platform_without_affinities_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr("locked.cpus.CGROUP", Path("nowhere"))
    for count, expected in ((10, 10), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cpus() == expected
