"""ALAE's networks: the sizes of the paper's MNIST experiment, DCGAN's trunks for pictures."""

import pytest
import torch
from torch import nn

import models
from models import CodeDiscriminatorConfig, InputError
from models.networks.alae import ConvALAEConfig, DenseALAEConfig


def widths(network: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_the_fully_connected_networks_are_those_of_the_papers_mnist_experiment():
    """28 px, z and w of 50, F of 6 layers, G 50-1024-1024-784, E its mirror, D of 3 layers."""
    parts = DenseALAEConfig().parts()
    assert tuple(parts) == models.Autoencoder.PARTS
    assert widths(parts["mapping"]) == [(50, 50)] * 6
    assert widths(parts["generator"]) == [(50, 1024), (1024, 1024), (1024, 784)]
    assert widths(parts["encoder"]) == [(784, 1024), (1024, 1024), (1024, 50)]
    assert widths(CodeDiscriminatorConfig().build()) == [(50, 50), (50, 50), (50, 1)]


@pytest.mark.parametrize("config", [DenseALAEConfig(), ConvALAEConfig(32, width=4, encoder_width=4)])
def test_latents_become_images_and_images_codes(config):
    torch.manual_seed(0)
    parts = config.parts()
    codes = parts["mapping"](torch.randn(5, config.latent_size))
    images = parts["generator"](codes, None)
    assert codes.shape == (5, config.code_size)
    assert images.shape == (5, config.channels, config.image_size, config.image_size)
    assert images.abs().max() <= 1
    assert parts["encoder"](images).shape == codes.shape
    logits = CodeDiscriminatorConfig(config.code_size).build()(codes)
    assert logits.shape == (5,)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_convolutional_networks_have_dcgans_trunks(size):
    """Layer by layer: its generator of codes, and the blocks of its discriminator."""
    parts = ConvALAEConfig(size, width=4, encoder_width=8, code_size=6).parts()
    generator = models.DCGANConfig(size, latent_size=6, width=4).parts()["generator"]
    judge = models.DCGANDiscriminatorConfig(size, width=8, norm="none").build()

    def shapes(network):
        return [(name, value.shape) for name, value in network.state_dict().items()]

    assert shapes(parts["generator"]) == shapes(generator)
    assert shapes(parts["encoder"].blocks) == shapes(judge.blocks)
    assert parts["encoder"].features(torch.zeros(1, 3, size, size))[-1].shape[2:] == (4, 4)


def test_the_length_of_a_latent_says_nothing():
    """The mapping normalises it, so that codes of far-out latents are codes too."""
    torch.manual_seed(0)
    mapping = DenseALAEConfig().parts()["mapping"]
    latents = torch.randn(3, 50)
    torch.testing.assert_close(mapping(latents), mapping(100 * latents))
    assert torch.isfinite(mapping(torch.zeros(1, 50))).all()


@pytest.mark.parametrize("kind", [DenseALAEConfig, ConvALAEConfig])
def test_generators_know_no_classes(kind):
    config = kind()
    assert config.classes == 0
    with pytest.raises(InputError, match="no classes"):
        config.parts()["generator"](torch.zeros(1, config.code_size), torch.tensor([0]))


@pytest.mark.parametrize(
    ("kind", "fields", "where"),
    [
        (DenseALAEConfig, {"image_size": 512}, "image_size"),
        (DenseALAEConfig, {"channels": 2}, "channels"),
        (DenseALAEConfig, {"hidden": 0}, "hidden"),
        (DenseALAEConfig, {"latent_size": 0}, "latent_size"),
        (ConvALAEConfig, {"image_size": 28}, "image_size"),
        (ConvALAEConfig, {"image_size": 256}, "image_size"),
        (ConvALAEConfig, {"channels": 4}, "channels"),
        (ConvALAEConfig, {"code_size": 5000}, "code_size"),
        (ConvALAEConfig, {"width": 0}, "width"),
        (ConvALAEConfig, {"encoder_width": 0}, "encoder_width"),
        (ConvALAEConfig, {"max_multiplier": 0}, "max_multiplier"),
        (ConvALAEConfig, {"mapping_layers": 0}, "mapping_layers"),
        (CodeDiscriminatorConfig, {"layers": 0}, "layers"),
    ],
)
def test_what_is_out_of_range_is_named(kind, fields, where):
    with pytest.raises(InputError) as refused:
        kind(**fields)
    assert refused.value.where == where
