"""Speed of the server beside the design it replaces and a rival written by hand.

    python -m tests.bench.serve [SOURCE] [--rounds N] [--seconds S]

- ours: `python -m serve`.
- replaced: FastAPI and transformers, fp32, padded to 128 tokens, one tweet at a time.
- by hand: FastAPI that batches in its own process, with this project's engine.

All three answer from the same trained weights. Each round starts them one after another, so that a
slower minute of the machine meets all alike; wrk asks. The engines are measured alone, in process.
"""

import argparse
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import onnxruntime
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from serve.classifier import GRID, Classifier
from serve.cpus import cpus
from stages.export import Probability
from stages.progress import Progress

SERVERS = {
    "ours": "serve",
    "replaced": "tests.bench.rivals.replaced",
    "by hand": "tests.bench.rivals.batching",
}
CONNECTIONS = (1, 8, 64, 256)
BULK = 256  # tweets
BULK_CONNECTIONS = 2
ROWS = 16  # of an inference of ONNX Runtime
START = 60  # seconds
JSON = {"Content-Type": "application/json"}
SCRIPT = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1; return wrk.format(nil, "/predict", nil, bodies[n % #bodies + 1]) end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %f %f %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Load(NamedTuple):
    """What wrk saw."""

    rate: float  # requests per second
    p50: float  # milliseconds
    p99: float  # milliseconds
    errors: int


class Started(NamedTuple):
    """What a server took."""

    seconds: float  # from its start to its first answer
    memory: float  # MB of all its processes, shared pages counted once


def load(script: Path, port: int, connections: int, seconds: int) -> Load:
    """Ask a server for some seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout=30", f"-s{script}"]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", said)
    assert found, said
    requests, microseconds, p50, p99, errors = map(float, found.groups())
    return Load(requests / microseconds * 1e6, p50 / 1e3, p99 / 1e3, int(errors))


def memory(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MB."""
    if not Path("/proc").exists():
        return math.nan  # Linux alone tells it
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / 1024 + sum(memory(int(child)) for child in children)


def first_answer(port: int, body: bytes, process: subprocess.Popen[bytes]) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/predict", content=body, headers=JSON)
            if answer.status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise SystemExit("error: a server gave no answer")


def measure(
    module: str, scripts: dict[str, Path], body: bytes, seconds: int
) -> tuple[Started, list[Load]]:
    """Start a server and ask it in every way."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    environment = {
        **os.environ,
        "PORT": str(port),
        "MODEL_URI": "models/classifier",
        "CHECKPOINT": "models/checkpoint",
        "LOG_LEVEL": "warning",
        "MAX_QUEUE": "100000",
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first_answer(port, body, process)
        took = time.perf_counter() - began
        load(scripts["single"], port, 64, seconds)  # it warms up
        loads = [load(scripts["single"], port, connections, seconds) for connections in CONNECTIONS]
        loads.append(load(scripts["bulk"], port, BULK_CONNECTIONS, seconds))
        return Started(took, memory(process.pid)), loads
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def onnx_runtime(folder: Path) -> Callable[[Sequence[str]], object]:
    """Return a classifier in fp32, that sorts by length to pad little."""
    torch.onnx.export(
        Probability(
            AutoModelForSequenceClassification.from_pretrained(
                "models/checkpoint", dtype=torch.float32
            )
        ).eval(),
        (),
        folder / "model.onnx",
        kwargs=dict.fromkeys(("input_ids", "attention_mask"), torch.ones(2, 16, dtype=torch.long)),
        dynamic_shapes=dict.fromkeys(
            ("input_ids", "attention_mask"), dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
        ),
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpus()
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    tokens = Tokenizer.from_file("models/classifier/tokenizer.json")
    tokens.enable_padding(pad_id=0, pad_to_multiple_of=GRID)

    def classify(texts: Sequence[str]) -> list[object]:
        ordered = sorted(texts, key=len)
        scores = []
        for start in range(0, len(ordered), ROWS):
            encoded = tokens.encode_batch_fast(ordered[start : start + ROWS])
            ids = np.array([e.ids for e in encoded])
            mask = np.array([e.attention_mask for e in encoded])
            scores.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        return scores

    return classify


def alone(classify: Callable[[Sequence[str]], object], texts: list[str], seconds: float) -> float:
    """Return tweets per second of an engine, asked for BULK of them at a time."""
    classify(texts)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        start = done % (len(texts) - BULK + 1)
        classify(texts[start : start + BULK])
        done += BULK
    return done / (time.perf_counter() - began)


def main() -> None:
    """Measure and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source", nargs="?", default="data/tweets.csv")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=4, help="of each load")
    chosen = arguments.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is needed: apt-get install wrk")
    logging.set_verbosity_error()
    texts = pd.read_csv(chosen.source)["text"].sample(1024, random_state=0).tolist()
    servers: dict[str, list[tuple[Started, list[Load]]]] = {name: [] for name in SERVERS}
    engines: dict[str, list[float]] = {"engine": [], "ONNX Runtime fp32": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = [json.dumps({"text": text}) for text in texts]
        bulk = [
            json.dumps({"instances": [{"text": text} for text in texts[start : start + BULK]]})
            for start in range(0, len(texts), BULK)
        ]
        scripts: dict[str, Path] = {}
        for kind, lines in (("single", bodies), ("bulk", bulk)):
            (folder / f"{kind}.txt").write_text("\n".join(lines) + "\n")
            scripts[kind] = folder / f"{kind}.lua"
            scripts[kind].write_text(SCRIPT.replace("BODIES", str(folder / f"{kind}.txt")))
        classifiers = {
            "engine": Classifier(Path("models/classifier")).probabilities,
            "ONNX Runtime fp32": onnx_runtime(folder),
        }
        with Progress(
            desc="measured", total=chosen.rounds * (len(SERVERS) + 2), unit=" parts"
        ) as bar:
            for _ in range(chosen.rounds):
                for label, module in SERVERS.items():
                    first = bodies[0].encode()
                    servers[label].append(measure(module, scripts, first, chosen.seconds))
                    bar.update()
                for label, classify in classifiers.items():
                    engines[label].append(alone(classify, texts, chosen.seconds))
                    bar.update()
    print_tables(servers, engines)


def print_tables(
    servers: dict[str, list[tuple[Started, list[Load]]]], engines: dict[str, list[float]]
) -> None:
    """Print medians over the rounds; ratios are of a round's own figures."""
    median = statistics.median
    print(f"{'':10}{'connections':>12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}")
    for place, label in enumerate([*map(str, CONNECTIONS), f"bulk of {BULK}"]):
        for server, rounds in servers.items():
            loads = [of_round[1][place] for of_round in rounds]
            print(
                f"{server:10}{label:>12}{median(load.rate for load in loads):12.1f}"
                f"{median(load.p50 for load in loads):9.1f}"
                f"{median(load.p99 for load in loads):9.1f}{sum(load.errors for load in loads):8}"
            )
    print(f"\n{'':10}{'first answer s':>16}{'memory MB':>11}")
    for server, rounds in servers.items():
        print(
            f"{server:10}{median(r[0].seconds for r in rounds):16.2f}"
            f"{median(r[0].memory for r in rounds):11.0f}"
        )
    print()
    for engine, rates in engines.items():
        print(f"{engine} alone: {median(rates):.0f} tweets/s")

    def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
        return f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}x"

    at_64 = {n: [r[1][2].rate for r in rounds] for n, rounds in servers.items()}
    for rival in ("replaced", "by hand"):
        print(f"ours at 64 connections: {ratio(at_64['ours'], at_64[rival])} {rival}")
    bulk = [r[1][-1].rate * BULK for r in servers["ours"]]
    print(f"ours in bulk: {ratio(bulk, engines['engine'])} the engine alone")
    print(f"engine: {ratio(engines['engine'], engines['ONNX Runtime fp32'])} ONNX Runtime fp32")


if __name__ == "__main__":
    main()
