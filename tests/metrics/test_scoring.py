"""`score` whole: what it returns, from what, how it is cancelled, cached and refused. With the small extractor."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import metrics
from metrics import scoring
from metrics.extraction import one_pass
from models import InputError, LimitError, NotFoundError, WeightsUnavailable

ALL = ("fid", "kid", "prdc", "is", "fid_infinity")


def pictures(n: int, seed: int = 0, side: int = 16) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(40 * (seed % 3), 256, (n, 4, 4, 3), np.uint8)
    return np.repeat(np.repeat(coarse, side // 4, 1), side // 4, 2)


@pytest.fixture
def small(small: metrics.Extractor) -> metrics.Extractor:
    return small


def test_everything_from_one_pass_and_ready_for_json(small: metrics.Extractor) -> None:
    result = metrics.score(pictures(60), pictures(70, seed=1), metrics=ALL, extractor=small)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    names = {"fid", "kid", "precision", "recall", "density", "coverage", "is", "fid_infinity"}
    for name in names:
        low, high = result[name]["interval"]
        assert np.isfinite(result[name]["value"])
        assert low <= high
        assert low <= result[name]["value"] <= high
    assert set(result) - names == {"a", "b", "protocol", "extractor", "bootstrap", "seed", "versions"}
    assert (result["a"]["n"], result["b"]["n"]) == (60, 70)
    assert (result["protocol"], result["extractor"]) == ("pytorch-fid", "small")
    assert set(result["versions"]) == {"numpy", "pillow", "torch"}
    assert result["fid"]["reliable"] is True


def test_images_are_read_once_whatever_is_asked(small: metrics.Extractor) -> None:
    loads = []

    def loaders() -> object:
        for picture in pictures(40):
            yield lambda picture=picture: loads.append(1) or picture

    metrics.score(metrics.Images("counted", 40, loaders), pictures(40, 1), metrics=ALL, extractor=small)  # type: ignore[arg-type]
    assert len(loads) == 40


def test_the_first_images_of_a_set_score_as_a_set_of_their_own(small: metrics.Extractor) -> None:
    many, few = pictures(60), pictures(60)[:24]
    first = metrics.features(many, extractor=small).first(24)
    alone = metrics.features(few, extractor=small)
    assert first.statistics.n == 24
    assert first.statistics.extractor == "small"
    assert metrics.score(first, pictures(40, 1), extractor=small)["fid"]["value"] == pytest.approx(
        metrics.score(alone, pictures(40, 1), extractor=small)["fid"]["value"], rel=1e-9
    )
    with pytest.raises(InputError, match="statistics only"):
        metrics.features(many, extractor=small, keep=False).first(24)


def test_the_same_seed_gives_the_same_result_to_the_last_digit(small: metrics.Extractor) -> None:
    sets = [metrics.features(pictures(60, seed), extractor=small) for seed in (0, 1)]
    results = [metrics.score(*sets, metrics=("fid", "kid", "fid_infinity"), seed=seed) for seed in (5, 5, 6)]
    assert results[0] == results[1]
    assert results[0]["fid"]["value"] == results[2]["fid"]["value"]
    assert results[0]["fid"]["interval"] != results[2]["fid"]["interval"]


def test_folders_archives_arrays_statistics_and_features_agree(
    horses: Path, zebras: Path, small: metrics.Extractor, tmp_path: Path
) -> None:
    from PIL import Image

    arrays = [np.stack([np.asarray(Image.open(f)) for f in sorted(folder.iterdir())]) for folder in (horses, zebras)]
    expected = metrics.score(horses, zebras, extractor=small)["fid"]
    assert metrics.score(*arrays, extractor=small)["fid"] == expected
    bare, full = tmp_path / "bare.npz", tmp_path / "full.npz"
    metrics.statistics(zebras, extractor=small).save(bare)
    metrics.features(zebras, extractor=small).save(full)
    assert metrics.score(horses, full, extractor=small)["fid"] == expected
    from_statistics = metrics.score(horses, bare, extractor=small)["fid"]
    assert from_statistics["value"] == pytest.approx(expected["value"], rel=1e-9)
    assert from_statistics["interval"][0] > expected["interval"][0]  # only one side could be resampled
    with pytest.raises(InputError, match="holds statistics only"):
        metrics.score(horses, bare, metrics=("kid",), extractor=small)


def test_without_intervals_no_features_are_kept(small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    whole = one_pass.extract
    monkeypatch.setattr(
        one_pass, "extract", lambda *args, **named: kept.append(found := whole(*args, **named)) or found
    )
    result = metrics.score(pictures(40), pictures(40, 1), extractor=small, bootstrap=0)
    assert result["fid"]["interval"] is None
    assert [one.features for one in kept] == [None, None]


def test_past_the_feature_limit_fid_goes_on_and_the_others_say_so(
    small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = metrics.score(pictures(60), pictures(60, 1), extractor=small)["fid"]
    for module in ("sets.featuresets", "extraction.one_pass"):
        monkeypatch.setattr(f"metrics.{module}.FEATURE_LIMIT", 30)
    found = metrics.score(pictures(60), pictures(60, 1), extractor=small)["fid"]
    assert found["value"] == pytest.approx(expected["value"], rel=1e-9)
    assert found["interval"] is None
    with pytest.raises(LimitError, match="at most 30"):
        metrics.score(pictures(60), pictures(60, 1), metrics=("kid",), extractor=small)


def test_progress_counts_both_sets_and_cancels(small: metrics.Extractor) -> None:
    told: list[tuple[int, int]] = []
    metrics.score(
        pictures(10), pictures(7, 1), extractor=small, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(4, 17), (8, 17), (10, 17), (14, 17), (17, 17)]

    class Cancelled(Exception):
        pass

    def cancel(done: int, _total: int) -> None:
        if done >= 8:
            raise Cancelled

    with pytest.raises(Cancelled):
        metrics.score(pictures(100), pictures(7, 1), extractor=small, progress=cancel)
    told.clear()
    metrics.score(iter(pictures(5)), pictures(7, 1), extractor=small, progress=lambda d, t: told.append((d, t)))
    assert told[-1] == (12, 0)  # how many a stream holds is not known


def test_cancelling_leaves_no_decoding_thread(small: metrics.Extractor) -> None:
    before = set(threading.enumerate())
    stream = metrics.stream_features(metrics.open_images(pictures(50)), small, metrics.PROTOCOLS["pytorch-fid"])
    next(stream)
    stream.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("decode")]


def test_as_many_images_are_decoded_at_once_as_there_are_workers(small: metrics.Extractor) -> None:
    """Each loader waits for two others to be at work: with fewer threads none would ever get on."""
    meeting = threading.Barrier(3, timeout=300)

    def load() -> np.ndarray:
        meeting.wait()
        return pictures(1)[0]

    images = metrics.Images("meeting", 12, lambda: iter([load] * 12))
    found = list(metrics.stream_features(images, small, metrics.PROTOCOLS["pytorch-fid"], workers=3))
    assert sum(len(batch) for batch in found) == 12


def test_decoding_runs_ahead_but_not_away(small: metrics.Extractor) -> None:
    """A few batches, whatever the number of images: memory stays constant."""
    started = []

    def loaders() -> object:
        for index in range(1000):
            started.append(index)
            yield lambda: pictures(1)[0]

    stream = metrics.stream_features(metrics.Images("many", 1000, loaders), small, metrics.PROTOCOLS["clean-fid"])  # type: ignore[arg-type]
    next(stream)
    assert len(started) <= 4 * small.batch_size
    stream.close()


def test_features_are_kept_under_the_images_content(small: metrics.Extractor, horses: Path, tmp_path: Path) -> None:
    calls = []

    @dataclasses.dataclass(frozen=True)
    class Counting:
        name = "counting"
        side = small.side
        dimensions = small.dimensions
        precision = "float32"
        batch_size = 4

        def features(self, images: torch.Tensor) -> np.ndarray:
            calls.append(len(images))
            return small.features(images)

        def logits(self, features: np.ndarray) -> np.ndarray:
            return small.logits(features)

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in horses.iterdir():
        (copy / f"other-{file.name}").write_bytes(file.read_bytes())
    first = metrics.features(horses, extractor=Counting(), cache=tmp_path / "cache")
    again = metrics.features(copy, extractor=Counting(), cache=tmp_path / "cache")
    assert sum(calls) == 16
    assert np.array_equal(first.features, again.features)
    metrics.features(horses, extractor=Counting(), cache=tmp_path / "cache", protocol="clean-fid")
    assert sum(calls) == 32, "another protocol is another set of features"
    next(copy.iterdir()).unlink()
    assert metrics.features(copy, extractor=Counting(), cache=tmp_path / "cache").statistics.n == 15
    assert sum(calls) == 47
    for kept in (tmp_path / "cache").iterdir():
        kept.write_bytes(kept.read_bytes()[:-100])
    assert metrics.features(copy, extractor=Counting(), cache=tmp_path / "cache").statistics.n == 15
    assert sum(calls) == 62, "a damaged file is made again"
    metrics.features(copy, extractor=Counting(), cache=tmp_path / "cache")
    assert sum(calls) == 62


def test_what_the_sets_make_impossible_is_said_before_any_image_is_read(
    small: metrics.Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> Iterator[metrics.Loader]:
        raise AssertionError("an image was read")

    unread = metrics.Images("unread", 40, never)
    bare = metrics.statistics(pictures(30), extractor=small)
    clean = metrics.features(pictures(30), protocol="clean-fid", extractor=small)
    other = dataclasses.replace(small, name="other")  # type: ignore[type-var]
    longer = dataclasses.replace(small, dimensions=7)  # type: ignore[type-var]
    no_classifier = metrics.InceptionExtractor(None, None, "float32", torch.device("cpu"), 8)  # type: ignore[arg-type]
    for named, kind, message in [
        ({"b": clean}, InputError, r"protocol \(pytorch-fid and clean-fid\)"),
        ({"b": bare, "extractor": other}, InputError, r"extractor \(other and small\)"),
        ({"b": bare, "extractor": longer}, InputError, "Features of 7 and 24 dimensions"),
        ({"b": bare, "metrics": ("fid", "kid")}, InputError, "holds statistics only"),
        ({"b": bare, "metrics": ("fid_infinity", "prdc")}, InputError, "holds statistics only"),
        ({"b": unread, "protocol": "legacy"}, InputError, "pytorch-fid or clean-fid"),
        ({"b": unread, "seed": -1}, InputError, "A seed is a whole number"),
        ({"metrics": ("is",), "extractor": no_classifier}, WeightsUnavailable, "GAN_INCEPTION_WEIGHTS"),
    ]:
        with pytest.raises(kind, match=message):
            metrics.score(unread, **{"extractor": small} | named)  # type: ignore[arg-type]
    monkeypatch.setattr("metrics.sets.featuresets.FEATURE_LIMIT", 39)
    with pytest.raises(LimitError, match="unread has 40 images"):
        metrics.score(unread, bare, metrics=("fid_infinity",), extractor=small)


def test_openvino_is_among_the_versions_where_it_ran_the_network(small: metrics.Extractor) -> None:
    compiled = metrics.InceptionExtractor(None, None, "float32", torch.device("cpu"), 8, "openvino")  # type: ignore[arg-type]
    assert "openvino" not in scoring.versions(small)
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    assert scoring.versions(compiled)["openvino"] == importlib.metadata.version("openvino")


def test_sets_too_small_broken_or_unlike_are_errors(small: metrics.Extractor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 images to have a covariance; this one has 1"):
        metrics.score(pictures(1), pictures(5), extractor=small)
    with pytest.raises(InputError, match="holds no image"):
        metrics.score(pictures(5), pictures(5)[:0], extractor=small)
    with pytest.raises(NotFoundError):
        metrics.score(pictures(5), tmp_path / "missing", extractor=small)
    clean = metrics.statistics(pictures(9), protocol="clean-fid", extractor=small)
    with pytest.raises(InputError, match="differ in their protocol"):
        metrics.score(pictures(9), clean, extractor=small)

    class Broken(type(small)):  # type: ignore[misc]
        def features(self, images: torch.Tensor) -> np.ndarray:
            return super().features(images) * np.nan

    with pytest.raises(InputError, match="not finite"):
        metrics.score(pictures(5), pictures(5), extractor=Broken())


def test_one_picture_a_thousand_times_has_defined_scores(small: metrics.Extractor) -> None:
    same = np.repeat(pictures(1, side=4), 1000, axis=0)
    result = metrics.score(same, same, metrics=ALL, extractor=small, bootstrap=20)
    assert result["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert result["kid"]["value"] == pytest.approx(0, abs=1e-6)
    assert result["is"]["value"] == pytest.approx(1, rel=1e-6)
    assert result["density"]["value"] == 0
    json.dumps(result, allow_nan=False)


def test_wrong_parameters_say_what_would_be_right(small: metrics.Extractor) -> None:
    sets = (pictures(5), pictures(5, 1))
    for named, message in [
        ({"metrics": ("fid", "ssim")}, "Unknown metric 'ssim': use any of fid"),
        ({"metrics": ()}, "at least one metric"),
        ({"metrics": "fid"}, "in a list"),
        ({"protocol": "legacy"}, "pytorch-fid or clean-fid"),
        ({"bootstrap": -1}, "from 0 to 10,000"),
    ]:
        with pytest.raises(InputError, match=message):
            metrics.score(*sets, extractor=small, **named)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Only Inception Score does without"):
        metrics.score(sets[0], extractor=small)
    assert metrics.score(pictures(20), metrics=("is",), extractor=small)["b"] is None
    with pytest.raises(InputError, match="float32 or bfloat16 or int8"):
        metrics.extractor(precision="float16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="torch or openvino"):
        metrics.extractor(backend="onnx")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1 image"):
        metrics.extractor(batch_size=-8)


def test_inception_score_without_a_classifier_says_which_file(small: metrics.Extractor) -> None:
    found = metrics.features(pictures(20), extractor=small)
    network = metrics.InceptionExtractor(
        None,  # type: ignore[arg-type]
        None,
        "float32",
        torch.device("cpu"),
        8,
        name=small.name,
        dimensions=small.dimensions,
    )
    with pytest.raises(WeightsUnavailable, match="GAN_INCEPTION_WEIGHTS"):
        metrics.score(found, metrics=("is",), extractor=network)


def test_what_is_public_is_listed_and_exists() -> None:
    assert metrics.__all__ == sorted(metrics.__all__, key=lambda name: (name.islower(), not name.isupper(), name))
    assert all(hasattr(metrics, name) for name in metrics.__all__)
