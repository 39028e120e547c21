"""`--precision auto`: bf16 where it is faster, as measured; the measure itself is replaced here."""

from collections.abc import Callable, Iterator

import pytest
import torch

from training import precision
from training.config import Machine, Pace
from training.game import stage

CPU = torch.device("cpu")


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Says how many seconds a layer takes in bf16 and fp32, one value a call; the last goes on."""

    def set_seconds(bf16: list[float], fp32: list[float]) -> None:
        values = {torch.bfloat16: list(bf16), torch.float32: list(fp32)}

        def seconds(dtype: torch.dtype) -> float:
            return values[dtype].pop(0) if len(values[dtype]) > 1 else values[dtype][0]

        monkeypatch.setattr(precision, "seconds", seconds)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
        precision.faster_in_bf16.cache_clear()

    yield set_seconds
    precision.faster_in_bf16.cache_clear()


def test_what_is_faster_is_taken(taking: Callable[..., None]) -> None:
    taking([1.0], [2.0])
    assert stage(Machine(device="cpu"), Pace()).bf16
    taking([2.0], [1.0])  # a Xeon without AMX
    assert not stage(Machine(device="cpu"), Pace()).bf16
    taking([0.95], [1.0])  # too little to lose digits for
    assert not stage(Machine(device="cpu"), Pace()).bf16


def test_a_disturbed_round_does_not_count(taking: Callable[..., None]) -> None:
    taking([0.1, 9.0, 9.0, 1.0, 9.0], [0.01, 9.0, 2.0])  # the first call of each is preparation
    assert precision.faster_in_bf16(CPU)


def test_a_choice_is_not_measured(taking: Callable[..., None]) -> None:
    taking([2.0], [1.0])
    assert stage(Machine(device="cpu", precision="bf16"), Pace()).bf16
    taking([1.0], [2.0])
    assert not stage(Machine(device="cpu", precision="fp32"), Pace()).bf16


def test_without_instructions_it_is_not_measured(taking: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    taking([1.0], [2.0])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not precision.faster_in_bf16(CPU)


def test_the_real_measure_gives_seconds() -> None:
    assert all(0 < precision.seconds(dtype) < 60 for dtype in (torch.float32, torch.bfloat16))
