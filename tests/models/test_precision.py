"""Whether bfloat16 is faster, as measured; the measure itself is replaced here."""

from collections.abc import Callable, Iterator

import pytest
import torch

from models import precision

CPU = torch.device("cpu")


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Says how many seconds a layer takes in bfloat16 and float32, one value a call; the last goes on."""

    def set_seconds(rounded: list[float], exact: list[float]) -> None:
        values = {torch.bfloat16: list(rounded), torch.float32: list(exact)}

        def seconds(dtype: torch.dtype) -> float:
            return values[dtype].pop(0) if len(values[dtype]) > 1 else values[dtype][0]

        monkeypatch.setattr(precision, "seconds", seconds)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
        precision.faster_in_bfloat16.cache_clear()

    yield set_seconds
    precision.faster_in_bfloat16.cache_clear()


def test_what_is_faster_is_taken(taking: Callable[..., None]) -> None:
    taking([1.0], [2.0])
    assert precision.faster_in_bfloat16(CPU)
    taking([2.0], [1.0])  # a Xeon without AMX
    assert not precision.faster_in_bfloat16(CPU)
    taking([0.95], [1.0])  # too little to lose digits for
    assert not precision.faster_in_bfloat16(CPU)


def test_a_disturbed_round_does_not_count(taking: Callable[..., None]) -> None:
    taking([0.1, 9.0, 9.0, 1.0, 9.0], [0.01, 9.0, 2.0])  # the first call of each is preparation
    assert precision.faster_in_bfloat16(CPU)


def test_without_instructions_it_is_not_measured(taking: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    taking([1.0], [2.0])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not precision.faster_in_bfloat16(CPU)


def test_the_real_measure_gives_seconds() -> None:
    assert all(0 < precision.seconds(dtype) < 60 for dtype in (torch.float32, torch.bfloat16))
