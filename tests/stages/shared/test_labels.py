"""Labels of an event: read, or refused by row."""

from pathlib import Path

import pytest

from common.errors import InputError
from stages.shared.labels import Labelled, read_labels

ROWS = [f"{n},tweet number {'x' * n},{'disaster' if n % 2 else 'not_disaster'}" for n in range(12)]


def read(tmp_path: Path, rows: list[str], header: str = "id,text,label") -> Labelled:
    (tmp_path / "event.csv").write_text("\n".join([header, *rows]))
    return read_labels(tmp_path / "event.csv")


def test_each_tweet_counts_once_and_unlabelled_ones_do_not(tmp_path: Path) -> None:
    again = ["90,RT @someone: Tweet number x!,1", "91,not yet seen,"]
    labelled = read(tmp_path, ROWS + again)
    assert (len(labelled.texts), labelled.truth.sum()) == (12, 6)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS[:9], "id,text,label", r"9 labelled tweets, 4 of them disasters. 10 or more are"),
        (ROWS[::2] * 2, "id,text,label", r"6 labelled tweets, 0 of them disasters"),
        ([*ROWS, "9,more,yes"], "id,text,label", r"row 14: label must be .* \(got 'yes'\)"),
        ([*ROWS, "9,TWEET number x,not_disaster"], "id,text,label", r"row 3: one tweet has two"),
        ([*ROWS, "9, ,disaster"], "id,text,label", r"row 14: text must not be blank"),
        (ROWS, "id,tweet,label", r"no column text"),
    ],
)
def test_unusable_labels_are_named(
    tmp_path: Path, rows: list[str], header: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, rows, header)
    with pytest.raises(InputError, match=r"none.csv does not exist"):
        read_labels(tmp_path / "none.csv")
