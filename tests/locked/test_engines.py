"""Each engine answers as the network is defined, within what is allowed."""

import contextlib
import json
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.hashing import sha256_of
from locked import engines
from locked.classifier import TOLERANCE, Classifier
from locked.engines import ENGINES, Name
from locked.manifest import MANIFEST, NETWORK, LockedModelError
from tests.conftest import CORPUS, Project

MEAN = 0.02  # of the differences, at most


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_answers_as_the_reference(pipeline: Project, engine: Name) -> None:
    pytest.importorskip(engine)  # OpenVINO is installed where it is the faster one
    from stages.shared.onnx_reference import evaluator

    folder = pipeline.folder / "models/classifier"
    texts = pd.read_csv(CORPUS)["text"].head(300).tolist()
    model = Classifier(folder, 2, engine)
    model.check()
    difference = np.abs(
        model.uncalibrated(texts) - Classifier(folder, 2, evaluator).uncalibrated(texts)
    )
    assert difference.mean() < MEAN
    assert difference.max() < TOLERANCE


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells")
@pytest.mark.parametrize("engine", ENGINES)
def test_no_thread_is_bound_to_a_core(pipeline: Project, engine: Name) -> None:
    """Else several processes share the first cores, and leave the others idle."""
    pytest.importorskip(engine)
    model = Classifier(pipeline.folder / "models/classifier", 2, engine)
    asking = threading.Thread(target=model.probabilities, args=(["Flood in the valley"] * 1000,))
    asking.start()
    bound = set()
    while asking.is_alive():
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # a thread that has ended
                bound.add(frozenset(os.sched_getaffinity(int(task.name))))
    assert bound == {frozenset(os.sched_getaffinity(0))}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_network_is_named(classifier_folder: Path, engine: Name) -> None:
    pytest.importorskip(engine)
    network, path = classifier_folder / NETWORK, classifier_folder / MANIFEST
    network.write_bytes(network.read_bytes()[:1000])
    manifest = json.loads(path.read_text())
    manifest["files"][NETWORK] = sha256_of(network)
    path.write_text(json.dumps(manifest))
    with pytest.raises(LockedModelError, match=rf"^{network} cannot be loaded: .+$"):
        Classifier(classifier_folder, 1, engine)


def test_the_engine_is_chosen_by_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "Path", {"/proc/cpuinfo": tmp_path / "cpuinfo"}.__getitem__)
    assert engines.fastest() == "onnxruntime"  # no Linux
    for flags, engine in (("avx2 avx_vnni", "openvino"), ("avx2", "onnxruntime")):
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n")
        assert engines.fastest() == engine
