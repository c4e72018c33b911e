"""Reports skipped tests: locally with what to install for them, in CI as failures.

With CI=true a test may be skipped for a reason that is listed here with a place where it runs, and
for no other reason. A job for such tests sets NO_SKIPS=true: then every skip is a failure.
"""

import os
import re
from collections import Counter
from collections.abc import Generator
from typing import NamedTuple

import pytest


class Reason(NamedTuple):
    """Why tests may be skipped."""

    pattern: str
    remedy: str  # what to do in order to run them
    in_ci: str  # where CI runs them, or why it cannot; "" if CI must run them in every job


REASONS = (
    Reason(
        "apache_beam",
        "python -m tests.score.beam_environment makes their environment and runs them",
        "the job beam",
    ),
    Reason(
        r"(buildah|podman) is not installed|no local .*python:3\.11-slim",
        "install buildah and podman, and podman pull docker.io/library/python:3.11-slim",
        "the workflow images",
    ),
    Reason("gcloud is not installed", "https://cloud.google.com/sdk/docs/install", "the job test"),
    Reason("promtool is not installed", "apt-get install prometheus", ""),
    Reason("none of chromium", "apt-get install chromium", ""),
    Reason("only root", "run as root", "Cloud Build, as root"),
    Reason("taskset", "run on Linux", ""),
    Reason("[Oo]nly Linux", "run on Linux", ""),
    Reason("openvino", "run on x86-64", ""),
    Reason("other kinds", "run on x86-64", ""),
)


def reason_for(text: str) -> Reason | None:
    """Return the listed reason of a skip, or None."""
    return next((each for each in REASONS if re.search(each.pattern, text)), None)


def is_failure(text: str, environment: dict[str, str]) -> bool:
    """Say whether a skip fails the run in this environment."""
    if environment.get("NO_SKIPS"):
        return True
    reason = reason_for(text)
    return bool(environment.get("CI")) and not (reason and reason.in_ci)


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    details = report.longrepr
    return str(details[2] if isinstance(details, tuple) else details)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let an unexpected skip fail."""
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if report.skipped and not expected_failure and is_failure(_why(report), dict(os.environ)):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: {_why(report)}; CI must run it (tests/skips.py)"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how to run the skipped tests: a line for each kind of them."""
    texts = map(_why, terminalreporter.stats.get("skipped", []))
    for reason, count in Counter(reason_for(text) or text for text in texts).items():
        remedy = reason if isinstance(reason, str) else reason.remedy
        terminalreporter.write_line(f"{count} skipped: {remedy}", yellow=True)
