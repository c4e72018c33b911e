"""Speed of the server beside the design it replaces and a rival written by hand.

    python -m tests.bench.serve [SOURCE] [--rounds N] [--seconds S]

- ours: `python -m serve`.
- logging: the same with a log of predictions.
- replaced: FastAPI and transformers, fp32, padded to 128 tokens, one tweet at a time.
- by hand: FastAPI that batches in its own process, with this project's engine.

All answer from the same trained weights. Each round starts them one after another, so that a
slower minute of the machine meets all alike; wrk asks. The engines are measured alone, in process,
beside the other ways to compute these weights, each with its differences to the reference.
"""

import argparse
import importlib.util
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
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from onnxruntime import quantization
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from common.progress import Progress
from locked import engines
from locked.classifier import Classifier
from locked.cpus import cpus
from locked.engines import Engine
from stages.export.stage import Probability, write_network
from stages.shared import exact
from stages.shared.onnx_reference import evaluator
from stages.shared.params import Compute
from stages.train.machine import processor

Answers = npt.NDArray[np.float32]

SERVERS = {
    "ours": "serve",
    "logging": "serve",
    "replaced": "tests.bench.rivals.replaced",
    "by hand": "tests.bench.rivals.batching",
}
CONNECTIONS = (1, 8, 64, 256)
BULK = 256  # tweets
BULK_CONNECTIONS = 2
CALIBRATION = 300  # tweets that other tools take their ranges from
MODEL = Path("models/classifier")
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
    module: str, scripts: dict[str, Path], body: bytes, seconds: int, **settings: str
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
        **settings,
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


def rivals(folder: Path, texts: Sequence[str]) -> dict[str, Callable[[Sequence[str]], Answers]]:
    """Return every way to compute the trained weights that this machine has, ours first.

    All are asked with the same batches of equal lengths. Those quantised by other tools take their
    ranges from `texts`.
    """
    whole = str(folder / "fp32.onnx")
    checkpoint = Path("models/checkpoint")
    network = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    write_network(Probability(network).eval(), Path(whole))
    tokens = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    inputs = [
        {"input_ids": np.array([e.ids]), "attention_mask": np.array([e.attention_mask])}
        for e in map(tokens.encode, texts[:CALIBRATION])
    ]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        left = iter(inputs)

        def get_next(self) -> object:
            return next(self.left, None)

    static, dynamic = str(folder / "static.onnx"), str(folder / "dynamic.onnx")
    quantization.quantize_dynamic(whole, dynamic)
    quantization.quantize_static(whole, static, Reader())
    files = {
        "OpenVINO fp32": (engines.openvino, whole),
        "ONNX Runtime fp32": (engines.onnxruntime, whole),
        "ONNX Runtime, its static int8": (engines.onnxruntime, static),
        "ONNX Runtime, its dynamic int8*": (engines.onnxruntime, dynamic),
    }
    if importlib.util.find_spec("nncf"):
        import nncf
        import openvino as ov

        quantised = nncf.quantize(
            ov.convert_model(whole),
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
        )
        ov.save_model(quantised, folder / "nncf.xml", compress_to_fp16=False)
        files["OpenVINO, NNCF's static int8"] = engines.openvino, str(folder / "nncf.xml")

    def classify(load: Callable[[Path, int], Engine]) -> Callable[[Sequence[str]], Answers]:
        return Classifier(MODEL, engine=load).probabilities

    def loading(load: Callable[[Path, int], Engine], file: str) -> Callable[[Path, int], Engine]:
        return lambda _, threads: load(Path(file), threads)

    ours = engines.fastest()
    other = next(name for name in engines.ENGINES if name != ours)
    return {
        f"ours ({ours})": classify(engines.ENGINES[ours]),
        f"ours, by {other}": classify(engines.ENGINES[other]),
        **{name: classify(loading(load, file)) for name, (load, file) in files.items()},
    }


def alone(classify: Callable[[Sequence[str]], Answers], texts: list[str], seconds: float) -> float:
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
    speeds: dict[str, list[float]] = defaultdict(list)
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
        exact.use_threads(Compute(exact=False, threads=1))  # the reference has threads of its own
        truth = Classifier(MODEL, engine=evaluator).probabilities(texts)
        classifiers = rivals(folder, texts)
        off = {name: np.abs(classify(texts) - truth) for name, classify in classifiers.items()}
        parts = chosen.rounds * (len(SERVERS) + len(classifiers))
        with Progress(desc="measured", total=parts, unit=" parts") as bar:
            for _ in range(chosen.rounds):
                for label, module in SERVERS.items():
                    first = bodies[0].encode()
                    log = {"PREDICTION_LOG": str(folder / "log"), "PREDICTION_LOG_KEY": "k" * 16}
                    settings = log if label == "logging" else {}
                    servers[label].append(
                        measure(module, scripts, first, chosen.seconds, **settings)
                    )
                    bar.update()
                for label, classify in classifiers.items():
                    speeds[label].append(alone(classify, texts, chosen.seconds))
                    bar.update()
    print_tables(servers, speeds, off)


def print_tables(
    servers: dict[str, list[tuple[Started, list[Load]]]],
    speeds: dict[str, list[float]],
    off: dict[str, npt.NDArray[np.float32]],
) -> None:
    """Print medians over the rounds; ratios are of a round's own figures."""
    median = statistics.median
    print(f"on {processor()}, {cpus()} CPUs")
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

    def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
        return f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}x"

    ours = next(iter(speeds.values()))
    print(f"\n{'':32}{'tweets/s':>9}{'ours':>8}{'off by, mean':>14}{'largest':>9}")
    for engine, rates in speeds.items():
        print(
            f"{engine:32}{median(rates):9.0f}{ratio(ours, rates):>8}"
            f"{off[engine].mean():14.4f}{off[engine].max():9.4f}"
        )
    print("* an answer depends on what is asked along with it\n")
    at_64 = {n: [r[1][2].rate for r in rounds] for n, rounds in servers.items()}
    print(f"logging at 64 connections: {ratio(at_64['logging'], at_64['ours'])} ours")
    for rival in ("replaced", "by hand"):
        print(f"ours at 64 connections: {ratio(at_64['ours'], at_64[rival])} {rival}")
    bulk = [r[1][-1].rate * BULK for r in servers["ours"]]
    print(f"ours in bulk: {ratio(bulk, ours)} the engine alone")


if __name__ == "__main__":
    main()
