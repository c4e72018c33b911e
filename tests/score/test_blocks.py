"""A block's rows, each answered or refused, never lost."""

import json
from io import BytesIO
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
from score.blocks import Block, Settings, Summary, answer, read_blocks
from score.sources import fingerprint

TEXTS = ["flood at gate 7", "lovely cake", "flood at gate 7", "smoke over the mill"]


def settings(keep: tuple[str, ...] | None = None) -> Settings:
    return Settings("v1", "onnxruntime", keep, Format())


def read(path: Path, keep: tuple[str, ...] | None = None) -> list[Block]:
    return list(read_blocks(str(path), fingerprint(str(path)), settings(keep)))


def answers(
    path: Path, classifier: Classifier, keep: tuple[str, ...] | None = None
) -> tuple[pyarrow.Table, Summary]:
    """Answer a file of one block."""
    (block,) = read(path, keep)
    content, summary = answer(block, classifier, settings(keep))
    return pq.read_table(BytesIO(content)), summary


@pytest.fixture
def tweets(tmp_path: Path) -> Path:
    rows = [f"{i},{text},x" for i, text in enumerate(TEXTS)]
    (tmp_path / "in.csv").write_text("\n".join(["id,Text,label", *rows, ""]))
    return tmp_path / "in.csv"


def test_answers_are_the_classifiers_to_the_bit_and_each_text_is_asked_once(
    tweets: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [float(classifier.probabilities([text])[0]) for text in TEXTS]
    calls: list[list[str]] = []
    real = classifier.probabilities
    monkeypatch.setattr(classifier, "probabilities", lambda t: real(calls.append(list(t)) or t))  # type: ignore[func-returns-value]
    rows, summary = answers(tweets, classifier)
    assert calls == [list(dict.fromkeys(TEXTS))]
    assert rows["probability"].to_pylist() == expected
    assert rows["predicted_label"].to_pylist() == [classifier.label(p) for p in expected]
    assert rows.column_names == ["id", "Text", "label", "predicted_label", "probability", "model"]
    assert rows["Text"].to_pylist() == TEXTS
    assert (summary.rows, sum(summary.labels.values()), summary.refused) == (4, 4, [])


MANY = "label,predicted_label,Predicted_Label_2,probability,model,predicted_model"


@pytest.mark.parametrize(
    ("header", "keep", "added"),
    [
        ("id", (), SCORED),
        ("id", ("ID", "Text"), SCORED),
        ("Label", None, ("predicted_label", "probability", "model")),
        ("predicted_label", None, SCORED),
        (MANY, None, ("predicted_label_3", "predicted_probability", "predicted_model_2")),
    ],
)
def test_columns_are_kept_as_asked_and_each_added_one_has_a_name_of_its_own(
    tmp_path: Path,
    classifier: Classifier,
    header: str,
    keep: tuple[str, ...] | None,
    added: tuple[str, ...],
) -> None:
    (tmp_path / "in.csv").write_text(f"text,{header}\nflood,{header}\n")
    table, _ = answers(tmp_path / "in.csv", classifier, keep)
    (row,) = table.to_pylist()
    assert (row.pop(added[0]), row.pop(added[2])) == ("disaster", "v1")
    assert isinstance(row.pop(added[1]), float)
    names = ["text", *header.split(",")] if keep is None else [*map(str.lower, keep)]
    assert row == {name: "flood" if name == "text" else name for name in names}


def test_refused_rows_are_named_and_the_others_answered(
    tmp_path: Path, classifier: Classifier
) -> None:
    texts = ["flood", " ", "a" * (MAX_TEXT + 1), "a" * MAX_TEXT, None]
    lines = [*(json.dumps({"text": text}) for text in texts), "no JSON", '{"text": "\\ud800"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    _, summary = answers(tmp_path / "in.jsonl", classifier)
    assert [(number, reason[:20]) for number, reason in summary.refused] == [
        (2, "the text is blank"),
        (3, "String should have a"),
        (5, "the text is null"),
        (6, "not JSON: Expecting "),
        (7, "half a character (a "),
    ]
    assert (summary.rows, sum(summary.labels.values())) == (7, 2)


def test_blocks_follow_from_the_file_alone(
    tweets: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    rows = "".join(f"{i},t{i}\n" for i in range(4))
    tweets.write_text(f"id,text\nbroken\n{rows}broken\n")
    first, last = read(tweets)
    # The first has the broken row before its own, the last the one behind them.
    names = [f"{fingerprint(str(tweets))}-{n:010d}" for n in (1, 5)]
    assert [first.name, last.name] == [block.name for block in read(tweets)] == names
    assert [first.numbers.tolist(), last.numbers.tolist()] == [[2, 3, 4], [5]]
    assert [n for n, _ in first.refused + last.refused] == [1, 6]
    tweets.write_text("id,text\nbroken\nbroken\n")
    (block,) = read(tweets)
    content, summary = answer(block, classifier, settings())
    assert [n for n, _ in summary.refused] == [1, 2]
    assert (len(pq.read_table(BytesIO(content))), summary.rows) == (0, 2)
    tweets.write_text("")
    assert read(tweets) == []


def test_many_columns_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_text("text,c0,c1,c2,c3\n" + "flood,1,1,1,1\n" * 3)
    for cells, keep, sizes in ((10, None, [2, 1]), (4, None, [1] * 3), (10, ("c2",), [3])):
        monkeypatch.setattr(module, "CELLS", cells)
        assert [len(block.numbers) for block in read(tmp_path / "in.csv", keep)] == sizes


def test_a_file_that_changes_is_refused(tweets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 1)
    reading = read_blocks(str(tweets), fingerprint(str(tweets)), settings())
    next(reading)
    tweets.write_text(tweets.read_text() + "9,more,x\n")
    with pytest.raises(InputError, match=r"in.csv has changed since the run began"):
        list(reading)


@pytest.mark.parametrize(("texts", "kind"), [([1, 2], "int64"), ([["a"]], "list")])
def test_a_column_without_texts_is_named(
    tmp_path: Path, classifier: Classifier, texts: list[object], kind: str
) -> None:
    pq.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=f"in.parquet: text holds {kind}"):
        answers(tmp_path / "in.parquet", classifier)
