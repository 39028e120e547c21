"""The options of a DCGAN run."""

from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from models import Generator, SamplerConfig, architectures, discriminators
from training.games.architectures import config_of, default_of, fields
from training.games.sampler import SamplerRun
from training.objective.losses import LOSSES
from training.options.base import require
from training.options.run import check_projected
from training.options.shared import Adversary, Network, Pace

# those that come with a discriminator
NETWORKS = {
    kind: cast(type[SamplerConfig], config)
    for kind, config in architectures(Generator).items()
    if kind in discriminators()
}
CHOICES = ", ".join(NETWORKS)
JUDGES = f"auto, {CHOICES}, projected"


class DCGANNetwork(Network):
    """Networks."""

    network: str = Field("dcgan", description=f"one of: {CHOICES} (mlp is the fully connected GAN of the first paper)")
    latent_size: int = Field(100, gt=0, description="numbers that the generator draws an image from")
    width: int = Field(
        64, gt=0, description="channels of the generator's highest-resolution layer; doubled at each lower one"
    )
    discriminator: str = Field(
        "auto",
        description=f"auto: the network's own; or one of: {CHOICES}; or projected: on ImageNet features "
        "(docs/training.md), good pictures in a tenth of the images",
    )
    feature_size: int = Field(64, description="projected: side in pixels that images are scaled to for the features")
    discriminator_width: int = Field(64, gt=0, description="the discriminator's width")
    max_multiplier: int = Field(8, gt=0, description="the doubling stops at width times this")
    discriminator_norm: Literal["auto", "batch", "layer", "spectral", "none"] = Field(
        "auto",
        description="auto: the discriminator's own, batch for DCGAN's; but layer for batch with a gradient penalty "
        "(wgan-gp, --r1, --r2). spectral goes with hinge",
    )
    refine: bool = Field(
        False, description="one more 3 x 3 convolution per resolution in the discriminator; better, slower"
    )
    generator_norm: Literal["auto", "spectral", "none"] = Field(
        "auto",
        description="spectral: on every layer of the generator while it trains, and in its weights ever after; auto: "
        "the network's own, which only biggan's paper asks for",
    )
    attention: int = Field(
        0,
        ge=0,
        description="biggan: side in pixels of the maps with self-attention, in both networks; 0: none (the paper: "
        "half of the image's side)",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout before the discriminator's last layer (mlp: usual is 0.3)"
    )
    class_embedding: int = Field(
        32,
        ge=0,
        description="conditional: components of a class beside the latent; 0: each class scales and shifts every batch "
        "norm. biggan: of the embedding that all norms share (the paper: 128)",
    )
    hidden: int = Field(1200, gt=0, description="mlp: units in each of the generator's hidden layers")
    discriminator_hidden: int = Field(
        240, gt=0, description="mlp: maxout units in each of the discriminator's hidden layers"
    )

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        require(name in NETWORKS, "network", f"must be one of {CHOICES}", name)
        return name

    @field_validator("discriminator")
    @classmethod
    def _known_discriminator(cls, name: str) -> str:
        require(name in JUDGES.split(", "), "discriminator", f"must be one of {JUDGES}", name)
        return name


class DCGANAdversary(Adversary):
    """The game: losses and tricks of the trade."""

    orthogonal: float = Field(
        0.0,
        ge=0,
        description="weight of orthogonal regularisation of the generator, so that truncated latents are drawn well "
        "(BigGAN's beta, 1e-4); 0 is off",
    )


class DCGANPace(Pace):
    """Length and rhythm."""

    accumulate: int = Field(
        1,
        gt=0,
        le=2**20,
        description="parts that each process takes its share of a batch in, one after the other, before a step: for "
        "batches larger than memory. Batch norm's batch is a part",
    )


class DCGANRun(SamplerRun):
    """A run that trains a sampler: latents to images."""

    kind: Literal["dcgan"] = "dcgan"
    network: DCGANNetwork = DCGANNetwork()
    game: DCGANAdversary = DCGANAdversary()
    pace: DCGANPace = DCGANPace()

    @property
    def parts(self) -> int:
        return self.pace.accumulate

    def settled(self) -> dict[str, Any]:
        """The norms and the discriminator, where they were left open, beside what the loss's paper asks for."""
        network, left_open = self.network, super().settled()
        judge = network.network if network.discriminator == "auto" else network.discriminator
        if network.discriminator == "auto":
            left_open["discriminator"] = judge
        if network.generator_norm == "auto":
            left_open["generator_norm"] = getattr(NETWORKS[network.network], "trained_norm", "none")
        if network.discriminator_norm == "auto":
            left_open["discriminator_norm"] = self._usual_norm(judge)
        return left_open

    def _usual_norm(self, judge: str) -> str:
        """The norm that a discriminator has where none is asked for."""
        if judge == "projected":
            return "batch"
        norm = str(default_of(discriminators()[judge], "norm", "none"))
        return "layer" if norm == "batch" and self._penalised else norm

    def on_a_gpu(self) -> dict[str, bool]:
        """CUDA graphs gain where a step is many small operations."""
        return {"graphs": self.network.discriminator == "projected" and self.parts == 1}

    @property
    def _penalised(self) -> bool:
        return LOSSES[self.game.loss].gradient_penalty is not None or self.game.r1 > 0 or self.game.r2 > 0

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        network, judge, norm = self.network, self.network.discriminator, self.network.discriminator_norm
        # seen with torch 2.11 on an H100: what convolutions give back is laid out otherwise than was compiled for
        require(not self.machine.compile, "compile", "is for cyclegan: DCGAN's gradients fail in it", True)
        self._check_parts()
        if "auto" in (judge, norm, network.generator_norm):
            return self  # to be settled; what that comes to is checked in its turn
        generator, classes = NETWORKS[network.network], 2 if self.data.conditional else 0
        require(
            not classes or "classes" in fields(generator),
            "conditional",
            f"does not go with --network {network.network}, which knows no classes",
            True,
        )
        config_of(generator, self, classes=classes)
        if judge == "projected":
            require(network.network == "dcgan", "discriminator", "projected needs --network dcgan", network.network)
            rule = "has no meaning for a projected discriminator"
            require(not network.refine, "refine", rule, network.refine)
            require(network.dropout == 0, "dropout", rule, network.dropout)
            check_projected(self, norm, ("batch",), "feature_size", network.feature_size)
            return self
        config_of(discriminators()[judge], self, beside="discriminator_", classes=classes)
        named = norm == "none" or "norm" in fields(discriminators()[judge])
        require(named, "discriminator_norm", f"has no meaning for the discriminator of {judge}", norm)
        require(
            not (self._penalised and norm == "batch"),
            "discriminator_norm",
            "must be layer, spectral or none with a gradient penalty, since batch norm couples the images",
            norm,
        )
        return self

    def _check_parts(self) -> None:
        """What would be another thing for the parts of a batch than for all of it."""
        game, pace, parts = self.game, self.pace, self.pace.accumulate
        require(pace.batch % parts == 0, "accumulate", f"must divide --batch {pace.batch}", parts)
        if parts > 1:
            require(not self.machine.graphs, "graphs", "does not go with --accumulate", True)
            for name in ("feature_matching", "perceptual"):
                rule = "compares means over the whole batch, so it does not go with --accumulate"
                require(getattr(game, name) == 0, name, rule, getattr(game, name))
