"""Statistics files: what is written is read again, and every broken one is a sentence that names it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import metrics
from models import InputError, NotFoundError


class Bomb:
    """A pickle that would leave a mark if it were ever run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.mark),)


def whole(n: int = 9, d: int = 3) -> dict[str, object]:
    features = np.random.default_rng(0).normal(size=(n, d))
    return {"mu": features.mean(0), "sigma": np.cov(features, rowvar=False), "n": n, "features": features}


def refused(path: Path, message: str) -> None:
    for load in (metrics.Statistics.load, metrics.FeatureSet.load):
        if load is metrics.Statistics.load and "features" in message:
            continue  # they are not read there
        with pytest.raises(InputError, match=message) as caught:
            load(path)
        assert path.name in caught.value.message


MEMBERS: list[tuple[dict[str, object], str]] = [
    ({"mu": None}, "without mu"),
    ({"mu": None, "sigma": None}, "without mu and sigma"),
    ({"sigma": np.eye(4)}, r"mu is \[3\] and sigma \[4, 4\]"),
    ({"mu": np.zeros((3, 1))}, r"mu is \[3, 1\]"),
    ({"mu": np.float64(3.0)}, r"mu is \[\]"),
    ({"mu": np.full(3, np.nan)}, "not finite"),
    ({"sigma": np.full((3, 3), np.inf)}, "not finite"),
    ({"mu": np.full(3, 1e200)}, "not finite, or beyond 1e100"),
    ({"sigma": 1e300 * np.eye(3)}, "not finite, or beyond 1e100"),
    ({"sigma": np.arange(9.0).reshape(3, 3)}, "no covariance"),
    ({"sigma": -np.eye(3)}, "no covariance"),
    ({"mu": np.zeros(3, complex)}, "mu holds complex128, not numbers"),
    ({"mu": np.array(["a", "b", "c"])}, "mu holds <U1, not numbers"),
    ({"mu": np.array([print, 1, 2], dtype=object)}, "does not hold FID statistics"),
    ({"n": 0}, "n = 0: that is no number of images"),
    ({"n": 1}, "n = 1: that"),
    ({"n": -7}, "n = -7: that"),
    ({"n": 9.5}, "n = 9.5: that"),
    ({"n": np.inf}, "n = inf: that"),
    ({"n": [9, 9]}, r"n = \[9, 9\]: that"),
    ({"n": "nine"}, "n holds <U4, not numbers"),
    ({"protocol": 3}, "protocol is not one string"),
    ({"extractor": ["a", "b"]}, "extractor is not one string"),
    ({"features": np.zeros((8, 3))}, "features of shape .* do not belong together"),
    ({"features": np.zeros((9, 3)), "n": None}, "features of shape .* do not belong together"),
    ({"features": np.zeros(9)}, "features of shape .* do not belong together"),
    ({"features": np.array(["a"])}, "features holds <U1, not numbers"),
]


@pytest.mark.parametrize("index", range(len(MEMBERS)))
def test_a_wrong_member_is_named(index: int, tmp_path: Path) -> None:
    changed, message = MEMBERS[index]
    np.savez(
        tmp_path / "wrong.npz", **{name: value for name, value in (whole() | changed).items() if value is not None}
    )
    if "not finite" in message:  # said where the numbers are, before the file's name is known
        with pytest.raises(InputError, match=message):
            metrics.Statistics.load(tmp_path / "wrong.npz")
    elif "mu [d]" in message.replace("\\", ""):
        with pytest.raises(InputError, match=message):
            metrics.FeatureSet.load(tmp_path / "wrong.npz")
    else:
        refused(tmp_path / "wrong.npz", message)


@pytest.mark.parametrize("kind", ["text", "empty", "array", "bytes inside", "cut", "one byte", "locked", "too large"])
def test_what_is_no_archive_of_arrays_is_refused(kind: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **whole(300, 40))  # type: ignore[arg-type]
    data = bytearray(buffer.getvalue())
    path = tmp_path / "broken.npz"
    if kind == "one byte":
        data[200] ^= 0xFF
    elif kind == "locked":  # the flag of an encrypted member, in both of its headers
        for start in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
            data[start] |= 1
    elif kind == "array":
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        data = bytearray(buffer.getvalue())
    elif kind in ("bytes inside", "too large"):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(
                "mu.npy" if kind == "too large" else "mu", header.getvalue() if kind == "too large" else b"x"
            )
            archive.writestr("sigma", b"text")
        data = bytearray(buffer.getvalue())
    path.write_bytes({"text": b"text", "empty": b"", "cut": bytes(data[:-400])}.get(kind, bytes(data)))
    refused(path, "does not hold FID statistics")


def test_a_pickle_in_a_file_is_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "hostile.npz", mu=np.array([Bomb(tmp_path / "mark")], dtype=object), sigma=np.eye(1))
    refused(tmp_path / "hostile.npz", "does not hold FID statistics")
    assert not (tmp_path / "mark").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no statistics file"):
        metrics.Statistics.load(tmp_path / "missing.npz")


@pytest.mark.parametrize("n", [None, 9])
def test_what_is_saved_is_loaded(n: int | None, tmp_path: Path) -> None:
    held = whole()
    kept = metrics.Statistics(held["mu"], held["sigma"], n, "clean-fid", "small", "bfloat16")  # type: ignore[arg-type]
    kept.save(tmp_path / "kept.npz")
    found = metrics.Statistics.load(tmp_path / "kept.npz")
    assert (found.n, found.protocol, found.extractor, found.precision) == (n, "clean-fid", "small", "bfloat16")
    assert np.array_equal(found.mu, kept.mu)
    assert np.array_equal(found.sigma, kept.sigma)


def test_a_bare_float32_file_of_others_is_taken(tmp_path: Path) -> None:
    held = whole()
    np.savez(tmp_path / "bare.npz", mu=np.float32(held["mu"]), sigma=np.float32(held["sigma"]))
    found = metrics.FeatureSet.load(tmp_path / "bare.npz")
    assert found.features is None
    assert found.statistics.n is None
    assert found.statistics.mu.dtype == found.statistics.sigma.dtype == np.float64
