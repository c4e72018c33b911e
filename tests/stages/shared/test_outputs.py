"""Tables between stages: read whole, or named."""

from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from stages.shared.outputs import read_tweets


def test_rows_are_read(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "train.parquet")
    assert read_tweets(tmp_path / "train.parquet").to_dict("list") == {"text": ["a"]}


@pytest.mark.parametrize("content", [b"", b"\0" * 400, None])
def test_a_damaged_or_empty_table_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "train.parquet"
    if content is None:
        pd.DataFrame({"text": []}).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"train.parquet: cannot be used: .* repeat `dvc repro`"):
        read_tweets(path)
