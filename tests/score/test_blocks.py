"""A block's rows, each answered or refused, never lost."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from locked.classifier import Classifier
from locked.text import MAX_TEXT
from reader.format import Format
from score import blocks as module
from score.blocks import Block, Settings, answer, blocks
from score.formats import Kind
from score.sources import fingerprint
from tests.score.conftest import READERS

TEXTS = ["flood at gate 7", "lovely cake", "flood at gate 7", "smoke over the mill"]


def settings(keep: tuple[str, ...] | None = None, kind: Kind = "parquet") -> Settings:
    return Settings("v1", "onnxruntime", keep, kind, Format())


def read(path: Path, asked: Settings) -> list[Block]:
    return list(blocks(str(path), fingerprint(str(path)), asked))


def table(block: Block, classifier: Classifier, asked: Settings) -> pyarrow.Table:
    content, _ = answer(block, classifier, asked)
    return pq.read_table(pyarrow.BufferReader(content))


@pytest.fixture
def tweets(tmp_path: Path) -> Path:
    rows = [f"{i},{text},x" for i, text in enumerate(TEXTS)]
    (tmp_path / "in.csv").write_text("\n".join(["id,Text,label", *rows, ""]))
    return tmp_path / "in.csv"


def test_answers_are_the_classifiers_to_the_bit(tweets: Path, classifier: Classifier) -> None:
    (block,) = read(tweets, settings())
    rows = table(block, classifier, settings())
    said = [float(classifier.probabilities([text])[0]) for text in TEXTS]
    assert rows["probability"].to_pylist() == said
    assert rows["predicted_label"].to_pylist() == [classifier.label(p) for p in said]
    assert rows.column_names == ["id", "Text", "label", "predicted_label", "probability", "model"]
    assert rows["Text"].to_pylist() == TEXTS


def test_each_distinct_text_is_asked_once(
    tweets: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    real = classifier.probabilities
    monkeypatch.setattr(classifier, "probabilities", lambda t: real(asked.append(list(t)) or t))  # type: ignore[func-returns-value]
    answer(read(tweets, settings())[0], classifier, settings())
    assert asked == [list(dict.fromkeys(TEXTS))]


@pytest.mark.parametrize("keep", [(), ("ID",), ("id", "text")])
def test_columns_are_kept_as_asked(
    tweets: Path, classifier: Classifier, keep: tuple[str, ...]
) -> None:
    asked = settings(keep)
    names = table(read(tweets, asked)[0], classifier, asked).column_names
    kept = [name.lower() for name in keep]
    assert [name.lower() for name in names] == [*kept, "label", "probability", "model"]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id", ["label", "probability", "model"]),
        ("Label", ["predicted_label", "probability", "model"]),
        ("predicted_label", ["label", "probability", "model"]),
        (
            "label,predicted_label,Predicted_Label_2,probability,model,predicted_model",
            ["predicted_label_3", "predicted_probability", "predicted_model_2"],
        ),
    ],
)
def test_each_added_column_has_a_name_of_its_own(
    tmp_path: Path, classifier: Classifier, kind: Kind, header: str, expected: list[str]
) -> None:
    there = header.split(",")
    (tmp_path / "in.csv").write_text(f"text,{header}\nflood,{','.join(there)}\n")
    asked = settings(kind=kind)
    content, _ = answer(read(tmp_path / "in.csv", asked)[0], classifier, asked)
    (tmp_path / "out").write_bytes(content)
    table = READERS[kind](str(tmp_path / "out"))
    assert table.column_names == ["text", *there, *expected]
    (row,) = table.to_pylist()
    assert [row[name] for name in there] == there
    assert row[expected[0]] == "disaster"
    assert row[expected[2]] == "v1"


def test_what_a_format_cannot_hold_is_named(tmp_path: Path, classifier: Classifier) -> None:
    twice = pyarrow.StructArray.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"])
    pq.write_table(pyarrow.table({"text": ["flood"], "twice": twice}), tmp_path / "in.parquet")
    asked = settings(kind="jsonl")
    (block,) = read(tmp_path / "in.parquet", asked)
    with pytest.raises(
        InputError, match=r"in.parquet: no jsonl can .*duplicate field names.*--keep"
    ):
        answer(block, classifier, asked)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_formats_have_the_digits_of_http(
    tweets: Path, classifier: Classifier, kind: Kind
) -> None:
    content, _ = answer(read(tweets, settings())[0], classifier, settings(kind=kind))
    digits = json.dumps(float(classifier.probabilities([TEXTS[0]])[0]))
    assert digits in content.decode().splitlines()[1 if kind == "csv" else 0]


def test_refused_rows_are_named_and_the_others_answered(
    tmp_path: Path, classifier: Classifier
) -> None:
    lines = ['{"text": "flood"}', "no JSON", '{"text": " "}', '{"text": "\\ud800"}', "{}"]
    lines += [
        json.dumps({"text": text}) for text in ("a" * (MAX_TEXT + 1), "a" * MAX_TEXT, "x" * 2**20)
    ]
    lines += ["7", '{"text": 7}', '{"text": {"a": "b"}}', "[" * 100_000]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    found = read(tmp_path / "in.jsonl", settings())
    records = [answer(block, classifier, settings())[1] for block in found]
    rows = [row for record in records for row in record.refused]
    assert rows == sorted(rows)
    refused = dict(rows)
    assert {number: reason[:20] for number, reason in refused.items()} == {
        2: "not JSON: Expecting ",
        3: "the text is blank",
        4: "half a character (a ",
        5: "the text is null",
        6: "String should have a",
        8: "String should have a",
        9: "no JSON object but '",
        10: "text is no string (g",
        11: "text is no string (g",
        12: "not JSON: maximum re",
    }
    assert sum(record.rows for record in records) == 12
    assert sum(sum(record.labels.values()) for record in records) == 2


def test_a_text_that_is_not_unicode_is_refused(tmp_path: Path, classifier: Classifier) -> None:
    ends = pyarrow.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 5, 7)))
    texts = pyarrow.StringArray.from_buffers(2, ends, pyarrow.py_buffer(b"flood\xff\xfe"))
    pq.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    (block,) = read(tmp_path / "in.parquet", settings())
    _, record = answer(block, classifier, settings())
    assert [number for number, _ in record.refused] == [2]
    assert "UTF-8" in record.refused[0][1]
    assert table(block, classifier, settings())["text"].to_pylist() == ["flood"]


def test_blocks_follow_from_the_file_alone(tweets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    rows = "".join(f"{i},t{i}\n" for i in range(4))
    tweets.write_text(f"id,text\nbroken\n{rows}broken\n")
    pinned = fingerprint(str(tweets))
    found = read(tweets, settings())
    # The first has the broken row before its own, the last the one behind them.
    assert [block.name for block in found] == [f"{pinned}-{n:010d}" for n in (1, 5)]
    assert [block.numbers.tolist() for block in found] == [[2, 3, 4], [5]]
    assert [block.name for block in read(tweets, settings())] == [b.name for b in found]
    assert [n for block in found for n, _ in block.refused] == [1, 6]


def test_a_repeated_header_is_a_refused_row(tweets: Path, classifier: Classifier) -> None:
    tweets.write_text("id,text\n1,flood\nid,text\n2,cake\n")
    (block,) = read(tweets, settings())
    record = answer(block, classifier, settings())[1]
    assert (record.rows, record.refused) == (3, [(2, "the header again")])


def test_rows_none_of_which_can_be_read_are_a_block(tweets: Path, classifier: Classifier) -> None:
    tweets.write_text("id,text\nbroken\nbroken\n")
    (block,) = read(tweets, settings())
    assert len(table(block, classifier, settings())) == 0
    assert answer(block, classifier, settings())[1].rows == 2


def test_many_columns_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 10_000)
    names = ["text", *(f"c{i}" for i in range(4999))]
    row = ",".join(["flood", *("1" for _ in names[1:])])
    (tmp_path / "in.csv").write_text("\n".join([",".join(names), row, row, row]))
    assert [len(block.numbers) for block in read(tmp_path / "in.csv", settings())] == [2, 1]
    monkeypatch.setattr(module, "CELLS", 4999)
    assert [len(block.numbers) for block in read(tmp_path / "in.csv", settings())] == [1, 1, 1]
    assert [len(block.numbers) for block in read(tmp_path / "in.csv", settings(("c7",)))] == [3]


def test_an_empty_file_has_no_block(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("")
    assert read(tmp_path / "in.csv", settings()) == []


def test_a_file_that_changes_is_refused(tweets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 1)
    reading = blocks(str(tweets), fingerprint(str(tweets)), settings())
    next(reading)
    tweets.write_text(tweets.read_text() + "9,more,x\n")
    with pytest.raises(InputError, match=r"in.csv has changed since the run began"):
        list(reading)


def test_a_text_column_of_numbers_and_one_of_lists(tmp_path: Path, classifier: Classifier) -> None:
    for values in ([1, 2], [["a"]]):
        pq.write_table(pyarrow.table({"text": values}), tmp_path / "in.parquet")
        (block,) = read(tmp_path / "in.parquet", settings())
        with pytest.raises(InputError, match=r"in.parquet: text holds (int64|list)"):
            answer(block, classifier, settings())
