"""Errors a person can act on."""

import pytest

from common.errors import InputError, run


def test_wrong_input_and_a_full_disk_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (InputError("row 3 is wrong"), OSError(28, "No space left on device", "a.csv")):

        def stage(error: Exception = error) -> None:
            raise error

        with pytest.raises(SystemExit) as ended:
            run(stage)
        assert str(ended.value.code).startswith("error: ")
        assert str(error) in str(ended.value.code)
