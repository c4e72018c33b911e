"""Speed of the server beside the design it replaces and a rival written by hand.

    python -m tests.bench.serve [SOURCE] [--rounds N] [--seconds S]

- ours: `python -m serve`.
- logging: the same with a prediction log.
- replaced: FastAPI and transformers, fp32, padded to 128 tokens, one tweet at a time.
- by hand: FastAPI that batches in its own process, with this project's engine.

All answer from the same trained weights. Each round starts them one after another, so that a
slower minute of the machine affects all alike; wrk sends the requests. The engines are measured
alone, in this process, each with its differences to the reference.
"""

import argparse
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import numpy.typing as npt
import pandas as pd

from common.progress import Progress
from locked import engines
from locked.classifier import Classifier
from locked.cpus import cpus
from stages.params import Compute
from stages.shared import arithmetic
from stages.shared.onnx_reference import evaluator
from stages.train.machine import processor
from tests.serve.running import free_port

SERVERS = {
    "ours": "serve",
    "logging": "serve",
    "replaced": "tests.bench.rivals.replaced",
    "by hand": "tests.bench.rivals.batching",
}
CONNECTIONS = (1, 8, 64, 256)
BULK = 256  # tweets
BULK_CONNECTIONS = 2
MODEL = Path("models/classifier")
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
    """Figures of wrk."""

    rate: float  # requests per second
    p50: float  # milliseconds
    p99: float  # milliseconds
    errors: int


class Round(NamedTuple):
    """Figures of a server in one round."""

    seconds: float  # from its start to its first answer
    memory: float  # MB of all its processes, shared pages counted once
    loads: list[Load]  # of each number of CONNECTIONS, then in bulk


def load(script: Path, port: int, connections: int, seconds: int) -> Load:
    """Send requests to a server for some seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout=30", f"-s{script}"]
    command += [f"http://127.0.0.1:{port}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    assert match, output
    requests, microseconds, p50, p99, errors = map(float, match.groups())
    return Load(requests / microseconds * 1e6, p50 / 1e3, p99 / 1e3, int(errors))


def memory(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MB."""
    if not Path("/proc").exists():
        return math.nan  # only Linux shows it
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / 1024 + sum(memory(int(child)) for child in children)


def first_answer(port: int, text: str, process: subprocess.Popen[bytes]) -> None:
    """Repeat a request until the server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{port}/predict"
            if httpx.post(url, json={"text": text}).status_code == 200:
                return
        time.sleep(0.02)
    raise SystemExit("error: a server gave no answer")


def measure(name: str, scripts: dict[str, Path], text: str, seconds: int, log: Path) -> Round:
    """Start a server and send it every load."""
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "MODEL_URI": str(MODEL),
        "CHECKPOINT": "models/checkpoint",
        "LOG_LEVEL": "warning",
        "MAX_QUEUE": "100000",
    }
    if name == "logging":
        environment |= {"PREDICTION_LOG": str(log), "PREDICTION_LOG_KEY": "k" * 16}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", SERVERS[name]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first_answer(port, text, process)
        seconds_to_answer = time.perf_counter() - start
        load(scripts["single"], port, 64, seconds)  # a warm-up
        loads = [load(scripts["single"], port, connections, seconds) for connections in CONNECTIONS]
        loads.append(load(scripts["bulk"], port, BULK_CONNECTIONS, seconds))
        return Round(seconds_to_answer, memory(process.pid), loads)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def engine_speed(classifier: Classifier, texts: list[str], seconds: float) -> float:
    """Return tweets per second of an engine that gets BULK of them at a time."""
    classifier.probabilities(texts)
    start, tweets = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        first = tweets % (len(texts) - BULK + 1)
        classifier.probabilities(texts[first : first + BULK])
        tweets += BULK
    return tweets / (time.perf_counter() - start)


def write_scripts(texts: list[str], folder: Path) -> dict[str, Path]:
    """Write wrk's scripts: one tweet, or BULK of them, in a request."""
    instances = [{"text": text} for text in texts]
    parts = [instances[start : start + BULK] for start in range(0, len(texts), BULK)]
    bodies: dict[str, list[Any]] = {"single": [*instances], "bulk": []}
    bodies["bulk"] += [{"instances": part} for part in parts]
    for kind, lines in bodies.items():
        (folder / f"{kind}.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))
        script = SCRIPT.replace("BODIES", str(folder / f"{kind}.txt"))
        (folder / f"{kind}.lua").write_text(script)
    return {kind: folder / f"{kind}.lua" for kind in bodies}


def main() -> None:
    """Measure and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source", nargs="?", default="data/tweets.csv")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=4, help="of each load")
    options = arguments.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk is needed: apt-get install wrk")
    texts = pd.read_csv(options.source)["text"].sample(1024, random_state=0).tolist()
    arithmetic.use_threads(Compute(exact=False, threads=1))  # the reference has its own
    truth = Classifier(MODEL, engine=evaluator).probabilities(texts)
    names: list[Any] = sorted(engines.ENGINES, key=lambda name: name != engines.fastest())
    classifiers = {name: Classifier(MODEL, engine=engines.ENGINES[name]) for name in names}
    differences = {n: np.abs(c.probabilities(texts) - truth) for n, c in classifiers.items()}
    servers: dict[str, list[Round]] = {name: [] for name in SERVERS}
    speeds: dict[str, list[float]] = {name: [] for name in classifiers}
    total = options.rounds * (len(SERVERS) + len(classifiers))
    with tempfile.TemporaryDirectory() as name, Progress(desc="measured", total=total) as bar:
        scripts = write_scripts(texts, Path(name))
        for _ in range(options.rounds):
            for label, rounds in servers.items():
                log = Path(name) / "log"
                rounds.append(measure(label, scripts, texts[0], options.seconds, log))
                bar.update()
            for label, classifier in classifiers.items():
                speeds[label].append(engine_speed(classifier, texts, options.seconds))
                bar.update()
    print_tables(servers, speeds, differences)


def print_tables(
    servers: dict[str, list[Round]],
    speeds: dict[str, list[float]],
    differences: dict[str, npt.NDArray[np.float32]],
) -> None:
    """Print medians over the rounds; ratios are of a round's own figures."""
    median = statistics.median
    print(f"on {processor()}, {cpus()} CPUs")
    print(f"{'':10}{'connections':>12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}")
    for place, label in enumerate([*map(str, CONNECTIONS), f"bulk of {BULK}"]):
        for server, rounds in servers.items():
            loads = [each.loads[place] for each in rounds]
            print(
                f"{server:10}{label:>12}{median(load.rate for load in loads):12.1f}"
                f"{median(load.p50 for load in loads):9.1f}"
                f"{median(load.p99 for load in loads):9.1f}{sum(load.errors for load in loads):8}"
            )
    print(f"\n{'':10}{'first answer s':>16}{'memory MB':>11}")
    for server, rounds in servers.items():
        seconds = median(each.seconds for each in rounds)
        print(f"{server:10}{seconds:16.2f}{median(each.memory for each in rounds):11.0f}")
    print(f"\n{'':12}{'tweets/s':>9}{'difference, mean':>18}{'largest':>9}")
    for engine, rates in speeds.items():
        off = differences[engine]
        print(f"{engine:12}{median(rates):9.0f}{off.mean():18.4f}{off.max():9.4f}")

    def ratio(ours: Iterable[float], theirs: Iterable[float]) -> str:
        return f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}x"

    at_64 = {name: [each.loads[2].rate for each in rounds] for name, rounds in servers.items()}
    print(f"\nlogging at 64 connections: {ratio(at_64['logging'], at_64['ours'])} ours")
    for rival in ("replaced", "by hand"):
        print(f"ours at 64 connections: {ratio(at_64['ours'], at_64[rival])} {rival}")
    bulk = [each.loads[-1].rate * BULK for each in servers["ours"]]
    print(f"ours in bulk: {ratio(bulk, next(iter(speeds.values())))} the engine alone")


if __name__ == "__main__":
    main()
