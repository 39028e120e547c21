"""BigGAN is the paper's: what norms hear, channels and sides of every block, and what a checkpoint makes of it."""

import pytest
import torch
from torch import nn

import models
from models import InputError
from models.networks.biggan import BigGANConfig, BigGANDiscriminatorConfig, ComputedNorm

# side, width and multiplier of both; channels of the maps before and after the generator's blocks, after the others'
PAPER = (128, 2, 16, [32, 32, 16, 8, 4, 2], [(2, 64), (4, 32), (8, 16), (16, 8), (32, 4), (32, 4)])
SMALLER = (64, 2, 8, [16, 16, 8, 4, 2], [(2, 32), (4, 16), (8, 8), (16, 4), (16, 4)])
CIFAR = (32, 8, 1, [8, 8, 8, 8], [(8, 16), (8, 8), (8, 8), (8, 8)])
SMALL = BigGANConfig(32, latent_size=8, width=4, max_multiplier=2, classes=3, class_embedding=5, attention=16)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return SMALL.parts()["generator"].eval()


@pytest.mark.parametrize(("side", "width", "most", "up", "down"), [PAPER, SMALLER, CIFAR])
def test_the_papers_tables(side, width, most, up, down):
    config = BigGANConfig(side, latent_size=60, width=width, max_multiplier=most, classes=2, attention=side // 2)
    drawn = config.parts()["generator"]
    assert config.widths == up
    assert [block.convs[1].out_channels for block in drawn.blocks] == up[1:]
    assert [type(block.attention) is not nn.Identity for block in drawn.blocks] == [False] * (len(up) - 3) + [
        True,
        False,
    ]
    images = drawn(torch.randn(2, 60), torch.tensor([0, 1]))
    assert images.shape == (2, 3, side, side)
    assert images.abs().max() <= 1
    judge = BigGANDiscriminatorConfig(side, width=width, max_multiplier=most, attention=side // 2).build()
    assert [tuple(maps.shape[1:3]) for maps in judge.features(images)] == down
    assert [type(block) is nn.Sequential for block in judge.blocks] == [True] + [False] * (len(down) - 1)
    assert judge(images).shape == (2,)


def test_what_a_norm_hears_scales_and_shifts_it():
    """(1 + gain) (maps - mean) / deviation + shift, with both linear in what is heard."""
    torch.manual_seed(0)
    norm = ComputedNorm(4, 3)
    nn.init.normal_(norm.gain)
    nn.init.normal_(norm.shift)
    maps, heard = 3 + 2 * torch.randn(5, 4, 6, 6), torch.randn(5, 3)
    mean, deviation = maps.mean(dim=(0, 2, 3)), (maps.var(dim=(0, 2, 3), correction=0) + 1e-5).sqrt()
    for image in range(5):
        for channel in range(4):
            plain = (maps[image, channel] - mean[channel]) / deviation[channel]
            expected = (1 + norm.gain[channel] @ heard[image]) * plain + norm.shift[channel] @ heard[image]
            torch.testing.assert_close(norm(maps, heard)[image, channel], expected, atol=1e-5, rtol=1e-4)


def test_each_chunk_of_the_latent_goes_to_its_own_block(generator):
    """The first of four is drawn from; the others reach the norms of one block each, beside the class."""
    heard = []
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[1]))
    firsts = []
    generator.dense.register_forward_pre_hook(lambda _, inputs: firsts.append(inputs[0]))
    latents, classes = torch.randn(2, 8), torch.tensor([2, 0])
    generator(latents, classes)
    torch.testing.assert_close(firsts[0], latents[:, :2])
    for number, condition in enumerate(heard, 1):
        torch.testing.assert_close(condition[:, :5], generator.embedding.weight[classes])
        torch.testing.assert_close(condition[:, 5:], latents[:, 2 * number : 2 * number + 2])


def test_classes_mix_by_their_embeddings(generator):
    """Weights of a single 1 are the class; a half of each of two is the middle of their embeddings."""
    latents = torch.randn(3, 8)
    numbers = generator(latents, torch.arange(3))
    torch.testing.assert_close(generator(latents, torch.eye(3)), numbers)
    assert (numbers[0] - generator(latents, torch.tensor([1, 1, 2]))[0]).abs().max() > 1e-3
    mixed = generator(latents, torch.tensor([[0.5, 0.5, 0]]).repeat(3, 1))
    with torch.no_grad():
        generator.embedding.weight[2] = generator.embedding.weight[:2].mean(dim=0)
    torch.testing.assert_close(generator(latents, torch.tensor([2, 2, 2])), mixed)


def test_without_chunks_norms_hear_of_the_class_alone_and_without_classes_of_the_latent():
    images = BigGANConfig(32, latent_size=7, width=4, classes=2, latent_chunks=False).parts()["generator"].eval()
    assert {norm.gain.shape[1] for norm in images.modules() if isinstance(norm, ComputedNorm)} == {128}
    assert images(torch.randn(2, 7), torch.tensor([0, 1])).shape == (2, 3, 32, 32)
    unconditional = BigGANConfig(32, latent_size=8, width=4).parts()["generator"].eval()
    assert {norm.gain.shape[1] for norm in unconditional.modules() if isinstance(norm, ComputedNorm)} == {2}
    assert unconditional(torch.randn(2, 8)).shape == (2, 3, 32, 32)
    with pytest.raises(InputError, match="has no classes"):
        unconditional(torch.randn(2, 8), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="give a class for each latent"):
        images(torch.randn(2, 7))


def test_weights_begin_orthogonal_and_the_discriminators_largest_singular_value_is_one():
    torch.manual_seed(0)
    judge = BigGANDiscriminatorConfig(32, width=4, max_multiplier=2, classes=3, attention=8).build().eval()
    parts = (SMALL.parts()["generator"], judge)
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 15 + 15
    for layer in layers:
        values = torch.linalg.svdvals(layer.weight.flatten(1))
        torch.testing.assert_close(values, torch.ones_like(values), atol=1e-4, rtol=0)
        assert layer.bias is None or not layer.bias.any()
    assert torch.linalg.matrix_norm(judge.projection.weight, 2).item() == pytest.approx(1, abs=1e-4)
    assert not any("parametrizations" in name for name, _ in parts[0].named_parameters())


def test_a_class_is_judged_by_projection():
    """Its logit is the inner product of its row with what is pooled (Miyato and Koyama 2018, eq. 3)."""
    torch.manual_seed(0)
    judge = BigGANDiscriminatorConfig(32, width=4, max_multiplier=2, classes=3, attention=16).build().eval()
    images, classes = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    pooled = judge.features(images)[-1].relu().sum(dim=(2, 3))
    expected = judge.head(pooled)[:, 0] + (judge.projection.weight[classes] * pooled).sum(dim=1)
    torch.testing.assert_close(judge(images, classes), expected)
    with pytest.raises(InputError, match="give a class for each image"):
        judge(images)


def test_a_checkpoint_draws_what_was_saved_in_either_precision(generator, tmp_path):
    metadata = models.metadata_of(SMALL, classes=("cat", "dog", "frog"))
    latents, classes = models.draw(range(4), 8), torch.tensor([0, 1, 2, 0])
    for half, error in ((False, 0.0), (True, 0.02)):
        models.save(tmp_path / "x.safetensors", {"generator": generator}, metadata, half=half)
        loaded = models.load(tmp_path / "x.safetensors", models.Generator)
        assert loaded.config == SMALL
        torch.testing.assert_close(loaded(latents, classes), generator(latents, classes), atol=error, rtol=0)
    with pytest.raises(InputError, match="A class is a number from 0 to 2"):
        loaded(latents, torch.tensor([0, 1, 2, 3]))


def test_directions_are_of_the_chunk_that_the_first_layer_sees(generator):
    """SeFa's of rank 2 are two, the largest first, with nothing for the blocks' chunks; GANSpace's look at its maps."""
    face = models.Generator({"generator": generator}, SMALL, models.metadata_of(SMALL, classes=("a", "b", "c")), "")
    with torch.no_grad():
        generator.dense.weight[:, 0] *= 3
    found = models.find_directions(face)
    closed = [found[name] for name in found if name.startswith("sefa")]
    torch.testing.assert_close(torch.stack(closed), torch.eye(8)[:2], atol=1e-4, rtol=0)
    assert found["pca-1"][0] > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 256}, "image_size is one of 32, 64, 128, not 256"),
        ({"attention": 32}, "attention is one of 0, 8, 16, not 32"),
        ({"latent_size": 9}, "latent_size must be a multiple of 4, a chunk for the first layer and for each of the 3"),
        ({"latent_chunks": False}, "latent_chunks is needed where there are no classes"),
    ],
)
def test_what_no_network_can_be(change, words):
    with pytest.raises(InputError, match=words):
        BigGANConfig(**{"image_size": 32, "latent_size": 8} | change)
