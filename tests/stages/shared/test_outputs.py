"""Tables between stages: read whole, or named."""

from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from stages.shared.outputs import read_tweets


@pytest.mark.parametrize("content", [b"", b"\0" * 400, None])
def test_a_damaged_or_empty_table_is_named(tmp_path: Path, content: bytes | None) -> None:
    with pytest.raises(InputError, match=r"nowhere.parquet: cannot be used: no such file"):
        read_tweets(tmp_path / "nowhere.parquet")
    path = tmp_path / "train.parquet"
    pd.DataFrame({"text": []}).to_parquet(path)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"train.parquet: cannot be used: .*docs/experiments"):
        read_tweets(path)
