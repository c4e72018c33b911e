"""Source CSV -> prepared splits."""

import http.server
import itertools
import re
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from reader.io import InputError
from stages import params
from stages.params import Prepare
from stages.prepare import prepare
from stages.splits import SPLITS
from tests.conftest import CORPUS, ROOT

SHIPPED = (ROOT / "params.yaml").read_text()
HEADER = "id,keyword,location,text,target\n"


def run_stage(folder: Path, params: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the stage's command in a folder with these params."""
    (folder / "params.yaml").write_text(params)
    return subprocess.run(
        [sys.executable, "-m", "stages", "prepare"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def settings(source: Path | str, **others: object) -> Prepare:
    shipped = params.load(ROOT / "params.yaml").prepare.model_dump()
    shipped |= {"source": str(source), "seed": 1, "validation": 0.2, "test": 0.2}
    return Prepare.model_validate(shipped | others)


def run(source: Path | str, output: Path, **others: object) -> dict[str, pd.DataFrame]:
    prepare(settings(source, **others), output)
    return {split: pd.read_parquet(output / f"{split}.parquet") for split in SPLITS}


def rows(count: int) -> list[str]:
    return [f"{i},,,tweet number {i} says {i * 7919},{i % 2}\n" for i in range(1, count + 1)]


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text(header + "".join(lines), encoding="utf-8")
    return path


def places(splits: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {text: split for split, table in splits.items() for text in table["text"]}


def test_every_row_is_in_exactly_one_split(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(500)), tmp_path / "out")
    texts = [text for table in splits.values() for text in table["text"]]
    assert sorted(texts) == sorted(f"tweet number {i} says {i * 7919}" for i in range(1, 501))
    assert [list(table.columns) for table in splits.values()] == [
        ["id", "text", "keyword", "target"]
    ] * 3
    assert len(splits["train"]) == pytest.approx(300, abs=40)
    assert len(splits["test"]) == pytest.approx(100, abs=30)


def test_classes_are_shared_out_alike(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(4000)), tmp_path / "out")
    shares = [table["target"].mean() for table in splits.values()]
    assert max(shares) - min(shares) < 0.06


def test_adding_and_reordering_rows_moves_none(tmp_path: Path) -> None:
    before = places(run(write(tmp_path / "in.csv", rows(300)), tmp_path / "out"))
    after = places(run(write(tmp_path / "in.csv", rows(350)[::-1]), tmp_path / "out"))
    assert len(after) == 350
    assert {text: after[text] for text in before} == before


def test_another_seed_is_another_split(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", rows(300))
    assert places(run(source, tmp_path / "a", seed=1)) != places(
        run(source, tmp_path / "b", seed=2)
    )


def test_near_duplicates_become_one_and_conflicts_are_decided(tmp_path: Path) -> None:
    lines = [
        '900,,,"FIRE at the mill! https://t.example/a",1\n',
        '901,,,"fire at the mill https://t.example/b @you",1\n',
        '902,,,"Fire, at the &amp; mill?",0\n',
        "903,,,that storm was something,1\n",
        "904,,,That storm was something!!,0\n",
        "905,,,https://t.example/only-a-link,1\n",
        "906,,,https://t.example/another-link,0\n",
    ]
    output = tmp_path / "out"
    source = write(tmp_path / "in.csv", rows(300) + lines)
    report = prepare(settings(source), output)
    kept = pd.concat(pd.read_parquet(file) for file in output.glob("*.parquet")).set_index("id")
    assert kept.loc["900", "target"] == 1
    assert not {"901", "902", "903", "904"} & set(kept.index)
    assert {"905", "906"} <= set(kept.index)
    assert report["rows"] == {
        "read": 307,
        "dropped_other_label": 0,
        "kept": 303,
        "merged_near_duplicates": 2,
        "dropped_label_tie": 2,
        "groups_of_near_duplicates": 2,
        "groups_decided_by_majority": 1,
        "groups_dropped_on_a_tie": 1,
        "dropped_like_an_earlier_split": 0,
        "much_alike_in_one_split": 0,
    }


def test_the_kept_row_bears_the_majority_label(tmp_path: Path) -> None:
    lines = ["900,,,flood!,0\n", "901,,,flood?,1\n", "902,,,flood.,1\n"]
    kept = pd.concat(run(write(tmp_path / "in.csv", rows(300) + lines), tmp_path / "out").values())
    assert kept[kept["text"].str.startswith("flood")][["id", "target"]].to_numpy().tolist() == [
        ["901", 1]
    ]


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


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(CORPUS, tmp_path / "whole")
    monkeypatch.setattr("reader.table.CHUNK_ROWS", 97)
    parts = run(CORPUS, tmp_path / "parts")
    for split in SPLITS:
        pd.testing.assert_frame_equal(whole[split], parts[split])


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


@pytest.mark.parametrize(
    ("status", "said"), [(404, "no such file or bucket"), (403, "cannot be read: Forbidden")]
)
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


def test_a_failed_run_keeps_the_last_output(tmp_path: Path) -> None:
    output = tmp_path / "out"
    before = run(write(tmp_path / "in.csv", rows(300)), output)
    with pytest.raises(InputError):
        run(write(tmp_path / "in.csv", ["1,,,a,maybe\n"]), output)
    pd.testing.assert_frame_equal(pd.read_parquet(output / "train.parquet"), before["train"])


def test_the_command_ends_with_a_line_and_a_status(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "tweets.csv", ["1,,,a,maybe\n"])
    done = run_stage(tmp_path, SHIPPED)
    assert done.returncode == 1
    assert "error: data/tweets.csv: data row 1: target is 'maybe', which neither" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tweets.csv"]


def test_no_reading_is_in_two_splits_of_the_corpus(tmp_path: Path) -> None:
    splits = run(CORPUS, tmp_path / "out")
    bare = {
        split: set(
            table["text"]
            .str.lower()
            .str.replace(r"https?://\S+|@\w+|&\w+;", " ", regex=True)
            .str.replace(r"[^\w]+|_", " ", regex=True)
            .str.strip()
        )
        for split, table in splits.items()
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not bare[one] & bare[other]


CLASSES = "id\ttweet\tclass\tevent\n" + "".join(
    f"{10**18 + i}\tthing {i} says {i * 7919}\t{('rescue', 'damage', 'other', 'unsure')[i % 4]}\t"
    f"event {i % 5}\n"
    for i in range(400)
)
NAMED = {
    "text": "tweet",
    "label": "Class",
    "disaster": ["rescue", "Damage"],
    "not_disaster": ["other"],
}


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


def test_events_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text(CLASSES)
    p = settings(tmp_path / "in.tsv", **NAMED, drop_others=True, group="event")
    held = p.model_copy(update={"held_out": ["event 3"]})
    report = prepare(held, tmp_path / "out")
    assert report["split"]["test"] == ["event 3"]
    test = pd.read_parquet(tmp_path / "out/test.parquet")
    assert {int(number) % 5 for number in test["id"]} == {(10**18 + 3) % 5}


def test_files_are_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        lines = [f"{i},,,thing {i} of {number},{i % 2}\n" for i in range(50)]
        write(tmp_path / "in" / f"{number}.csv", lines)
    report = prepare(settings(tmp_path / "in", group="file"), tmp_path / "out")
    assert [file["rows"] for file in report["files"]] == [50] * 4
    files = [file for split in SPLITS for file in report["split"][split]]
    assert sorted(files) == [f"{number}.csv" for number in range(4)]


def test_time_splits_and_copies_stay_in_the_past(tmp_path: Path) -> None:
    lines = [
        f"{i},thing {i} says {i * 7919},{i % 2},2020-01-01T00:{i // 60:02}:{i % 60:02}\n"
        for i in range(300)
    ]
    words = "the river broke its banks at the old mill and took the bridge"
    lines += [f"900,{words} today,1,2019-01-01\n", f"901,{words} again,1,2021-01-01\n"]
    source = write(tmp_path / "in.csv", lines, "id,text,target,when\n")
    splits = run(source, tmp_path / "out", time="when")
    assert splits["train"]["id"].astype(int).max() == 900
    assert splits["test"]["id"].astype(int).min() > splits["validation"]["id"].astype(int).max()
    assert "901" not in set(splits["test"]["id"])
    write(source, [*lines, "902,no,0,soon\n"], "id,text,target,when\n")
    with pytest.raises(InputError, match=r"data row 303: when is no time \(got 'soon'\)"):
        run(source, tmp_path / "out", time="when")


def test_ids_that_lost_their_digits_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1.2e18, 7.0], "text": ["a", "b"], "target": [1, 0]})
    table.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: id is stored as a float, which has lost"):
        run(tmp_path / "in.parquet", tmp_path / "out")
