"""Masks in a game (`models/networks/attention.py`): the picture that they make, and the terms that they learn from
(`training/objective/attention.py`)."""

import torch
from torch import Tensor, nn

from models import Unblended, compose
from training.engine.stage import Stage
from training.games.unpaired_options import UnpairedRun, class_range
from training.networks.activation_map import ActivationMap
from training.networks.backbone_weights import backbone, classifier
from training.objective.attention import edge_aware_variation, guidance, sparsity


class Masks:
    """What a run's masks are and learn from; of a run without `--attention`, translations alone.

    Raises:
        WeightsUnavailable: the run has a guide, and the classifier's weights are not at hand.
    """

    def __init__(self, run: UnpairedRun, stage: Stage) -> None:
        self.options, self.stage, self.present = run.game, stage, run.network.attention > 0
        self.guide: nn.Module | None = None
        if run.game.guide:
            self.guide = stage.place(ActivationMap(backbone(), classifier(), class_range(run.game.guide_classes)))

    def beside(self, generator: nn.Module) -> nn.Module:
        """A generator that gives its masks beside what it paints, for `blend`; without attention as it is."""
        return Unblended(generator) if self.present else generator

    def blend(self, made: Tensor, photos: Tensor) -> tuple[Tensor, Tensor | None]:
        """Translations [n, c, h, w] and masks [n, 1, h, w], of what a generator with its masks beside made of photos.

        It blends in full precision, so that what a mask leaves stays as it was.
        """
        if not self.present:
            return made, None
        painted, masks = made[:, :-1].float(), made[:, -1:].float()
        return compose(photos.float(), painted, masks), masks

    def loss(self, masks: Tensor, photos: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted terms of masks, and each without its weight."""
        options = self.options
        terms = {"mask": sparsity(masks), "mask_edges": edge_aware_variation(masks, photos)}
        total = options.sparsity * terms["mask"] + options.smoothness * terms["mask_edges"]
        if self.guide is not None:
            with torch.no_grad(), self.stage.autocast():
                seen = self.guide(photos).float()
            terms["mask_guide"] = guidance(masks, seen)
            total = total + options.guide * terms["mask_guide"]
        return total, {name: term.detach() for name, term in terms.items()}
