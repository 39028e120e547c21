"""DCGAN's networks are the ones that the papers describe."""

from typing import Any

import pytest
import torch
from torch.nn.utils import parametrize

from models import DCGANConfig, DCGANDiscriminatorConfig, InputError
from models.networks.dcgan import DCGANDiscriminator, DCGANGenerator


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_of_every_size(size: int, channels: int) -> None:
    generator = DCGANConfig(image_size=size, channels=channels, latent_size=7, width=2).parts()["generator"]
    discriminator = DCGANDiscriminatorConfig(image_size=size, channels=channels, width=2).build()
    images = generator(torch.randn(2, 7))
    assert images.shape == (2, channels, size, size)
    assert discriminator(images).shape == (2,)


def test_dcgan_64_has_the_parameters_of_the_reference() -> None:
    """pytorch/examples' dcgan at its defaults: 3,576,704 in the generator and 2,765,568 in the discriminator."""
    generator = DCGANConfig().parts()["generator"]
    assert sum(p.numel() for p in generator.parameters()) == 3_576_704
    discriminator = DCGANDiscriminatorConfig().build()
    biases = 64 + 1  # ours keeps the bias of the two layers that no batch norm follows
    assert sum(p.numel() for p in discriminator.parameters()) == 2_765_568 + biases


def test_every_kernel_is_a_multiple_of_its_stride() -> None:
    for network in (
        DCGANConfig().parts()["generator"],
        DCGANDiscriminatorConfig(refine=True).build(),
    ):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
        assert layers
        for layer in layers:
            assert layer.kernel_size[0] % layer.stride[0] == 0


def test_spectral_norm_bounds_the_slope() -> None:
    torch.manual_seed(0)  # two largest singular values that lie close together take many power iterations to part
    discriminator = DCGANDiscriminatorConfig(image_size=16, width=4, norm="spectral").build()
    for _ in range(400):  # power iterations
        discriminator(torch.randn(2, 3, 16, 16))
    for layer in discriminator.modules():
        if isinstance(layer, torch.nn.Conv2d) and parametrize.is_parametrized(layer):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
            torch.testing.assert_close(largest, torch.tensor(1.0), atol=2e-2, rtol=0)


def test_weights_under_spectral_norm_begin_as_glorots_and_normalised() -> None:
    torch.manual_seed(0)
    discriminator = DCGANDiscriminatorConfig(image_size=32, width=32, norm="spectral").build()
    layers = [layer for layer in discriminator.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(layers) == 4
    for layer in layers:
        stored, (out, into) = layer.get_parameter("parametrizations.weight.original"), layer.weight.shape[:2]
        assert float(stored.detach().abs().max()) == pytest.approx((6 / ((into + out) * 16)) ** 0.5, rel=0.02)
    discriminator.eval()  # no further power iterations
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(largest) == pytest.approx(1, rel=0.15)


def test_projection_discriminator_is_the_formula() -> None:
    """D(x, y) = psi(phi(x)) + <embedding(y), sum over positions of phi(x) / 4> (Miyato and Koyama 2018, eq. 3)."""
    config = DCGANDiscriminatorConfig(image_size=16, width=4, norm="none", classes=5)
    discriminator = DCGANDiscriminator(config)
    assert discriminator.projection is not None
    embedding = discriminator.projection.get_parameter("weight")
    images, classes = torch.randn(3, 3, 16, 16), torch.tensor([0, 4, 2])
    phi = discriminator.features(images)[-1]
    expected = discriminator.head(phi).flatten() + torch.einsum("nc,nchw->n", embedding[classes], phi) / 4
    torch.testing.assert_close(discriminator(images, classes), expected)
    with pytest.raises(InputError, match="class-conditional"):
        discriminator(images)


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_classes_start_as_small_as_the_convolutions(norm: Any) -> None:
    """Adam's steps are as long for every weight: larger ones would hardly move, and spectral norm hides how large."""
    discriminator = DCGANDiscriminatorConfig(image_size=16, norm=norm, classes=100).build()
    stored = dict(discriminator.named_parameters())
    name = "projection.parametrizations.weight.original" if norm == "spectral" else "projection.weight"
    assert abs(float(stored[name].detach().std()) - 0.02) < 0.002


def test_conditional_generator_uses_its_class() -> None:
    generator = DCGANConfig(image_size=16, latent_size=4, width=4, classes=2).parts()["generator"].eval()
    latent = torch.randn(1, 4)
    zero, one = (generator(latent, torch.tensor([label])) for label in (0, 1))
    assert not torch.allclose(zero, one)
    with pytest.raises(InputError, match="class-conditional"):
        generator(latent)


def scaled_generator(classes: int = 3) -> DCGANGenerator:
    """Classes scale and shift its batch norms, by random numbers."""
    torch.manual_seed(0)
    generator = DCGANGenerator(DCGANConfig(image_size=16, latent_size=4, width=4, classes=classes, class_embedding=0))
    for scale in generator.scales:
        torch.nn.init.normal_(scale.get_submodule("table").get_parameter("weight"))
    return generator.eval()


def test_classes_scale_and_shift_batch_norms() -> None:
    """gamma_s (x - mu) / sigma + beta_s, a gamma and a beta for each class s (Dumoulin et al. 2017, eq. 5)."""
    generator = scaled_generator()
    latents, classes = torch.randn(5, 4), torch.tensor([2, 0, 1, 1, 0])
    for latent, label in zip(latents, classes, strict=True):
        alone = DCGANConfig(image_size=16, latent_size=4, width=4).parts()["generator"]
        own = {name: value for name, value in generator.state_dict().items() if name.startswith("layers.")}
        for index, scale in enumerate(generator.scales):
            rise, shift = scale.get_submodule("table").get_parameter("weight")[label].detach().chunk(2)
            norm = f"layers.{3 * index + 1}"
            own[f"{norm}.bias"] = own[f"{norm}.bias"] * (1 + rise) + shift
            own[f"{norm}.weight"] = own[f"{norm}.weight"] * (1 + rise)
        alone.load_state_dict(own)
        torch.testing.assert_close(generator(latent[None], label[None]), alone.eval()(latent[None]))


def test_scaled_classes_mix() -> None:
    generator, latent = scaled_generator(), torch.randn(1, 4)
    zero, two = (generator(latent, torch.tensor([label])) for label in (0, 2))
    torch.testing.assert_close(generator(latent, torch.tensor([[0.0, 0, 1]])), two)
    between = generator(latent, torch.tensor([[0.5, 0, 0.5]]))
    assert not torch.allclose(between, zero, atol=1e-3)
    assert not torch.allclose(between, two, atol=1e-3)
    with pytest.raises(InputError, match="class-conditional"):
        generator(latent)


def test_scaled_classes_begin_as_none() -> None:
    plain = DCGANConfig(image_size=16, latent_size=4, width=4).parts()["generator"].eval()
    config = DCGANConfig(image_size=16, latent_size=4, width=4, classes=3, class_embedding=0)
    scaled = config.parts()["generator"].eval()
    added = scaled.load_state_dict(plain.state_dict(), strict=False)
    assert added.unexpected_keys == []
    assert all(name.startswith("scales.") for name in added.missing_keys)
    latents = torch.randn(3, 4)
    assert torch.equal(scaled(latents, torch.tensor([0, 1, 2])), plain(latents))


def test_batch_norm_stands_where_the_paper_puts_it() -> None:
    """In every layer but the generator's last and the discriminator's first (section 3)."""
    generator = DCGANGenerator(DCGANConfig())
    assert isinstance(generator.layers[-1], torch.nn.Tanh)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in generator.modules()) == 4
    discriminator = DCGANDiscriminator(DCGANDiscriminatorConfig())
    first = discriminator.blocks[0]
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in first.modules())
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in discriminator.modules()) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: DCGANConfig(image_size=48),
        lambda: DCGANConfig(channels=2),
        lambda: DCGANConfig(latent_size=0),
        lambda: DCGANDiscriminatorConfig(norm="weight"),  # type: ignore[arg-type]
    ],
)
def test_configs_refuse_what_cannot_be_built(make: object) -> None:
    with pytest.raises(InputError, match=" is "):
        make()  # type: ignore[operator]
