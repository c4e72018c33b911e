"""The number of CPUs that this process may use."""

import contextlib
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # on Linux only
# Files with the CPU time per period and the period, both in µs: of cgroups v2, of v1.
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def cpus() -> int:
    """Return how many CPUs this process may use: by its affinity and its container's CPU quota.

    With more threads, all of them would be stopped when the quota of a period is used up.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    visible = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for names in QUOTAS:
        with contextlib.suppress(OSError, ValueError):  # other cgroups version, or no quota
            text = " ".join((CGROUP / name).read_text() for name in names)
            quota, period = map(int, text.split())
            if quota > 0:
                return min(visible, math.ceil(quota / period))
    return visible
