"""The options of a DCGAN run."""

from dataclasses import dataclass, field, replace
from typing import Literal

from training.objective.losses import LOSSES
from training.options.flags import option, positive, require
from training.options.shared import Adversary, Machine, Optimizer, Output, Pace, Watch, check_common, check_projected


@dataclass(frozen=True)
class SamplerData:
    """Data."""

    data: str = option("", "folder, .zip, or `fake`: MNIST, CIFAR-10, one folder per class, or a flat folder")
    image_size: int = option(64, "side in pixels; images are scaled by their shorter side and cut at the centre")
    channels: int = option(3, "3 for colour, 1 for grey")
    flips: bool = option(False, "mirror half of the images; off, since digits and text have a handedness")
    conditional: bool = option(False, "learn one class per label (class embedding, projection discriminator)")
    skip_broken: bool = option(False, "list images that do not decode and go on without them; off: refuse")


@dataclass(frozen=True)
class SamplerNetwork:
    """Networks."""

    network: Literal["dcgan", "mlp"] = option("dcgan", "dcgan, or mlp: the fully connected GAN of the first paper")
    latent_size: int = option(100, "numbers that the generator draws an image from")
    width: int = option(64, "channels of the generator's highest-resolution layer; doubled at each lower one")
    discriminator: Literal["dcgan", "projected"] = option(
        "dcgan", "dcgan; or projected: on ImageNet features (docs/training.md), good pictures in a tenth of the images"
    )
    feature_size: int = option(64, "projected: side in pixels that images are scaled to for the features")
    discriminator_width: int = option(64, "the same for the discriminator")
    max_multiplier: int = option(8, "the doubling stops at width times this")
    discriminator_norm: Literal["auto", "batch", "layer", "spectral", "none"] = option(
        "auto", "auto: batch, as DCGAN; but layer with a gradient penalty (wgan-gp, --r1). spectral goes with hinge"
    )
    refine: bool = option(False, "one more 3 x 3 convolution per resolution in the discriminator; better, slower")
    dropout: float = option(0.0, "dropout before the discriminator's last layer (mlp: usual is 0.3)")
    class_embedding: int = option(
        32, "conditional: components of a class beside the latent; 0: each class scales and shifts every batch norm"
    )
    start: str = option("", "checkpoint to begin the generator with; the discriminator begins anew")
    hidden: int = option(1200, "mlp: units in each of the generator's hidden layers")
    discriminator_hidden: int = option(240, "mlp: maxout units in each of the discriminator's hidden layers")


@dataclass(frozen=True)
class SamplerGame(Adversary):
    """The game: losses and tricks of the trade."""

    perceptual: float = option(0.0, "weight of mean Inception activations matched, added to the generator's loss")


@dataclass(frozen=True)
class DCGANRun:
    """A run that trains a sampler: latents to images."""

    data: SamplerData = field(default_factory=SamplerData)
    network: SamplerNetwork = field(default_factory=SamplerNetwork)
    game: SamplerGame = field(default_factory=SamplerGame)
    optimizer: Optimizer = field(default_factory=Optimizer)
    pace: Pace = field(default_factory=Pace)
    watch: Watch = field(default_factory=Watch)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        check_common(self)
        game, network, data = self.game, self.network, self.data
        require(data.channels in (1, 3), "channels", "must be 1 or 3", data.channels)
        # seen with torch 2.11 on an H100: what convolutions give back is laid out otherwise than was compiled for
        require(not self.machine.compile, "compile", "is for cyclegan: DCGAN's gradients fail in it", True)
        if network.network == "dcgan":
            sizes = (16, 32, 64, 128, 256)
            require(data.image_size in sizes, "image_size", f"must be one of {sizes}", data.image_size)
        else:
            require(not data.conditional, "conditional", "needs --network dcgan", data.conditional)
            require(data.image_size >= 4, "image_size", "must be 4 or more", data.image_size)
        for name in ("width", "discriminator_width", "max_multiplier", "latent_size", "hidden", "discriminator_hidden"):
            positive(name, getattr(network, name))
        require(network.class_embedding >= 0, "class_embedding", "must be 0 or more", network.class_embedding)
        require(0 <= network.dropout < 1, "dropout", "must be in [0, 1)", network.dropout)
        if network.discriminator == "projected":
            require(network.network == "dcgan", "discriminator", "projected needs --network dcgan", network.network)
            rule = "has no meaning for a projected discriminator"
            require(not network.refine, "refine", rule, network.refine)
            require(network.dropout == 0, "dropout", rule, network.dropout)
            check_projected(game, network.discriminator_norm, ("auto", "batch"), "feature_size", network.feature_size)
        penalised = LOSSES[game.loss].gradient_penalty is not None or game.r1 > 0
        norm = network.discriminator_norm
        if norm == "auto":  # settled here, so that a run's file says what it trained with
            norm = "none" if network.network == "mlp" else "layer" if penalised else "batch"
            object.__setattr__(self, "network", replace(network, discriminator_norm=norm))
        require(
            not (penalised and norm == "batch" and network.network == "dcgan"),
            "discriminator_norm",
            "must be layer, spectral or none with a gradient penalty, since batch norm couples the images",
            norm,
        )
