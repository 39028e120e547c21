"""The one-sided translator's game: contrastive unpaired translation (Park, Efros, Zhang, Zhu 2020).

One generator, of A to B, plays against one discriminator. In the place of CycleGAN's way back, a patch of a translation
has to tell, among the patches of its photo, the one that it was made of (`training/objective/contrastive.py`). Patches
are places in the inner maps of the generator's own first half, seen through projection heads that learn with it.
"""

import torch
from torch import Tensor, nn

from training.engine.stage import Stage
from training.games.cut_options import CUTRun
from training.games.game import game
from training.games.judge import Sight
from training.games.masks import Masks
from training.games.opponents import Photos
from training.games.optimize import Mover, frozen
from training.games.translator import Domains
from training.games.unpaired import UnpairedGame
from training.networks.projection_heads import ProjectionHeads
from training.objective.contrastive import patch_nce


class Contrasted(nn.Module):
    """Generator and heads in one pass, since processes that train together average the gradients of one.

    Called with photos [n, c, h, w], whether each of them is mirrored, [n] or None for none, and the places of every
    layer. Gives the translations; masks or None; and the vectors of the translations' places, for each layer [n, p, d],
    where the maps of a mirrored photo's translation are mirrored back.
    """

    def __init__(self, generator: nn.Module, heads: nn.Module, masks: Masks) -> None:
        super().__init__()
        self.generator, self.heads = generator, heads
        self.beside, self.blend = masks.beside(generator), masks.blend

    def forward(
        self, photos: Tensor, mirrored: Tensor | None, *places: Tensor
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        fake, masks = self.blend(self.beside(photos), photos)
        maps = [flipped(one, mirrored) for one in inner_maps(self.generator, fake)]
        return fake, masks, self.heads(maps, places)


@game
class CUT(UnpairedGame):
    """The generator's side, of one direction."""

    Run = CUTRun
    about = "Train a translator of one direction: CUT or FastCUT, on two folders of photos."
    run: CUTRun

    def __init__(self, run: CUTRun, data: Domains, stage: Stage) -> None:
        super().__init__(run, data, stage, ("a_to_b",))
        (self.a_to_b,) = self.generators
        config = self.family.config
        with torch.no_grad():
            side = config.minimum_size
            maps = inner_maps(self.a_to_b, torch.zeros(1, config.channels, side, side, device=stage.device))
        self.heads = stage.place(ProjectionHeads([one.shape[1] for one in maps], run.network.projection))
        self.heads_mover = Mover(self.heads, run.optimizer.g_rate, run.optimizer)
        self.movers["heads"] = self.heads_mover
        self.players.networks["heads"] = self.heads
        self.players.optimizers["heads"] = self.heads_mover.optimizer
        self.synced = stage.for_training(Contrasted(self.a_to_b, self.heads, self.masks))

    def _generator_step(self, real: Photos, sight: Sight) -> tuple[Photos, dict[str, Tensor]]:
        """Equation 5 of the paper: the adversarial loss and PatchNCE of photos of A, and of B, which should stay.

        Flip equivariance is FastCUT's: what a mirrored photo becomes should be the mirrored translation.
        """
        game, count = self.run.game, len(real["a"])
        photos = torch.cat([real["a"], real["b"]]) if game.nce_identity else real["a"]
        places, keys = self._keys(photos, sight)
        mirrored = None
        if game.flip_equivariance:  # of A and of B alike
            mirrored = (sight.draws.uniform(count) < 0.5).repeat(len(photos) // count)
        shown = flipped(photos, mirrored)
        with self.g_mover.step(), self.heads_mover.step(), frozen(self.opponents.together):
            with self.stage.autocast():
                made, masks, queries = self.synced(shown, mirrored, *places)
            fake = made[:count].float()
            total, loss_g = self.opponents.to_deceive("b", fake, real["b"], sight)
            contrast = self._contrast(queries, keys, slice(count))
            terms = {"loss_g": loss_g, "nce": contrast.detach()}
            total = total + game.nce * contrast
            if game.nce_identity:
                identity = self._contrast(queries, keys, slice(count, None))
                terms["nce_identity"] = identity.detach()
                total = total + game.nce_identity * identity
            if masks is not None:
                own, told = self.masks.loss(masks[:count], shown[:count])
                total, terms = total + own, terms | told
            total.backward()
        return {"b": fake.detach()}, terms

    def _contrast(self, queries: list[Tensor], keys: list[Tensor], part: slice) -> Tensor:
        """PatchNCE of some of the photos."""
        asked, kept = ([one[part] for one in side] for side in (queries, keys))
        return patch_nce(queries=asked, keys=kept, temperature=self.run.game.temperature)

    def _keys(self, photos: Tensor, sight: Sight) -> tuple[list[Tensor], list[Tensor]]:
        """Places to compare, of every layer, and the photos' vectors there."""
        with torch.no_grad(), self.stage.autocast():
            maps = inner_maps(self.a_to_b, photos)
            places = [sight.draws.some_of(one[0, 0].numel(), self.run.game.patches) for one in maps]
            return places, self.heads(maps, places)


def inner_maps(generator: nn.Module, images: Tensor) -> list[Tensor]:
    """What is compared of images [n, c, h, w]: a generator's maps of each layer, [n, c', h', w']."""
    maps: list[Tensor] = generator.features(images)  # type: ignore[operator]
    return maps


def flipped(images: Tensor, mirrored: Tensor | None) -> Tensor:
    """Images or maps [n, c, h, w]; those that `mirrored` [n] is true of are mirrored left to right."""
    return images if mirrored is None else torch.where(mirrored[:, None, None, None], images.flip(3), images)
