"""Distillation: a small translator, the student, learns what a large one, its teacher, makes of the same photos.

Li, Lin, Ding, Liu, Zhu, Han 2020, "GAN Compression: Efficient Architectures for Interactive Conditional GANs". Photos
have no partner in the other domain, but a teacher gives them one: its translation is what the student's should be
(their equation 2). Discriminators of both domains judge the student beside that, by the data alone.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import models
from models import InputError, NotFoundError
from training.engine.stage import Stage
from training.games.distil_options import DistilRun
from training.games.game import game
from training.games.judge import Sight
from training.games.opponents import Photos
from training.games.translator import Domains
from training.games.unpaired import TARGETS, UnpairedGame
from training.objective.terms import imitation, inception_features, perceptual


@game
class Distil(UnpairedGame):
    """The student's side, of the directions that the teacher has."""

    Run = DistilRun
    about = "Train a small translator to do what a large one does, on two folders of photos."
    run: DistilRun

    def __init__(self, run: DistilRun, data: Domains, stage: Stage) -> None:
        teacher = read_teacher(run.network.teacher)
        super().__init__(run, data, stage, teacher.directions)
        if run.game.imitate_mask and not teacher.config.attends:
            raise InputError(f"--imitate-mask: {run.network.teacher} gives no masks.", where="imitate_mask")
        self.taught = {"teacher": {"name": Path(run.network.teacher).stem, "digest": teacher.digest}}
        self.origin = self.taught
        # as in training: its masks are soft there, as the student's are, and both are made sharper when they serve
        self.teachers: dict[str, nn.Module] = {
            name: stage.place(part.requires_grad_(False)).train() for name, part in teacher.parts.items()
        }
        self.attentive = teacher.config.attends
        self.perception = inception_features(stage.device) if run.game.perceptual else None
        self.synced: dict[str, nn.Module] = {
            name: stage.for_training(self.masks.beside(network))
            for name, network in zip(teacher.directions, self.generators, strict=True)
        }

    def begin_with(self, weights: Mapping[str, Mapping[str, Tensor]], origin: Mapping[str, Any]) -> None:
        """As every game; the teacher stays in what is told of the origin."""
        super().begin_with(weights, {**origin, **self.taught})

    def _generator_step(self, real: Photos, sight: Sight) -> tuple[Photos, dict[str, Tensor]]:
        """Equation 4 of the paper, summed over the directions; without its term of inner maps."""
        return self._each_direction(real, partial(self._direction, sight))

    def _direction(self, sight: Sight, name: str, photos: Tensor, others: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds one direction's gradients. `others` are photos of the domain that is translated to."""
        game = self.run.game
        with self.stage.autocast():
            fake, masks = self.masks.blend(self.synced[name](photos), photos)
            wanted, wanted_masks = self._taught(name, photos)
        fake = fake.float()
        total, loss_g = self.opponents.to_deceive(TARGETS[name], fake, others, sight)
        imitated = imitation(translated=fake, taught=wanted)
        terms = {"loss_g": loss_g, "imitation": imitated.detach()}
        total = total + game.imitate * imitated
        if self.perception:
            total = total + game.perceptual * perceptual(self.perception, image=fake, target=wanted)
        if masks is not None:
            own, told = self.masks.loss(masks, photos)
            total, terms = total + own, terms | told
            if wanted_masks is not None:
                mask = imitation(translated=masks, taught=wanted_masks)
                total, terms = total + game.imitate_mask * mask, terms | {"mask_imitation": mask.detach()}
        total.backward()
        return fake.detach(), terms

    @torch.no_grad()
    def _taught(self, name: str, photos: Tensor) -> tuple[Tensor, Tensor | None]:
        """The teacher's translations, and its masks where it gives any."""
        teacher = self.teachers[name]
        if not self.attentive:
            return teacher(photos).float(), None
        painted, masks = (one.float() for one in teacher.attend(photos))  # type: ignore[operator]
        return models.compose(photos, painted, masks), masks


def read_teacher(path: str) -> models.Translator:
    """The translator to learn from.

    Raises:
        InputError: none is named, or another kind of model.  NotFoundError: there is no such file.
        CheckpointError: it is no checkpoint.
    """
    if not path:
        raise InputError("--teacher is missing: the checkpoint of the translator to learn from.", where="teacher")
    if not Path(path).is_file():
        raise NotFoundError(f"--teacher {path}: there is no such file.", where="teacher")
    teacher = models.load(path)
    if not isinstance(teacher, models.Translator):
        raise InputError(f"--teacher {path} is {teacher.DOES}, not one that translates photos.", where="teacher")
    if teacher.channels != 3:
        raise InputError(f"--teacher {path} translates grey images; a student's photos have colours.", where="teacher")
    return teacher
