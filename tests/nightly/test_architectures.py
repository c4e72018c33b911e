"""Base models of all architectures, from their weights to an answer of each engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from tests.conftest import Project
from tests.stages.architectures import KINDS, check_architecture


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its state for the life of a process; each test has its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", KINDS)
def test_an_architecture_comes_to_an_answer(name: str, pipeline: Project, tmp_path: Path) -> None:
    check_architecture(name, pipeline, tmp_path)
