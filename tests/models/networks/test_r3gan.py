"""R3GAN's networks are the paper's: sizes of every stage, what a pass computes, where weights begin."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, leaky_relu

import models
from models import InputError
from models.networks.r3gan import Blur, R3GANConfig, R3GANDiscriminatorConfig, Residual

SMALL = R3GANConfig(32, latent_size=5, width=8, max_multiplier=2, classes=3, class_embedding=4)
SMALL_JUDGE = R3GANDiscriminatorConfig(32, width=8, max_multiplier=2, classes=3)


def trained(network):
    """Away from where weights begin, at which blocks are the identity, and in double precision."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.0, 0.5 / parameter[0].numel() ** 0.5)
    return network.double()


@pytest.fixture(scope="module")
def generator():
    return trained(SMALL.parts()["generator"]).eval()


@pytest.mark.parametrize(
    ("config", "stages"),
    [
        (R3GANConfig(classes=10), [(768, 4), (768, 8), (768, 16), (768, 32)]),
        (R3GANConfig(64, width=384, max_multiplier=2), [(768, 4), (768, 8), (768, 16), (768, 32), (384, 64)]),
        (R3GANConfig(128, width=192, max_multiplier=4), [(768, 2**k) for k in (2, 3, 4, 5)] + [(384, 64), (192, 128)]),
    ],
)
def test_the_papers_stages(config, stages):
    """Channels and sides of CIFAR-10's run and of FFHQ's; at CIFAR-10's, 96 groups and 20.8 million weights a side."""
    shape = {"width": config.width, "max_multiplier": config.max_multiplier, "classes": config.classes}
    with torch.device("meta"):
        generator = config.parts()["generator"]
        judge = R3GANDiscriminatorConfig(config.image_size, **shape).build()
        classes = torch.zeros(2, dtype=torch.long) if config.classes else None
        found = []
        for stage in generator.stages:
            stage.register_forward_hook(lambda _, __, maps: found.append(maps.shape[1:3]))
        images = generator(torch.randn(2, 64), classes)
        assert images.shape == (2, 3, config.image_size, config.image_size)
        assert [tuple(size) for size in found] == stages
        # what a stage of the discriminator gives is what the next one begins with
        assert [tuple(maps.shape[1:3]) for maps in judge.features(images)] == [*stages[-2::-1], stages[0]]
        assert judge(images, classes).shape == (2,)
    blocks = [module for part in (generator, judge) for module in part.modules() if isinstance(module, Residual)]
    assert len(blocks) == 2 * 2 * len(stages)
    assert {block.mix.in_channels // block.mix.groups for block in blocks} == {16}
    if config.classes:
        counts = [sum(p.numel() for p in part.parameters()) for part in (generator, judge)]
        block = 768 * 1536 + 16 * 1536 * 9 + 1536 * 768 + 2 * 1536
        assert counts == [
            8 * block + 128 * 768 + 768 * 16 + 768 * 3 + 10 * 64,
            8 * block + 768 * 3 + 768 * 16 + 768 * 768 + 10 * 768,
        ]
        assert {block.mix.groups for block in blocks} == {96}


KERNEL = torch.outer(*(torch.tensor([1.0, 3, 3, 1], dtype=torch.float64),) * 2)[None, None] / 64


def block(weights, name, maps):
    """x + C3(f(C2(f(C1 x + b1)) + b2)), f the leaky ReLU, C2 in groups of 16."""
    inner = leaky_relu(conv2d(maps, weights[f"{name}.widen.weight"], weights[f"{name}.widen.bias"]), 0.2)
    mix, groups = weights[f"{name}.mix.weight"], inner.shape[1] // 16
    inner = leaky_relu(conv2d(inner, mix, weights[f"{name}.mix.bias"], padding=1, groups=groups), 0.2)
    return maps + conv2d(inner, weights[f"{name}.narrow.weight"])


def test_a_pass_of_the_generator_is_the_papers(generator):
    """Each stage written plainly, with the whole kernel of a bilinear interpolation; channels 16, 16, 16, 8."""
    weights = generator.state_dict()
    latents, classes = torch.randn(2, 5, dtype=torch.float64), torch.tensor([2, 0])
    beside = torch.cat([latents, weights["embedding.weight"][classes]], dim=1)
    maps = weights["basis.maps"] * (beside @ weights["dense.weight"].T)[:, :, None, None]
    maps = block(weights, "stages.0.1", block(weights, "stages.0.0", maps))
    for number in (1, 2, 3):
        first = 2
        if number == 3:
            maps, first = conv2d(maps, weights["stages.3.0.weight"]), 3
        count = maps.shape[1]
        maps = conv_transpose2d(maps, 4 * KERNEL.expand(count, 1, 4, 4), stride=2, padding=1, groups=count)
        for place in (first, first + 1):
            maps = block(weights, f"stages.{number}.{place}", maps)
    torch.testing.assert_close(generator(latents, classes), conv2d(maps, weights["image.weight"]).clamp(-1, 1))


def test_a_pass_of_the_discriminator_is_the_papers():
    judge = trained(SMALL_JUDGE.build())
    weights = judge.state_dict()
    images, classes = torch.randn(2, 3, 32, 32, dtype=torch.float64), torch.tensor([2, 0])
    maps = conv2d(images, weights["image.weight"])
    for number in range(4):
        for place in (0, 1):
            maps = block(weights, f"stages.{number}.{place}", maps)
        if number < 3:
            count = maps.shape[1]
            maps = conv2d(maps, KERNEL.expand(count, 1, 4, 4), stride=2, padding=1, groups=count)
        if number == 0:
            maps = conv2d(maps, weights["stages.0.4.weight"])
    seen = (maps * weights["basis.weight"][:, 0]).sum(dim=(2, 3)) @ weights["head.weight"].T
    torch.testing.assert_close(judge(images, classes), (seen * weights["embedding.weight"][classes]).sum(dim=1))
    with pytest.raises(InputError, match="give a class for each image"):
        judge(images)
    plain = R3GANDiscriminatorConfig(32, width=4).build()
    assert plain(torch.randn(2, 1, 32, 32).expand(-1, 3, -1, -1)).shape == (2,)
    with pytest.raises(InputError, match="has no classes"):
        plain(images.float(), classes)


def test_resampling_is_bilinear_within_the_edges():
    """Away from them it is torch's own, there and back: with twice the support where it halves, against aliases."""
    maps = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    blur = Blur().double()
    up, down = nn.Sequential(nn.Upsample(scale_factor=2), blur), nn.Sequential(blur, nn.AvgPool2d(2))
    for ours, scale in ((up, 2.0), (down, 0.5)):
        theirs = interpolate(maps, scale_factor=scale, mode="bilinear", antialias=scale < 1)
        torch.testing.assert_close(ours(maps)[:, :, 1:-1, 1:-1], theirs[:, :, 1:-1, 1:-1])


def test_weights_begin_as_in_fixup():
    """A block begins as the identity; its weights inside by He times L^(-1/4), L = 8; linear layers keep the scale."""
    torch.manual_seed(0)
    drawn, judge = R3GANConfig(width=64).parts()["generator"], R3GANDiscriminatorConfig(width=64).build()
    for part in (drawn, judge):
        for one in (module for module in part.modules() if isinstance(module, Residual)):
            maps = torch.randn(1, 64, 4, 4)
            assert torch.equal(one(maps), maps)
            he = math.sqrt(2 / (1 + 0.2**2)) * 8**-0.25
            assert one.widen.weight.std().item() == pytest.approx(he / math.sqrt(64), rel=0.05)
            assert one.mix.weight.std().item() == pytest.approx(he / math.sqrt(16 * 9), rel=0.05)
            assert not one.widen.bias.any()
            assert not one.mix.bias.any()
        assert not any("norm" in type(module).__name__.lower() for module in part.modules())
    assert drawn.basis.maps.std().item() == pytest.approx(1, rel=0.1)
    assert drawn.dense.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert judge.basis.weight.std().item() == pytest.approx(1 / 4, rel=0.1)


def test_images_are_bounded_but_in_training():
    """A pixel beyond the range has to hear what would bring it back."""
    drawn = R3GANConfig(width=4).parts()["generator"]
    latents = 10 * torch.randn(4, 64)
    free = drawn(latents)
    assert free.abs().max() > 1
    torch.testing.assert_close(drawn.eval()(latents), free.clamp(-1, 1))


def test_classes_mix_by_their_embeddings(generator):
    latents = torch.randn(3, 5, dtype=torch.float64)
    numbers = generator(latents, torch.arange(3))
    torch.testing.assert_close(generator(latents, torch.eye(3, dtype=torch.float64)), numbers)
    assert (numbers[0] - generator(latents, torch.tensor([1, 1, 2]))[0]).abs().max() > 1e-3
    with pytest.raises(InputError, match="give a class for each latent"):
        generator(latents)


def test_a_checkpoint_draws_what_was_saved_in_either_precision(tmp_path):
    torch.manual_seed(0)
    network = SMALL.parts()["generator"].eval()
    for one in network.modules():
        if isinstance(one, Residual):
            nn.init.normal_(one.narrow.weight, 0.0, 0.1)
    metadata = models.metadata_of(SMALL, classes=("cat", "dog", "frog"))
    latents, classes = models.draw(range(4), 5), torch.tensor([0, 1, 2, 0])
    for half, error in ((False, 0.0), (True, 0.01)):
        models.save(tmp_path / "x.safetensors", {"generator": network}, metadata, half=half)
        loaded = models.load(tmp_path / "x.safetensors", models.Generator)
        assert loaded.config == SMALL
        torch.testing.assert_close(loaded(latents, classes), network(latents, classes), rtol=0, atol=error)
    assert {name.split("-")[0] for name in models.find_directions(loaded)} == {"sefa", "pca"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_size": 48}, "image_size is one of 32, 64, 128, not 48"),
        ({"width": 0}, "width"),
        ({"class_embedding": 0}, "class_embedding"),
    ],
)
def test_what_there_is_no_network_for(change, says):
    with pytest.raises(InputError, match=says):
        R3GANConfig(**change)
