"""Extractors of the user's own: what the contract promises, and a sentence for every way to break it."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # type: ignore[import-untyped]
import pytest
import torch
from onnx import TensorProto, helper

import metrics
import models
from metrics import command
from models import CheckpointError, InputError, NotFoundError

SIDE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3), np.uint8)


def network(path: Path, *nodes: Any, shape: Any = ("n", 3, SIDE, SIDE), kind: int = TensorProto.FLOAT) -> Path:
    """An ONNX file of nodes that lead from `images` to `features`."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("features", kind, None)],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]), helper.make_tensor("one", kind, [1], [1.0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, path)
    return path


def node(kind: str, *inputs: str, to: str = "features", **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [to], **attributes)


MEANS = node("ReduceMean", "images", "axes", keepdims=0)  # the mean of every channel: [n, 3]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = models.AirbenchConfig(image_size=SIDE, classes=3, width=8)
    path = tmp_path_factory.mktemp("classifier") / "Mine.safetensors"
    torch.manual_seed(0)
    parts = config.parts()
    parts["classifier"].whiten(models.to_float(PIXELS))  # type: ignore[operator]
    models.save(path, parts, models.metadata_of(config, classes=("a", "b", "c")))
    return path


def test_a_classifier_gives_the_features_before_its_last_layer(classifier: Path) -> None:
    own = metrics.custom_extractor(classifier, device="cpu", batch_size=5)
    found = metrics.features(PIXELS, extractor=own)
    model = models.load(classifier, models.Classifier)
    expected = model.features(models.to_float(PIXELS))
    assert found.features is not None
    assert np.allclose(found.features, expected, atol=1e-6)
    assert torch.allclose(expected @ model.parts["classifier"].last.weight.T / 9, model(models.to_float(PIXELS)))  # type: ignore[operator,union-attr]
    assert found.statistics.extractor == f"airbench sha256:{models.sha256_of(classifier)}"


@pytest.mark.parametrize("protocol", list(metrics.PROTOCOLS))
def test_onnx_sees_the_pixels_of_its_side_as_they_are(protocol: str, tmp_path: Path) -> None:
    own = metrics.custom_extractor(network(tmp_path / "means.onnx", MEANS))
    found = metrics.features(PIXELS, extractor=own, protocol=protocol)
    low, scale = (127.5, 127.5) if protocol == "pytorch-fid" else (128, 128)
    assert found.features is not None
    assert np.allclose(found.features, (PIXELS.mean(axis=(1, 2)) - low) / scale, atol=1e-5)
    result = metrics.score(PIXELS, found, extractor=own, protocol=protocol, bootstrap=0)
    assert result["fid"]["value"] == pytest.approx(0, abs=1e-9)
    assert result["extractor"] == f"onnx sha256:{models.sha256_of(tmp_path / 'means.onnx')}"
    assert result["versions"]["onnxruntime"]


def test_a_network_of_one_channel_sees_the_luminance(tmp_path: Path) -> None:
    own = metrics.custom_extractor(
        network(
            tmp_path / "grey.onnx",
            node("Flatten", "images"),
            shape=("n", 1, SIDE, SIDE),
        )
    )
    found = own.features(models.to_float(PIXELS))
    assert np.allclose(found.reshape(-1, SIDE, SIDE), (PIXELS @ [0.299, 0.587, 0.114]) / 127.5 - 1, atol=1e-6)


def test_statistics_of_two_extractors_never_meet(classifier: Path, tmp_path: Path) -> None:
    wide = network(tmp_path / "a.onnx", MEANS)
    other = network(tmp_path / "b.onnx", node("ReduceMax", "images", "axes", keepdims=0))
    kept = metrics.features(PIXELS, extractor=metrics.custom_extractor(wide))
    renamed = wide.rename(tmp_path / "c.onnx")  # the content names it, not the file
    metrics.score(PIXELS, kept, extractor=metrics.custom_extractor(renamed), bootstrap=0)
    for path in (other, classifier):
        for a in (PIXELS, kept):
            with pytest.raises(InputError, match="differ in their extractor"):
                metrics.score(a, kept, extractor=metrics.custom_extractor(path), bootstrap=0)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"nodes": [node("Identity", "images")]}, r"gives \[2, 3, 16, 16\], not one row"),
        ({"nodes": [node("ReduceMean", "images", keepdims=0)]}, r"gives \[\], not one row"),
        (
            {"nodes": [node("ReduceMean", "images", "axes", to="m"), node("ReduceMean", "m", "one_axis", keepdims=0)]},
            "is no network that ONNX Runtime can run",
        ),
        ({"nodes": [node("Flatten", "images")], "shape": ("n", 1, 1, 1)}, "a single feature"),
        ({"nodes": [node("Log", "images", to="l"), node("Flatten", "l")]}, "not finite"),
        ({"nodes": [node("Flatten", "images")], "shape": (1, 3, SIDE, SIDE)}, r"takes \[1, 3, 16, 16\]; an extractor"),
        ({"nodes": [node("Flatten", "images")], "shape": ("n", 3, "h", "w")}, r"'free', 3, 'free', 'free'"),
        ({"nodes": [node("Flatten", "images")], "shape": ("n", 4, SIDE, SIDE)}, "an extractor takes"),
        ({"nodes": [node("Flatten", "images")], "shape": ("n", 3, SIDE, 8)}, "an extractor takes"),
        ({"nodes": [node("Flatten", "images")], "kind": TensorProto.DOUBLE}, "an extractor has one of each, float32"),
        ({"nodes": [node("Conv", "images", "one")]}, "ONNX Runtime can run"),
    ],
)
def test_a_network_that_breaks_the_contract_is_a_sentence(made: dict[str, Any], message: str, tmp_path: Path) -> None:
    nodes = made.pop("nodes")
    with pytest.raises(InputError, match=message) as error:
        metrics.custom_extractor(network(tmp_path / "net.onnx", *nodes, **made))
    assert error.value.where == "net.onnx"


def test_features_that_change_later_are_a_sentence(tmp_path: Path) -> None:
    own = metrics.custom_extractor(network(tmp_path / "means.onnx", MEANS))
    for gives, message in (
        (np.zeros((2, 4), np.float32), r"of 2 images it gives \[2, 4\], not \[2, 3\]"),
        (np.full((2, 3), np.nan, np.float32), "not finite"),
    ):
        changed = dataclasses.replace(own, run=lambda _, gives=gives: gives)
        with pytest.raises(InputError, match=message):
            metrics.score(PIXELS[:2], PIXELS[:2], extractor=changed, bootstrap=0)


def test_what_is_no_extractor_is_a_sentence(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = models.DCGANConfig(image_size=16, latent_size=4, width=8)
    models.save(tmp_path / "g.safetensors", sampler.parts(), models.metadata_of(sampler))
    (tmp_path / "torn.safetensors").write_bytes(classifier.read_bytes()[:-8])
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "net.pt").write_text("a pickle")
    means = network(tmp_path / "means.onnx", MEANS)
    for name, kind, message in (
        ("g.safetensors", InputError, "one that names the class of an image is needed"),
        ("torn.safetensors", CheckpointError, "not a whole safetensors file"),
        ("text.onnx", InputError, "text.onnx is no network that ONNX Runtime can run"),
        ("net.pt", InputError, "give a classifier's .safetensors or a network's .onnx"),
        ("none.onnx", NotFoundError, "There is no extractor"),
    ):
        with pytest.raises(kind, match=message):
            metrics.custom_extractor(tmp_path / name)
    with pytest.raises(InputError, match="Inception Score is defined by"):
        metrics.score(PIXELS, metrics=["is"], extractor=metrics.custom_extractor(means))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        metrics.custom_extractor(means)


def test_the_command_takes_an_extractor(
    classifier: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cifar.npz"
    asked = ["--extractor", str(classifier), "--no-cache"]
    assert command.main(["stats", str(cifar), str(out), *asked]) == 0
    assert metrics.Statistics.load(out).extractor == f"airbench sha256:{models.sha256_of(classifier)}"
    capsys.readouterr()
    assert command.main(["score", str(cifar), str(out), *asked, "--precision", "bfloat16"]) == 2
    assert "are of the Inception" in capsys.readouterr().err
