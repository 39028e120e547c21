"""The same images and the real weights through the published packages: pytorch-fid, clean-fid, torch-fidelity.

Each package reads, resizes and computes with its own code; only the download of its weights is replaced by ours. FID
is compared to 1e-4 relative, single features to 1e-4 of the largest.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import metrics
from metrics.sets.featuresets import of_features
from metrics.sets.moments import Statistics
from models import InputError

FEW = 6  # images of each set: the packages' networks do five a second


@pytest.fixture(scope="module")
def published_network(
    build_published: Callable[[dict[str, Tensor]], nn.Module], published_state: dict[str, Tensor]
) -> nn.Module:
    return build_published(published_state)


@pytest.fixture(scope="module")
def folders(horses: Path, zebras: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of photographs: horses at 256 pixels; zebras of mixed sizes, one of them grey."""
    from PIL import Image

    root = tmp_path_factory.mktemp("sets")
    for name, source in (("a", horses), ("b", zebras)):
        (root / name).mkdir()
        for index, file in enumerate(sorted(source.iterdir())[:FEW]):
            image = Image.open(file)
            if name == "b":
                image = image.resize((200 + 17 * index, 310 - 11 * index))
            if name == "b" and index == 3:
                image = image.convert("L")
            image.save(root / name / f"{index:02}.png")
    return root / "a", root / "b"


@pytest.fixture(scope="module")
def patched_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Made-up classifiers are converted into a cache of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@contextlib.contextmanager
def theirs_quiet() -> Iterator[None]:
    """Deprecations and prints inside the packages are theirs."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        importlib.import_module("tests.torchvision_ops")  # their imports of torchvision work after this
        yield


def same_features(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert float(np.abs(ours - theirs).max()) < 1e-4 * float(np.abs(theirs).max())


@pytest.fixture(scope="module")
def ours(folders: tuple[Path, Path], inception: metrics.InceptionExtractor) -> tuple[metrics.FeatureSet, ...]:
    return tuple(metrics.features(folder, extractor=inception) for folder in folders)


def test_fid_is_pytorch_fids(
    folders: tuple[Path, Path],
    published_network: nn.Module,
    ours: tuple[metrics.FeatureSet, ...],
    tmp_path: Path,
) -> None:
    """Its reading, its resizing (inside its network), its statistics, its `sqrtm`; then statistics files both ways."""
    theirs = importlib.import_module("pytorch_fid.fid_score")
    published_network.resize_input, published_network.normalize_input = True, True
    try:
        with theirs_quiet():
            files = [sorted(folder.iterdir()) for folder in folders]
            found = [theirs.get_activations(some, published_network, 1, num_workers=0) for some in files]
    finally:
        published_network.resize_input, published_network.normalize_input = False, False
    for our_set, activations in zip(ours, found, strict=True):
        same_features(our_set.features, activations)
    few = [some[:, :256] for some in (ours[0].features, found[1])]  # of 2048, whose matrix square root takes a minute
    narrow = of_features("ours", few[0])
    saved = [tmp_path / "ours_a.npz", tmp_path / "theirs_b.npz"]
    narrow.save(saved[0])
    np.savez_compressed(saved[1], mu=few[1].mean(0), sigma=np.cov(few[1], rowvar=False))
    with theirs_quiet():
        read = [theirs.compute_statistics_of_path(str(path), None, FEW, 256, "cpu") for path in saved]
        expected = theirs.calculate_frechet_distance(*read[0], *read[1])
    result = metrics.score(saved[0], saved[1], bootstrap=0)
    assert result["fid"]["value"] == pytest.approx(expected, rel=1e-4)
    direct = metrics.score(narrow, of_features("theirs", few[1]), bootstrap=0)
    assert direct["fid"]["value"] == pytest.approx(expected, rel=1e-4)
    assert result["b"]["n"] is None
    assert "do not say of how many images" in result["fid"]["verdict"]


def test_clean_fid_is_clean_fids(
    folders: tuple[Path, Path], published_network: nn.Module, inception: metrics.InceptionExtractor
) -> None:
    """Its reading and its resizing; its network is the same one behind (x - 128) / 128."""
    theirs = importlib.import_module("cleanfid.fid")

    def network(batch: Tensor) -> Tensor:
        return published_network((batch - 128) / 128)[0].flatten(1)

    sets = []
    for folder in folders:
        with theirs_quiet():
            expected = theirs.get_folder_features(
                str(folder), network, num_workers=0, device=torch.device("cpu"), mode="clean", verbose=False
            )
        found = metrics.features(folder, protocol="clean-fid", extractor=inception)
        same_features(found.features, expected)
        sets.append((found, of_features("theirs", expected)))
    value = metrics.frechet_distance(sets[0][0].statistics, sets[1][0].statistics)
    expected_value = metrics.frechet_distance(sets[0][1].statistics, sets[1][1].statistics)
    assert value == pytest.approx(expected_value, rel=1e-4)


def test_the_protocols_differ_by_more_than_the_tolerance(
    folders: tuple[Path, Path], inception: metrics.InceptionExtractor, ours: tuple[metrics.FeatureSet, ...]
) -> None:
    """So that the two tests above can tell one from the other."""
    clean = metrics.features(folders[1], protocol="clean-fid", extractor=inception)
    with pytest.raises(AssertionError):
        same_features(clean.features, ours[1].features)


def test_torch_fidelity_agrees_on_features_and_scores(
    folders: tuple[Path, Path], published_file: Path, inception: metrics.InceptionExtractor
) -> None:
    """At 299 pixels nothing is resized, and torch-fidelity's scaling is clean-fid's: features must agree. Then FID,
    KID and Inception Score of its own code on them, the last through the (made-up) classifier of the file."""
    with theirs_quiet():
        network = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3(
            "peer", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(published_file)
        )
        kid_of = importlib.import_module("torch_fidelity.metric_kid").kid_features_to_metric
        score_of = importlib.import_module("torch_fidelity.metric_isc").isc_features_to_metric
        fid = importlib.import_module("torch_fidelity.metric_fid")
    generator = np.random.default_rng(0)
    pixels = [
        np.repeat(np.repeat(generator.integers(0, 256, (6, 23, 23, 3), np.uint8), 13, 1), 13, 2) for _ in range(2)
    ]
    assert pixels[0].shape == (6, 299, 299, 3)
    found, expected = [], []
    for some in pixels:
        found.append(metrics.features(some, protocol="clean-fid", extractor=inception))
        with theirs_quiet(), torch.inference_mode():
            expected.append(network(torch.from_numpy(some).permute(0, 3, 1, 2)))
        same_features(found[-1].features, expected[-1][0].numpy())
    logits = inception.logits(found[0].features)
    np.testing.assert_allclose(logits, expected[0][1].numpy(), rtol=1e-3, atol=1e-3)
    result = metrics.score(found[0], found[1], metrics=("kid", "is"), extractor=inception, bootstrap=0)
    with theirs_quiet():
        moments = [fid.fid_features_to_statistics(some[0][:, :256].double()) for some in expected]
        distance = fid.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
        kid = kid_of(expected[0][0].double(), expected[1][0].double(), kid_subsets=2, kid_subset_size=6, verbose=False)
        inception_score = score_of(expected[0][1], splits=1)
    some_features = [of_features("256 of 2048, as its eigenvalues take long", one.features[:, :256]) for one in found]
    assert metrics.frechet_distance(*(one.statistics for one in some_features)) == pytest.approx(distance, rel=1e-4)
    assert result["kid"]["value"] == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-4)
    assert result["is"]["value"] == pytest.approx(inception_score["inception_score_mean"], rel=1e-4)


def test_the_low_rank_form_holds_on_real_features(ours: tuple[metrics.FeatureSet, ...]) -> None:
    """The low-rank form on real features equals the one through eigenvectors of mu and sigma alone."""
    a, b = ours[0].statistics, ours[1].statistics
    bare = Statistics(a.mu, a.sigma, a.n)
    assert metrics.frechet_distance(bare, b) == pytest.approx(metrics.frechet_distance(a, b), rel=1e-7)


def test_reduced_precision_moves_fid_little(
    folders: tuple[Path, Path],
    published_file: Path,
    ours: tuple[metrics.FeatureSet, ...],
    patched_cache: None,
) -> None:
    reduced = metrics.extractor(published_file, precision="bfloat16", device="cpu")
    found = [metrics.features(folder, extractor=reduced) for folder in folders]
    assert found[0].statistics.precision == "bfloat16"
    value = metrics.frechet_distance(found[0].statistics, found[1].statistics)
    exact = metrics.frechet_distance(ours[0].statistics, ours[1].statistics)
    assert value == pytest.approx(exact, rel=0.02)
    assert value != exact


def test_openvino_gives_the_same_features(
    folders: tuple[Path, Path], published_file: Path, ours: tuple[metrics.FeatureSet, ...], patched_cache: None
) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    compiled = metrics.extractor(published_file, backend="openvino")
    found = metrics.features(folders[0], extractor=compiled)
    same_features(found.features, ours[0].features)
    assert metrics.score(found, ours[1], bootstrap=0)["fid"]["value"] == pytest.approx(
        metrics.frechet_distance(ours[0].statistics, ours[1].statistics), rel=1e-4
    )


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(device: str, published_file: Path, patched_cache: None) -> None:
    with pytest.raises(InputError, match=device):
        metrics.extractor(published_file, device=device)
