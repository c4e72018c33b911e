"""A block's rows, each answered or refused, never lost."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from locked.answer import SCORED
from locked.classifier import Classifier
from locked.text import MAX_TEXT
from reader.format import Format
from score import blocks as module
from score.blocks import Block, Settings, Summary, answer, blocks
from score.formats import Kind
from score.sources import fingerprint
from tests.score.conftest import READERS

TEXTS = ["flood at gate 7", "lovely cake", "flood at gate 7", "smoke over the mill"]


def settings(keep: tuple[str, ...] | None = None, kind: Kind = "parquet") -> Settings:
    return Settings("v1", "onnxruntime", keep, kind, Format())


def read(path: Path, keep: tuple[str, ...] | None = None) -> list[Block]:
    return list(blocks(str(path), fingerprint(str(path)), settings(keep)))


def answers(
    path: Path, classifier: Classifier, keep: tuple[str, ...] | None = None, kind: Kind = "parquet"
) -> tuple[pyarrow.Table, Summary]:
    """Answer a file of one block."""
    (block,) = read(path, keep)
    content, summary = answer(block, classifier, settings(keep, kind))
    (path.parent / "answers").write_bytes(content)
    return READERS[kind](str(path.parent / "answers")), summary


@pytest.fixture
def tweets(tmp_path: Path) -> Path:
    rows = [f"{i},{text},x" for i, text in enumerate(TEXTS)]
    (tmp_path / "in.csv").write_text("\n".join(["id,Text,label", *rows, ""]))
    return tmp_path / "in.csv"


@pytest.mark.parametrize("kind", READERS)
def test_answers_are_the_classifiers_to_the_bit_and_each_text_is_asked_once(
    tweets: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    expected = [float(classifier.probabilities([text])[0]) for text in TEXTS]
    calls: list[list[str]] = []
    real = classifier.probabilities
    monkeypatch.setattr(classifier, "probabilities", lambda t: real(calls.append(list(t)) or t))  # type: ignore[func-returns-value]
    rows, summary = answers(tweets, classifier, kind=kind)
    assert calls == [list(dict.fromkeys(TEXTS))]
    assert rows["probability"].to_pylist() == expected  # text has all digits of a double
    assert rows["probability"].type == (pyarrow.float32() if kind == "parquet" else "double")
    assert rows["predicted_label"].to_pylist() == [classifier.label(p) for p in expected]
    assert rows.column_names == ["id", "Text", "label", "predicted_label", "probability", "model"]
    assert rows["Text"].to_pylist() == TEXTS
    assert (summary.rows, sum(summary.labels.values()), summary.refused) == (4, 4, [])


@pytest.mark.parametrize("keep", [(), ("ID",), ("id", "text")])
def test_columns_are_kept_as_asked(
    tweets: Path, classifier: Classifier, keep: tuple[str, ...]
) -> None:
    names = answers(tweets, classifier, keep)[0].column_names
    assert [name.lower() for name in names] == [*map(str.lower, keep), *SCORED]


MANY = "label,predicted_label,Predicted_Label_2,probability,model,predicted_model"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id", [*SCORED]),
        ("Label", ["predicted_label", "probability", "model"]),
        ("predicted_label", [*SCORED]),
        (MANY, ["predicted_label_3", "predicted_probability", "predicted_model_2"]),
    ],
)
def test_each_added_column_has_a_name_of_its_own(
    tmp_path: Path, classifier: Classifier, header: str, expected: list[str]
) -> None:
    names = header.split(",")
    (tmp_path / "in.csv").write_text(f"text,{header}\nflood,{','.join(names)}\n")
    table, _ = answers(tmp_path / "in.csv", classifier)
    assert table.column_names == ["text", *names, *expected]
    (row,) = table.to_pylist()
    assert [row[name] for name in (*names, expected[0], expected[2])] == [*names, "disaster", "v1"]


def test_a_column_that_the_format_cannot_hold_is_named(
    tmp_path: Path, classifier: Classifier
) -> None:
    twice = pyarrow.StructArray.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"])
    pq.write_table(pyarrow.table({"text": ["flood"], "twice": twice}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: no jsonl .*duplicate field names.*--keep"):
        answers(tmp_path / "in.parquet", classifier, kind="jsonl")


def test_refused_rows_are_named_and_the_others_answered(
    tmp_path: Path, classifier: Classifier
) -> None:
    lines = ['{"text": "flood"}', "no JSON", '{"text": " "}', '{"text": "\\ud800"}', "{}"]
    texts = ("a" * (MAX_TEXT + 1), "a" * MAX_TEXT, "x" * 2**20)
    lines += [json.dumps({"text": text}) for text in texts]
    lines += ["7", '{"text": 7}', '{"text": {"a": "b"}}', "[" * 100_000]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    _, summary = answers(tmp_path / "in.jsonl", classifier)
    assert [(number, reason[:20]) for number, reason in summary.refused] == [
        (2, "not JSON: Expecting "),
        (3, "the text is blank"),
        (4, "half a character (a "),
        (5, "the text is null"),
        (6, "String should have a"),
        (8, "String should have a"),
        (9, "no JSON object but '"),
        (10, "text is no string (g"),
        (11, "text is no string (g"),
        (12, "not JSON: maximum re"),
    ]
    assert (summary.rows, sum(summary.labels.values())) == (12, 2)


def test_a_text_that_is_not_unicode_is_refused(tmp_path: Path, classifier: Classifier) -> None:
    ends = pyarrow.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 5, 7)))
    texts = pyarrow.StringArray.from_buffers(2, ends, pyarrow.py_buffer(b"flood\xff\xfe"))
    pq.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    rows, summary = answers(tmp_path / "in.parquet", classifier)
    ((number, reason),) = summary.refused
    assert (number, "UTF-8" in reason, rows["text"].to_pylist()) == (2, True, ["flood"])


def test_blocks_follow_from_the_file_alone(tweets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    rows = "".join(f"{i},t{i}\n" for i in range(4))
    tweets.write_text(f"id,text\nbroken\n{rows}broken\n")
    read_blocks = read(tweets)
    # The first has the broken row before its own, the last the one behind them.
    names = [f"{fingerprint(str(tweets))}-{n:010d}" for n in (1, 5)]
    assert [block.name for block in read_blocks] == [block.name for block in read(tweets)] == names
    assert [block.numbers.tolist() for block in read_blocks] == [[2, 3, 4], [5]]
    assert [n for block in read_blocks for n, _ in block.refused] == [1, 6]


@pytest.mark.parametrize(
    ("content", "rows", "refused"),
    [("1,flood\nid,text\n2,cake\n", 3, [2]), ("broken\nbroken\n", 2, [1, 2])],
)
def test_unreadable_rows_count(
    tweets: Path, classifier: Classifier, content: str, rows: int, refused: list[int]
) -> None:
    tweets.write_text(f"id,text\n{content}")
    table, summary = answers(tweets, classifier)
    assert (summary.rows, [number for number, _ in summary.refused]) == (rows, refused)
    assert len(table) == rows - len(refused)


def test_many_columns_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["text", *(f"c{i}" for i in range(4))]
    (tmp_path / "in.csv").write_text("\n".join([",".join(names), *["flood,1,1,1,1"] * 3]))
    for cells, keep, sizes in ((10, None, [2, 1]), (4, None, [1] * 3), (10, ("c2",), [3])):
        monkeypatch.setattr(module, "CELLS", cells)
        assert [len(block.numbers) for block in read(tmp_path / "in.csv", keep)] == sizes


def test_an_empty_file_has_no_block(tmp_path: Path) -> None:
    (tmp_path / "in.csv").touch()
    assert read(tmp_path / "in.csv") == []


def test_a_file_that_changes_is_refused(tweets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 1)
    reading = blocks(str(tweets), fingerprint(str(tweets)), settings())
    next(reading)
    tweets.write_text(tweets.read_text() + "9,more,x\n")
    with pytest.raises(InputError, match=r"in.csv has changed since the run began"):
        list(reading)


@pytest.mark.parametrize("values", [[1, 2], [["a"]]])
def test_a_text_column_without_texts(
    tmp_path: Path, classifier: Classifier, values: list[object]
) -> None:
    pq.write_table(pyarrow.table({"text": values}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: text holds (int64|list)"):
        answers(tmp_path / "in.parquet", classifier)
