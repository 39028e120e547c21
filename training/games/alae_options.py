"""The options of an ALAE run. The defaults are the paper's, or its authors' code's where the paper is silent."""

from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from models import Autoencoder, AutoencoderConfig, CodeDiscriminatorConfig, architectures
from training.games.architectures import config_of, default_of
from training.games.sampler import SamplerRun
from training.objective.losses import LOSSES
from training.options.base import require
from training.options.shared import Adversary, Batch, Kimg, Network, Optimizer, Pace

NETWORKS = {kind: cast(type[AutoencoderConfig], config) for kind, config in architectures(Autoencoder).items()}
CHOICES = ", ".join(NETWORKS)
OF_THE_NETWORK = ("latent_size", "code_size")  # 0 stands for the network's own


class ALAENetwork(Network):
    """Networks."""

    network: str = Field(
        "alae-dcgan",
        description=f"one of: {CHOICES} (alae-mlp is the fully connected one of the paper's MNIST experiment; "
        "alae-dcgan takes DCGAN's networks, for 32, 64 or 128 px)",
    )
    latent_size: int = Field(0, ge=0, description="components of z; 0: the network's own, alae-mlp 50, alae-dcgan 128")
    code_size: int = Field(0, ge=0, description="components of w; 0: the network's own, alae-mlp 50, alae-dcgan 128")
    mapping_layers: int = Field(6, gt=0, description="layers of the mapping F, each as wide as a code")
    discriminator_layers: int = Field(3, gt=0, description="layers of the discriminator D, each as wide as a code")
    hidden: int = Field(1024, gt=0, description="alae-mlp: units in each hidden layer of generator and encoder")
    smooth: float = Field(
        0.0,
        ge=0,
        description="alae-mlp: deviation in pixels of the Gaussian that blurs what the encoder's first layer begins "
        "with; 0: none",
    )
    width: int = Field(
        64, gt=0, description="alae-dcgan: channels of the generator's highest-resolution layer; doubled at each lower"
    )
    encoder_width: int = Field(64, gt=0, description="alae-dcgan: the encoder's width")
    max_multiplier: int = Field(8, gt=0, description="alae-dcgan: the doubling stops at width times this")

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        require(name in NETWORKS, "network", f"must be one of {CHOICES}", name)
        return name


class ALAEAdversary(Adversary):
    """The game: losses and tricks of the trade."""

    r1: float = Field(
        10.0, ge=0, description="weight of R1, the squared gradient of D after E at real images (gamma); 0 is off"
    )


class ALAEOptimizer(Optimizer):
    """Optimizers (Adam)."""

    g_lr: float = Field(2e-3, gt=0, description="learning rate of mapping and generator; their latent layers' a tenth")
    d_lr: float = Field(2e-3, gt=0, description="learning rate of encoder and discriminator")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's beta1")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's beta2")


class ALAEPace(Pace):
    """Length and rhythm."""

    kimg: Kimg = 3000.0  # 50 epochs of MNIST
    batch: Batch = 128


class ALAERun(SamplerRun):
    """A run that trains an autoencoder: latents to images, and images to codes."""

    kind: Literal["alae"] = "alae"
    network: ALAENetwork = ALAENetwork()
    game: ALAEAdversary = ALAEAdversary()
    optimizer: ALAEOptimizer = ALAEOptimizer()
    pace: ALAEPace = ALAEPace()

    def settled(self) -> dict[str, Any]:
        """The sizes of latents and codes, where they were left to the network."""
        architecture = NETWORKS[self.network.network]
        own = {name: default_of(architecture, name, 0) for name in OF_THE_NETWORK if not getattr(self.network, name)}
        return super().settled() | own

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        game, machine = self.game, self.machine
        require(not self.data.conditional, "conditional", "is for dcgan: an ALAE knows no classes", True)
        clipped = LOSSES[game.loss].weight_clip is not None
        require(not clipped, "loss", "must be one without clipping, which equalised weights do not bear", game.loss)
        require(game.perceptual == 0, "perceptual", "is for dcgan and cyclegan", game.perceptual)
        for name in ("compile", "graphs"):
            require(not getattr(machine, name), name, "is not for alae", True)
        if all(getattr(self.network, name) for name in OF_THE_NETWORK):  # else to be settled, and checked in its turn
            config_of(NETWORKS[self.network.network], self)
            config_of(CodeDiscriminatorConfig, self, beside="discriminator_")
        return self
