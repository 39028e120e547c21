"""The autoencoder's game: a GAN whose generator and discriminator meet in a space of codes (Pidhorskyi, Adjeroh,
Doretto 2020, "Adversarial Latent Autoencoders", algorithm 1).

The generator is G after F, the discriminator D after E, and E after G is to be the identity on codes. One iteration is
the algorithm's three steps, each on latents of its own:

    I    E and D learn to tell real images from generated ones (`d_steps` times)
    II   F and G learn to deceive them (`g_steps` times)
    III  E and G learn that E(G(w)) = w, for w = F(z) as it stands

Reciprocity is asked of codes, never of pixels: so reconstructions keep what the discriminator looks at, and are not
blurred as those of an autoencoder that compares pixels.
"""

import torch
from torch import Tensor, nn

from models import CodeDiscriminatorConfig
from training.data.images import Dataset, Stream
from training.engine.draws import generator_of
from training.engine.ema import Average
from training.engine.stage import Moment, Stage
from training.games.alae_options import NETWORKS, ALAERun
from training.games.architectures import config_of
from training.games.autoencoder import Autoencoder, Drawing
from training.games.game import Game, Players, Step, game
from training.games.judge import Judge, Sight, Verdict
from training.games.optimize import Mover, equalized, frozen
from training.games.sampler import latents_of, read_images
from training.objective.terms import reciprocity

LATENT_SHARE = 0.1  # of the learning rate, for F and D, as in the authors' code


class Critic(nn.Module):
    """D after E: images [n, c, s, s] -> logits [n]."""

    def __init__(self, encoder: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.encoder, self.discriminator = encoder, discriminator

    def features(self, images: Tensor) -> list[Tensor]:
        """The encoder's activations."""
        activations: list[Tensor] = self.encoder.features(images)  # type: ignore[operator]
        return activations

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(self.encoder(images))
        return logits


class RoundTrip(nn.Module):
    """E after G: codes [n, code] -> the codes of their images."""

    def __init__(self, generator: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.generator, self.encoder = generator, encoder

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = self.encoder(self.generator(codes))
        return found


@game
class ALAE(Game):
    """The players of one run and the steps they take."""

    Run = ALAERun
    about = "Train an autoencoder: ALAE, which draws images from latents and finds the codes of images."
    read = staticmethod(read_images)

    def __init__(self, run: ALAERun, data: Dataset, stage: Stage) -> None:
        self.run, self.data, self.stage = run, data, stage
        self.images_per_step = run.pace.batch * run.game.d_steps
        config = config_of(NETWORKS[run.network.network], run)
        self.latent_size = config.latent_size
        parts = {name: stage.place(network) for name, network in config.parts().items()}
        self.mapping, self.generator, self.encoder = parts["mapping"], parts["generator"], parts["encoder"]
        discriminator = config_of(CodeDiscriminatorConfig, run, beside="discriminator_").build()
        self.discriminator = stage.place(discriminator)
        # a step moves what it has gradients of, so the two movers serve the three steps, as in the authors' code
        self.drawing, self.critic = Drawing(self.mapping, self.generator), Critic(self.encoder, self.discriminator)
        g_rates = equalized(self.mapping, LATENT_SHARE) | equalized(self.generator)
        d_rates = equalized(self.encoder) | equalized(self.discriminator, LATENT_SHARE)
        self.g_mover = Mover(self.drawing, run.optimizer.g_rate, run.optimizer, g_rates)
        self.d_mover = Mover(self.critic, run.optimizer.d_rate, run.optimizer, d_rates)
        averages = {name: Average(network, run.optimizer.half_life) for name, network in parts.items()}
        self.players = Players(
            networks=parts | {"discriminator": self.discriminator},
            optimizers={"generator": self.g_mover.optimizer, "discriminator": self.d_mover.optimizer},
            averages=averages,
        )
        self.family = Autoencoder(run, data, stage, config, averages)
        self.stream = Stream(
            data, run.pace.seed, run.data.image_size, flips=run.data.flips, device=stage.device, share=stage.share
        )
        self.judge = Judge(self.critic, run, stage)
        self.synced_drawing = stage.for_training(self.drawing)
        self.synced_round_trip = stage.for_training(RoundTrip(self.generator, self.encoder))

    @property
    def data_seconds(self) -> float:
        return self.stream.seconds

    def step(self, moment: Moment) -> Step:
        """Steps I, II and III."""
        run, seed = self.run, self.run.pace.seed
        draws = generator_of(seed, moment.step, 0)
        sight = self.judge.sight(seed, moment)
        self.g_mover.at(moment)
        self.d_mover.at(moment)
        for number in range(run.game.d_steps):
            real, _ = self.stream.take(moment.images + number * run.pace.batch, run.pace.batch, draws)
            verdict = self._tell_apart(real, self._latents(draws), sight)
        for _ in range(run.game.g_steps):
            loss_g = self._deceive(real, self._latents(draws), sight)
        gradient_norm = self.g_mover.gradient_norm()
        missed = self._reciprocate(self._latents(draws))
        for name, average in self.players.averages.items():
            average.update(self.players.networks[name], self.images_per_step, moment.after(self.images_per_step))
        extra = {"reciprocity": missed, "d_real": verdict.real, "d_fake": verdict.fake}
        return Step(verdict.loss, loss_g, gradient_norm, extra)

    def _tell_apart(self, real: Tensor, latents: Tensor, sight: Sight) -> Verdict:
        """Step I moves E and D: the discriminator's loss, and R1 at real images."""
        with torch.no_grad():
            fake = self._drawn(latents)
        verdict = self.judge.discriminator_loss(real=real, fake=fake, sight=sight)
        self.d_mover.descend(verdict.total)
        return verdict

    def _deceive(self, real: Tensor, latents: Tensor, sight: Sight) -> Tensor:
        """Step II moves F and G. Returns the adversarial loss."""
        with frozen(self.critic):
            loss, matched = self.judge.generator_loss(fake=self._drawn(latents), real=real, sight=sight)
            self.g_mover.descend(loss if matched is None else loss + matched)
        return loss.detach()

    def _reciprocate(self, latents: Tensor) -> Tensor:
        """Step III moves E and G: the codes of generated images, against the codes they were drawn from."""
        with self.g_mover.step(), self.d_mover.step():
            with self.stage.autocast():
                with torch.no_grad():
                    codes = self.mapping(latents)
                found = self.synced_round_trip(codes)
            missed = reciprocity(code=codes.float(), found=found.float())
            missed.backward()
        return missed.detach()

    def _latents(self, draws: torch.Generator) -> Tensor:
        return latents_of(self.stage, self.run.pace.batch, self.latent_size, draws)

    def _drawn(self, latents: Tensor) -> Tensor:
        with self.stage.autocast():
            fake: Tensor = self.synced_drawing(latents).float()
            return fake
