"""Terms that are added to an adversarial loss: constraints on the discriminator, and matches of activations.

Every function here returns a scalar tensor through which gradients flow. Penalties come with their weight
applied, as their papers write them; the matching terms come without, since their papers leave it open.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

import metrics
from models import InputError
from training.engine.draws import Draws

Critic = Callable[[Tensor], Tensor]
SMALLEST = 75  # pixels that Inception needs


def gradient_penalty(critic: Critic, *, real: Tensor, fake: Tensor, draws: Draws, weight: float = 10.0) -> Tensor:
    """weight E[(||grad D(x')||_2 - 1)^2], with x' drawn uniformly on the line from a fake to a real sample.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3 and algorithm 1. A critic with batch
    normalisation has no gradient of one sample alone, so it must not have any (their section 4).

    Args:
        critic: samples [n, ...] to logits [n] or [n, 1, h, w]; of a map of logits, the mean is taken.
        real, fake: [n, ...] of one shape.
        draws: of the positions on the lines.

    Raises:
        InputError: real and fake differ in shape.
    """
    if real.shape != fake.shape:
        raise InputError(
            f"real is {tuple(real.shape)} and fake {tuple(fake.shape)}: the gradient penalty pairs them one to one."
        )
    position = draws.uniform(len(real), *(1,) * (real.ndim - 1)).to(real)
    between = torch.lerp(fake.detach(), real.detach(), position)
    return weight * (_input_gradients(critic, between).norm(dim=1) - 1).square().mean()


def r1_penalty(critic: Critic, *, real: Tensor, weight: float = 10.0) -> Tensor:
    """weight / 2 E[||grad D(x)||^2] at real samples.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9 (theirs is gamma = 10).

    Args:
        critic: samples [n, ...] to logits [n] or [n, 1, h, w]; of a map of logits, the mean is taken.
        real: [n, ...].
    """
    return _squared_gradients(critic, real, weight)


def r2_penalty(critic: Critic, *, fake: Tensor, weight: float = 10.0) -> Tensor:
    """weight / 2 E[||grad D(G(z))||^2] at generated samples; arguments as `r1_penalty`'s.

    Mescheder et al. 2018, equation 10. R1 holds D flat where the data is, R2 where the samples are; R3GAN takes both
    (Huang et al. 2024, section 2), since with R1 alone its relativistic loss can still blow up at the samples.
    """
    return _squared_gradients(critic, fake, weight)


def _squared_gradients(critic: Critic, samples: Tensor, weight: float) -> Tensor:
    return weight / 2 * _input_gradients(critic, samples.detach()).square().sum(dim=1).mean()


def _input_gradients(critic: Critic, samples: Tensor) -> Tensor:
    """The gradient of each sample's mean logit with respect to that sample, [n, values]; it can be backed through."""
    samples.requires_grad_(True)
    logits = critic(samples).reshape(len(samples), -1).mean(dim=1)
    (gradients,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradients.reshape(len(samples), -1)


def orthogonal(weights: Iterable[Tensor]) -> Tensor:
    """The sum over all weights of ||W^T W o (1 - I)||_F^2: how far two filters of a layer are from orthogonal.

    Brock, Donahue, Simonyan 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", equation 3;
    weighted by beta = 1e-4. The diagonal is left out, so that a filter's length stays free.

    Args:
        weights: of linear layers and convolutions as torch has them, [outputs, ...]: a filter of each output.
    """
    return torch.stack([_off_the_diagonal(weight.flatten(1)) for weight in weights]).sum()


def _off_the_diagonal(filters: Tensor) -> Tensor:
    """The sum of the squared products of each two of n filters, [n, d]."""
    if len(filters) <= filters.shape[1]:
        return 2 * (filters @ filters.T).triu(1).square().sum()
    # ||W W^T||_F = ||W^T W||_F, and the first layer's n^2 products would be a gigabyte
    return (filters.T @ filters).square().sum() - filters.square().sum(dim=1).square().sum()


def feature_matching(*, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """||E[f(x)] - E[f(G(z))]||_2^2 over the size of f, averaged over the layers given.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.1, with f the activations of a layer of
    the discriminator. Dividing by the number of activations makes one weight fit every width and image size. With f
    the activations of a fixed network, it matches those of generated images to those of data in expectation: the
    perceptual term where images have no partner.

    Args:
        real, fake: one tensor [n, ...] of activations a layer; n may differ between the two. No gradient is
            passed to `real`: the term is the generator's.

    Raises:
        InputError: no layers, or not the same number of them.
    """
    if not real or len(real) != len(fake):
        raise InputError(
            f"feature matching got {len(real)} layers of real and {len(fake)} of fake activations: it needs the "
            "same layers of both, one at least."
        )
    layers = [(r.detach().mean(dim=0) - f.mean(dim=0)).square().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(layers).mean()


def perceptual(features: Callable[[Tensor], Tensor], *, image: Tensor, target: Tensor) -> Tensor:
    """E[||f(image) - f(target)||_2^2] over the size of f, for images that come in pairs.

    Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", equation 2 (the
    feature reconstruction loss). f is a fixed network; theirs is VGG-16, ours Inception. For CycleGAN the pair is an
    image and its round trip.

    Args:
        features: images [n, c, h, w] in [-1, 1] to activations [n, ...]; its parameters should be frozen.
        image: [n, c, h, w], through which gradients pass.
        target: [n, c, h, w], through which none do.
    """
    with torch.no_grad():
        wanted = features(target)
    return (features(image) - wanted).square().mean()


def cycle_consistency(*, image: Tensor, round_trip: Tensor) -> Tensor:
    """E[||F(G(x)) - x||_1] over the number of pixels: one direction of the term; add the other one's.

    Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", equation 2;
    weighted by lambda = 10 in equation 3. Per pixel, as in the authors' own code, to which lambda belongs.

    Args:
        image, round_trip: [n, c, h, w] in [-1, 1].
    """
    return (round_trip - image).abs().mean()


def identity_mapping(*, image: Tensor, translated: Tensor) -> Tensor:
    """E[||G(y) - y||_1] over the number of pixels, with y an image of the domain that G translates to.

    Zhu et al. 2017, section 5.2; weighted by lambda / 2. Keeps a translator from changing colours without need.

    Args:
        image, translated: [n, c, h, w] in [-1, 1].
    """
    return (translated - image).abs().mean()


def imitation(*, translated: Tensor, taught: Tensor) -> Tensor:
    """E[||G(x) - G'(x)||_1] over the number of pixels, with G' the teacher of G.

    Li et al. 2020, "GAN Compression", equation 2, where photos have no partner; weighted by lambda = 10 in their code.

    Args:
        translated, taught: [n, c, h, w]; no gradient is passed to the teacher's.
    """
    return (translated - taught.detach()).abs().mean()


def reciprocity(*, code: Tensor, found: Tensor) -> Tensor:
    """E[||w - E(G(w))||_2^2] over the number of components: how far an encoder misses codes, with w = F(z).

    Pidhorskyi et al. 2020, "Adversarial Latent Autoencoders", equation 8 and step III of algorithm 1. Per component, as
    in the authors' own code: summed, the term outweighs the adversarial ones, since Adam scales the three steps of a
    network by one second moment, and images become noise that is easy to find codes in.

    Args:
        code: [n, code], w, through which no gradients pass.
        found: [n, code], E(G(w)).
    """
    return (found - code.detach()).square().mean()


def inception_features(device: torch.device) -> Callable[[Tensor], Tensor]:
    """The fixed network of the perceptual term: the Inception that FID is measured with.

    Images [n, 1 or 3, h, w] in [-1, 1] -> activations [n, 2048], through which gradients flow to the images.

    Images are taken at their own size, or enlarged to 75 pixels: the activations need to be comparable with each
    other, not with FID's at 299 pixels, which would cost sixteen times as much.

    Raises:
        WeightsUnavailable: Inception's weights are not at hand.
    """
    network = metrics.extractor(device=str(device)).network

    def features(images: Tensor) -> Tensor:
        images = images.expand(-1, 3, -1, -1)
        if min(images.shape[2:]) < SMALLEST:
            images = interpolate(images, size=(SMALLEST, SMALLEST), mode="bilinear", align_corners=False)
        activations: Tensor = network(images)
        return activations

    return features
