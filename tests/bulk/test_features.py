"""Statistics out of a bucket are those of `metrics`, to the last digit, and shards are sets of images too."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pytest
from obstore.store import from_url

import metrics
from bulk import features, photos
from bulk.cluster import Actors
from bulk.command import main
from bulk.pipeline import Report
from bulk.run import Plan
from bulk.sums import Measured
from metrics import Statistics
from models import InputError, WeightsUnavailable
from tests.bulk.conftest import begun


@pytest.fixture(scope="module")
def weights() -> None:
    try:
        metrics.weights_file()
    except WeightsUnavailable as error:
        pytest.skip(str(error))


def test_the_statistics_of_a_bucket_are_those_of_metrics(
    weights: None, bucket: str, horses: list[Path], tmp_path: Path
) -> None:
    """Eight photos and, in a shard, eight more beside a broken one: batches of eight, as those of the whole set are."""
    (tmp_path / "set").mkdir()
    store = from_url(f"{bucket}/horses", client_options={"allow_http": True})
    for horse in horses[:8]:
        obstore.put(store, horse.name, horse.read_bytes())
        (tmp_path / "set" / horse.name).write_bytes(horse.read_bytes())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for horse in horses[8:16]:
            archive.add(horse, horse.name)
            (tmp_path / "set" / f"z{horse.name}").write_bytes(horse.read_bytes())
        broken = tarfile.TarInfo("z.jpg")
        archive.addfile(broken, io.BytesIO())
    obstore.put(store, "shard.tar", buffer.getvalue())
    arguments = ["features", f"{bucket}/horses", f"{bucket}/sets/real.npz", "--keep", "--actors", "2"]
    with begun(*arguments) as process:
        said = process.communicate()[1]
    assert process.returncode == 3, said
    sets = from_url(f"{bucket}/sets", client_options={"allow_http": True})
    found = bytes(obstore.get(sets, "real.npz").bytes())
    assert b"shard.tar/z.jpg is empty" in bytes(obstore.get(sets, "errors.jsonl").bytes())
    assert [item["path"] for items in obstore.list(sets) for item in items] == ["errors.jsonl", "real.npz"]
    assert main(arguments) == 0, "nothing is left to do"
    (tmp_path / "found.npz").write_bytes(found)
    expected = metrics.features(tmp_path / "set", extractor=metrics.extractor(device="cpu"))
    with np.load(tmp_path / "found.npz") as file:
        assert np.array_equal(file["mu"], expected.statistics.mu)
        assert np.array_equal(file["sigma"], expected.statistics.sigma)
        assert np.array_equal(file["features"], expected.features)
    assert Statistics.load(tmp_path / "found.npz").origin == expected.statistics.origin


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("real.npz", (".", "real.npz")),
        ("/real.npz", ("/", "real.npz")),
        ("a/b.npz", ("a", "b.npz")),
        ("s3://sets/b.npz", ("s3://sets", "b.npz")),
        ("s3://sets/a/b.npz", ("s3://sets/a", "b.npz")),
    ],
)
def test_where_a_file_is_written(written: str, parts: tuple[str, str]) -> None:
    assert features._parts(written) == parts


@pytest.mark.parametrize("written", ["real", "real.npy", "s3://sets.npz", "sets/"])
def test_a_file_of_another_name_is_refused(written: str) -> None:
    with pytest.raises(InputError, match=r"ends in \.npz|is no place"):
        features._parts(written)


def test_a_run_that_was_ended_goes_on_where_it_put_its_sums_down(
    horses: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that are through are not read again, and what was broken in them is not forgotten."""
    (tmp_path / "set").mkdir()
    for number in range(130):
        (tmp_path / "set" / f"{number:03}.jpg").write_bytes(horses[0].read_bytes() if number else b"")
    read = photos.Reader(str(tmp_path / "set"))
    worked_on: list[str] = []
    ends = iter([OSError("the machine is gone")])

    def measured(pieces: list[photos.Piece], *_: object) -> Iterator[Report]:
        for piece in pieces:
            if piece.names[0] == "128.jpg" and (error := next(ends, None)):
                raise error
            worked_on.extend(piece.names)
            broken = [(name, one) for name, one in read(piece) if isinstance(one, str)]
            numbers = [int(name[:3]) for name in piece.names]
            rows = np.array([[number, number**2 % 7] for number in numbers if number], np.float32)
            yield Report(len(piece.names), tuple(broken), Measured((rows,), "small", "float32", 2))

    monkeypatch.setattr(features, "reports", measured)
    monkeypatch.setattr(features, "PUT_DOWN_EVERY_S", 0)
    monkeypatch.setattr(features.Shipped, "of", lambda path: None)
    monkeypatch.setattr(metrics, "weights_file", lambda: None)
    out = tmp_path / "out" / "real.npz"
    with pytest.raises(OSError, match="gone"):
        list(plan_of(tmp_path).work(Actors(1, False)))
    plan = plan_of(tmp_path)
    assert (plan.total, plan.done) == (130, 128)
    found = [report.broken for report in plan.work(Actors(1, False))]
    assert found[0] == (("000.jpg", "000.jpg is empty (0 bytes): send a whole image file."),)
    assert worked_on == [f"{number:03}.jpg" for number in range(130)]
    rows = np.array([[number, number**2 % 7] for number in range(1, 130)])
    np.testing.assert_allclose(Statistics.load(out).sigma, np.cov(rows.T), rtol=1e-12)
    assert [path.name for path in out.parent.iterdir()] == ["real.npz"]
    assert plan_of(tmp_path).total == 0


def plan_of(folder: Path) -> Plan:
    return features.features(str(folder / "set"), str(folder / "out" / "real.npz"))
