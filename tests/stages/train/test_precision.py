"""The precision of the training."""

import pytest

from common.errors import InputError
from stages.train.precision import precision


def test_fp16_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"train.precision: fp16 needs a GPU"):
        precision("fp16", exact=False, config={})


def test_bf16_on_a_cpu_is_refused_where_results_are_to_be_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"train.precision: bf16 .* take fp32, or compute.exact"):
        precision("bf16", exact=True, config={})
    assert precision("bf16", exact=False, config={}) == "bf16"


@pytest.mark.parametrize(
    ("gpu", "capability", "cpu", "exact", "chosen"),
    [
        (True, (7, 5), {}, True, "fp16"),  # T4
        (True, (8, 0), {}, True, "bf16"),
        (False, None, {"avx512_bf16": True}, False, "bf16"),
        (False, None, {"avx512_bf16": True}, True, "no"),
        (False, None, {"avx512_bf16": False}, False, "no"),
    ],
)
def test_auto_takes_what_the_hardware_has(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    capability: tuple[int, int] | None,
    cpu: dict[str, bool],
    exact: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: cpu)
    assert precision("auto", exact, {}) == chosen
    if chosen == "fp16":
        assert precision("auto", exact, {"model_type": "deberta-v2"}) == "no"
