"""Labels of an event: read, weighted, or refused by row."""

from pathlib import Path

import pytest

from common.errors import InputError
from stages.shared.labels import read_labels

ROWS = [f"{n},tweet number {'x' * n},{'disaster' if n % 2 else 'not_disaster'}" for n in range(12)]


def read(tmp_path: Path, rows: list[str], header: str = "id,text,label") -> tuple[int, list[float]]:
    (tmp_path / "event.csv").write_text("\n".join([header, *rows]))
    labelled = read_labels(tmp_path / "event.csv")
    return int(labelled.truth.sum()), labelled.weights.tolist()


def test_each_tweet_counts_once_and_unlabelled_ones_do_not(tmp_path: Path) -> None:
    again = ["90,RT @someone: Tweet number x!,1", "91,not yet seen,"]
    disasters, weights = read(tmp_path, ROWS + again)
    assert (disasters, weights) == (6, [1.0] * 12)


def test_a_tweet_weighs_one_by_the_probability_of_being_drawn(tmp_path: Path) -> None:
    rows = [f"{row},{0.5 if n < 6 else 0.25}" for n, row in enumerate(ROWS)]
    _, weights = read(tmp_path, rows, "id,text,label,drawn")
    assert weights == pytest.approx([2 / 3] * 6 + [4 / 3] * 6)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS[:9], "id,text,label", r"9 labelled tweets, 4 of them disasters. .* needs 10"),
        (ROWS[::2] * 2, "id,text,label", r"6 labelled tweets, 0 of them disasters"),
        ([*ROWS, "9,more,yes"], "id,text,label", r"row 14: label must be .* \(got 'yes'\)"),
        ([*ROWS, "9,TWEET number x,not_disaster"], "id,text,label", r"row 3: one tweet has two"),
        ([f"{row},0" for row in ROWS], "id,text,label,drawn", r"row 2: drawn must be above 0"),
        ([f"{row},x" for row in ROWS], "id,text,label,drawn", r"row 2: drawn must be above 0"),
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
