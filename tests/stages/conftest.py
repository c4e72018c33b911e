"""What the tests of several stages need."""

from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState

from stages import params
from stages.params import Params
from tests.conftest import Project


@pytest.fixture(scope="session")
def p(pipeline: Project) -> Params:
    return params.load(pipeline.folder / "params.yaml")


@pytest.fixture
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its state for the life of a process; each test has its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
