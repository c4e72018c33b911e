"""Folders and buckets."""

from collections.abc import Callable

import pytest

from common.errors import InputError
from score.sink import Sink, sink
from tests.gcs import Cloud


@pytest.fixture
def bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Sink:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    cloud.client().create_bucket("archive")
    return sink("gs://archive/scored")


def test_a_bucket_keeps_files(bucket: Sink) -> None:
    assert bucket.get("run.json") is None
    bucket.put("blocks/a.json", b"1")
    bucket.put("blocks/b.json", b"2")
    bucket.put("answers/a.parquet", b"3")
    assert bucket.names("blocks") == {"a.json", "b.json"}
    assert bucket.get("blocks/a.json") == b"1"


def test_what_fails_now_and_then_is_tried_again(cloud: Cloud, bucket: Sink) -> None:
    cloud.ill = 2
    bucket.put("blocks/a.json", b"1")
    assert cloud.ill == 0
    assert bucket.get("blocks/a.json") == b"1"


def test_an_upload_asks_that_nothing_is_there(cloud: Cloud, bucket: Sink) -> None:
    bucket.put("blocks/a.json", b"1")
    assert any("ifGenerationMatch=0" in request for request in cloud.requests)
    cloud.refuse("POST", "/upload/", 412, "it is there")
    bucket.put("blocks/a.json", b"1")
    said = r"gs://archive/scored/blocks/a.json is there with other content.*; go on where"
    with pytest.raises(InputError, match=said):
        bucket.put("blocks/a.json", b"2")
    assert bucket.get("blocks/a.json") == b"1"


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/download/", lambda b: b.get("run.json")), ("/o?", lambda b: b.names("blocks"))],
)
def test_a_bucket_that_shows_nothing_is_named(
    cloud: Cloud, bucket: Sink, path: str, asked: Callable[[Sink], object]
) -> None:
    cloud.refuse("GET", path, 403, "no right to read")
    with pytest.raises(InputError, match=r"gs://archive/scored: .*no right to read"):
        asked(bucket)


def test_a_bucket_that_refuses_is_named(cloud: Cloud, bucket: Sink) -> None:
    cloud.refuse("POST", "/upload/", 403, "no right to write")
    with pytest.raises(InputError, match=r"gs://archive/scored: .*what is done is kept"):
        bucket.put("blocks/a.json", b"1")
