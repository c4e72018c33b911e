"""Folders and buckets."""

import pytest

from score.sink import sink
from tests.gcs import Cloud


def test_a_bucket_takes_a_file_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    cloud.client().create_bucket("archive")
    out = sink("gs://archive/scored")
    assert out.get("run.json") is None
    out.put("blocks/a.json", b"1")
    out.put("blocks/b.json", b"2")
    assert out.names("blocks") == {"a.json", "b.json"}
    assert out.get("blocks/a.json") == b"1"
