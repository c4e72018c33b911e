"""Errors a person can act on."""

import pytest

from common.errors import InputError
from tests.conftest import exit_status


@pytest.mark.parametrize("error", [InputError("row 3"), OSError(28, "No space left", "a.csv")])
def test_wrong_input_and_a_full_disk_end_in_one_line(error: Exception) -> None:
    def stage() -> None:
        raise error

    assert exit_status(stage) == (1, f"error: {error}")
