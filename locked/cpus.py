"""How many CPUs this process may use."""

import contextlib
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # on Linux alone
# Microseconds of CPU time a period, and the period: in version 2 and in version 1 of cgroups.
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def cpus() -> int:
    """Return how many CPUs this process may use, of a container those it is allowed.

    More threads than that would wait for each other, until the next period gives time again.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on a Mac
    visible = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for names in QUOTAS:
        with contextlib.suppress(OSError, ValueError):  # another version, or no limit
            text = " ".join((CGROUP / name).read_text() for name in names)
            quota, period = map(int, text.split())
            if quota > 0:
                return min(visible, math.ceil(quota / period))
    return visible
