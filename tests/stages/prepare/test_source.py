"""Any table -> checked rows, or an error that names the place."""

import http.server
import re
import threading
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from common.errors import InputError
from stages.prepare.stage import prepare
from tests.stages.prepare.preparing import (
    CLASSES,
    HEADER,
    NAMED,
    SHIPPED,
    rows,
    run,
    run_stage,
    settings,
    write,
)


def test_only_text_and_target_are_required(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text,target\n" + "".join(f"words {i},{i % 2}\n" for i in range(300)))
    table = pd.concat(run(source, tmp_path / "out").values())
    assert set(table["id"]) == {str(i) for i in range(1, 301)}
    assert set(table["keyword"]) == {""}


def test_words_that_pandas_takes_for_blanks_are_kept(tmp_path: Path) -> None:
    lines = ["NA,forest%20fire,,null,1\n", "901,Sinking ,,NaN,0\n"]
    table = pd.concat(run(write(tmp_path / "in.csv", rows(300) + lines), tmp_path / "out").values())
    found = table[table["text"].isin(["null", "NaN"])].sort_values("text")
    assert found["keyword"].tolist() == ["sinking", "forest fire"]
    assert "NA" in set(table["id"])


def test_any_fsspec_url_is_a_source(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/in.csv", "w") as file:
        file.write(HEADER + "".join(rows(300)))
    assert len(pd.concat(run("memory://bucket/in.csv", tmp_path / "out").values())) == 300


BAD = {
    "missing text column": ("id,target\n1,0\n", "lacks the column text"),
    "missing both columns": (
        "id,words\n1,a\n",
        "lacks the column text; it has: id, words. .*set prepare.text",
    ),
    "empty file": ("", "the file is empty"),
    "header only": (HEADER, "no rows"),
    "one class only": (HEADER + "".join(f"{i},,,w {i},1\n" for i in range(99)), "only disaster"),
    "one row": (HEADER + "1,,,fire,1\n", "only disaster"),
    "too few rows": (HEADER + "1,,,fire,1\n2,,,cake,0\n", "too few rows"),
    "target of 2": (
        HEADER + "1,,,a,0\n2,,,b,2\n",
        "data row 2: target is '2', which neither prepare.disaster",
    ),
    "target of yes": (
        HEADER + "1,,,a,yes\n",
        "data row 1: target is 'yes', which .*prepare.drop_others: true. Values here: 'yes' .1.",
    ),
    "blank target": (HEADER + "1,,,a,\n", "data row 1: target is ''"),
    "blank text": (HEADER + "1,,,a,1\n2,,,  ,1\n", "data row 2: text is blank"),
    "too many fields": (
        HEADER + "1,,,a,1\n2,,,b,0,x,y\n",
        "data row 2: it has 7 fields, the header 5",
    ),
    "more fields than the header": (
        HEADER + "1,,,a,1,x\n2,,,b,0,y\n",
        "data row 1: it has 6 fields, the header 5",
    ),
    "too few fields": (HEADER + "1,,,a,1\n2,,\n", "data row 2: it has 3 fields"),
    "a text of 1 MB": (HEADER + f"1,,,{'a ' * 500_000},1\n", "data row 1: text is longer"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_writes_nothing(tmp_path: Path, case: str) -> None:
    text, named = BAD[case]
    source = tmp_path / "in.csv"
    source.write_text(text)
    with pytest.raises(InputError, match=f"in.csv: .*{named}"):
        run(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_broken_utf8_is_named_by_line(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    good = "1,,,naïve… so fine,0\n".encode()
    source.write_bytes(HEADER.encode() + good + b"2,,,caf\xe9 burnt,1\n" + good)
    with pytest.raises(InputError, match=r"in.csv: line 3: not UTF-8, .* set prepare.encoding"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize("source", ["nowhere.csv", "memory://no-bucket/none.csv"])
def test_a_missing_source_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError, match=f"{source}: no such file"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize(("status", "said"), [(404, "no such file or bucket"), (403, "Forbidden")])
def test_a_bucket_that_refuses_is_named(tmp_path: Path, status: int, said: str) -> None:
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "status %d"}}' % status)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as bucket:
        threading.Thread(target=bucket.serve_forever, daemon=True).start()
        text = SHIPPED.replace("data/tweets.csv", "gs://no-bucket/tweets.csv")
        done = run_stage(
            tmp_path, text, STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{bucket.server_port}"
        )
        bucket.shutdown()
    assert done.returncode == 1
    assert re.search(f"error: gs://no-bucket/tweets.csv: {said}", done.stderr)
    assert "Traceback" not in done.stderr


def test_columns_and_labels_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text(CLASSES)
    with pytest.raises(InputError, match=r"row 4: class is 'unsure', .* 'unsure' \(100\)"):
        run(tmp_path / "in.tsv", tmp_path / "out", **NAMED)
    p = settings(tmp_path / "in.tsv", **NAMED, drop_others=True)
    report = prepare(p, tmp_path / "out")
    assert report["other_labels"] == {"unsure": 100}
    assert (report["rows"]["read"], report["rows"]["kept"]) == (400, 300)
    kept = pd.concat(pd.read_parquet(file) for file in (tmp_path / "out").glob("*.parquet"))
    assert kept["target"].sum() == 200
    assert str(10**18 + 4) in set(kept["id"])


def test_labels_are_matched_without_case(tmp_path: Path) -> None:
    labels = ("Stra\u00dfe", "STRASSE", "no")
    lines = [f"thing {i} says {i * 7919},{labels[i % 3]}\n" for i in range(300)]
    source = write(tmp_path / "in.csv", lines, "text,target\n")
    named = {"disaster": ["stra\u00dfe"], "not_disaster": ["NO"]}
    kept = pd.concat(run(source, tmp_path / "out", **named).values())
    assert kept["target"].sum() == 200


@pytest.mark.parametrize("texts", [[1, 2], [["a"], ["b"]], [{"a": 1}, {"a": 2}]])
def test_a_text_is_a_string(tmp_path: Path, texts: list[object]) -> None:
    pd.DataFrame({"text": texts, "target": [1, 0]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: text is no text but (int64|list|struct)"):
        run(tmp_path / "in.parquet", tmp_path / "out")


def test_a_file_of_a_folder_that_is_no_table_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/tweets.csv", rows(300))
    (tmp_path / "in/README.md").write_text("# My tweets\n\nThey are mine.\n")
    said = r"in/README.md: the header lacks the column text; .* of the tables, prepare.files says"
    with pytest.raises(InputError, match=said):
        run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out", files="*.csv")


def test_ids_that_lost_their_digits_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1.2e18, 7.0], "text": ["a", "b"], "target": [1, 0]})
    table.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: id is stored as a float, which has lost"):
        run(tmp_path / "in.parquet", tmp_path / "out")


def test_short_ids_and_labels_may_be_floats(tmp_path: Path) -> None:
    rows = [(float(i) if i else None, f"thing {i} says {i * 7919}", i % 2 > 0) for i in range(300)]
    pd.DataFrame(rows, columns=["id", "text", "target"]).to_parquet(tmp_path / "in.parquet")
    kept = pd.concat(run(tmp_path / "in.parquet", tmp_path / "out").values())
    assert {"", "1", "299"} <= set(kept["id"])
