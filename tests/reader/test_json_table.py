"""JSON as people have it: lines, arrays, pages of an API."""

import json
from pathlib import Path

import pytest

from common.errors import InputError
from reader.format import Format
from tests.reader.reading import read, refusals

A, B = {"id": "1", "text": "fire"}, {"id": "2", "text": "cake"}
PAGE = {"data": [A, B], "includes": {"users": [{"id": "1"}]}, "meta": {"result_count": 2}}
LAYOUTS = {
    "lines": f"{json.dumps(A)}\n{json.dumps(B)}\n",
    "an array": json.dumps([A, B]),
    "an array, an object a line": f"[{json.dumps(A)},\n{json.dumps(B)}]",
    "a pretty page": json.dumps(PAGE, indent=2),
    "pages, the last one empty": f"{json.dumps(PAGE)}\n" + '{"meta": {"result_count": 0}}\n',
    "a stream": "\r\n\r\n".join(json.dumps({"data": t, "matching_rules": []}) for t in (A, B)),
}


def test_layouts_and_a_key_of_a_page_that_is_a_column(tmp_path: Path) -> None:
    for layout, content in LAYOUTS.items():
        (tmp_path / "in").write_text(content)
        assert read(tmp_path / "in")[1] == [("1", "fire"), ("2", "cake")], layout
    (tmp_path / "in").write_text('{"data": "fire", "meta": 1}\n{"data": "cake"}\n')
    assert read(tmp_path / "in", Format("data"))[1] == [("fire", "1"), ("cake", None)]


CUT = "Buses leave from the…"
WHOLE = "Buses leave from the stadium"


CUT_TEXTS: list[tuple[dict[str, object], str]] = [
    ({"text": CUT, "full_text": WHOLE}, WHOLE),
    ({"text": f"{CUT} https://t.example/x", "extended_tweet": {"full_text": WHOLE}}, WHOLE),
    ({"text": "Buses leave from...", "note_tweet": {"text": WHOLE}}, WHOLE),
    ({"text": f"RT @a: {CUT}", "retweeted_status": {"full_text": WHOLE}}, f"RT @a: {WHOLE}"),
    ({"text": CUT, "full_text": "Trains leave from the stadium"}, CUT),
    ({"text": "Buses leave", "full_text": WHOLE}, "Buses leave"),  # not cut: it is a summary
    ({"text": CUT, "full_text": 7}, CUT),
    ({"text": CUT, "extended_tweet": None}, CUT),
]


def test_the_whole_text_is_taken(tmp_path: Path) -> None:
    for tweet, text in CUT_TEXTS:
        (tmp_path / "in").write_text(f"{json.dumps(tweet)}\n{json.dumps(A)}\n")
        assert read(tmp_path / "in")[1][0][0] == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_values_and_encodings(tmp_path: Path, encoding: str) -> None:
    objects = [
        {"id": 1234567890123456789, "text": "smoke\u2028 over", "target": 1},
        {"id": None, "target": True, "user": {"name": "x"}, "text": "hi"},
    ]
    (tmp_path / "in").write_bytes(("\n".join(map(json.dumps, objects)) + "\n\n").encode(encoding))
    about, rows = read(tmp_path / "in")
    assert about["format"] == "JSON"
    assert about["encoding"].startswith(encoding)
    assert rows == [
        ("1234567890123456789", "smoke\u2028 over", "1", None),
        (None, "hi", "true", '{"name": "x"}'),
    ]


def test_broken_lines_are_refused(tmp_path: Path) -> None:
    lines = ['{"text": "fire"', '{"text": "a"}', "7", '{"text": 7}', '{"text": {"a": 1}}']
    lines += ["", '{"text": "\\ud800"}', '{"Text": "b", "text": "c"}']
    (tmp_path / "in").write_text("\n".join(lines))
    numbers, refused = refusals(tmp_path / "in")
    assert numbers == [2, 7]
    assert {number: reason[:27] for number, reason in refused} == {
        1: "not JSON: Expecting ',' del",
        3: "not a JSON object: '7'",
        4: "text is not a string (got 7",
        5: "text is not a string (got {",
        6: "half a character (a lone su",
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"text": "a"},\n{"text": ', "not JSON: Expecting value: line 2"),
        ('{"meta": {"result_count": 0}}', "its JSON has no tweets"),
        ("[" * 100_000, "not JSON: maximum recursion depth"),
    ],
)
def test_other_json_is_named(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "in").write_text(content)
    with pytest.raises(InputError, match=f"/in: .*{reason}"):
        read(tmp_path / "in")
