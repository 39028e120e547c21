"""The latent of a photo for a generator without an encoder: found by optimisation.

For each photo a few hundred latents are drawn, and the nearest ones are where Adam starts. What it makes smaller (Zhu
et al. 2016, section 3.1; Abdal et al. 2019, eq. 1) is the mean absolute difference of pixels, the perceptual distance,
and a prior: normal vectors of d components lie near the length sqrt(d), and far from it the generator was never
trained. Starts do not touch one another; the best of all steps is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import metrics
import models

_CANDIDATES = 256  # latents drawn for a photo
_ROWS = 16  # of one pass
_RATE = 0.05
_PERCEPTUAL, _PRIOR = 1.0, 0.1  # weights beside the pixels' 1


@dataclass(frozen=True)
class Search:
    """How long to look: `starts` for each photo, `steps` of Adam from each; the class of all photos, where known."""

    starts: int
    steps: int
    label: int | None = None


@dataclass(frozen=True)
class Found:
    """The best so far, for each photo: latents [n, latent], classes int64 [n] or None, images [n, c, s, s]."""

    latents: Tensor
    classes: Tensor | None
    images: Tensor


Report = Callable[[int, int, Callable[[], Found]], None]
"""Called with (steps done, steps in all, what gives the best so far); what it raises ends the search."""


def invert(
    network: models.Generator,
    photos: Tensor,
    search: Search,
    seeds: Sequence[int],
    distance: metrics.PerceptualDistance | None,
    report: Report,
) -> Found:
    """Photos [n, c, s, s] in [-1, 1] to what draws them most nearly.

    Args:
        seeds: of the latents that are drawn, `candidates(n)` of them: equal ones find the same.
        distance: None where the Inception's weights are not at hand; pixels alone are then compared.
    """
    every = [_Photo(network, photo[None], search, distance) for photo in photos]
    done, total = 0, search.steps * len(every)

    def best() -> Found:
        classes = torch.tensor([one.label for one in every]) if network.classes else None
        return Found(torch.cat([one.latent for one in every]), classes, torch.cat([one.image for one in every]))

    for number, one in enumerate(every):
        one.begin(seeds[number * _CANDIDATES : (number + 1) * _CANDIDATES])
    for one in every:
        for _ in one.steps():
            done += 1
            report(done, total, best)
    return best()


def candidates(photos: int) -> int:
    """How many seeds `invert` takes."""
    return photos * _CANDIDATES


class _Photo:
    """One photo and the latents that it is looked for from."""

    def __init__(
        self,
        network: models.Generator,
        photo: Tensor,
        search: Search,
        distance: metrics.PerceptualDistance | None,
    ) -> None:
        self._network, self._photo, self._search, self._distance = network, photo, search, distance
        with torch.no_grad():
            self._seen = distance.activations(photo) if distance is not None else []
        self._loss = float("inf")
        self.latent, self.label, self.image = torch.empty(0), 0, photo

    def begin(self, seeds: Sequence[int]) -> None:
        """Draws candidates, and keeps the nearest as starts."""
        latents = models.draw(seeds, self._network.latent_size).to(self._photo.device)
        labels = self._labels(len(latents)).to(latents.device)
        with torch.no_grad():
            losses = torch.cat(
                [
                    self._losses(few, kinds)[0]
                    for few, kinds in zip(latents.split(_ROWS), labels.split(_ROWS), strict=True)
                ]
            )
        nearest = losses.argsort()[: self._search.starts]
        self._latents, self._kinds = latents[nearest].clone(), labels[nearest]
        self._keep(*self._losses(self._latents, self._kinds))

    def steps(self) -> Iterator[None]:
        """Adam's steps from all starts at once, with a cosine from `_RATE` to 0."""
        latents = self._latents.requires_grad_(True)
        adam = torch.optim.Adam([latents], lr=_RATE)
        pace = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self._search.steps)
        for _ in range(self._search.steps):
            adam.zero_grad()
            losses, images = self._losses(latents, self._kinds)
            losses.sum().backward()
            self._keep(losses.detach(), images)
            adam.step()
            pace.step()
            yield
        with torch.no_grad():
            self._keep(*self._losses(latents, self._kinds))

    def _labels(self, count: int) -> Tensor:
        """The class that is known, or the classes in turn."""
        if self._search.label is not None:
            return torch.full((count,), self._search.label)
        return torch.arange(count) % max(1, len(self._network.classes))

    def _losses(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """([n], images [n, c, s, s])."""
        images = self._network.forward(latents, labels if self._network.classes else None)
        losses = (images - self._photo).abs().mean(dim=(1, 2, 3)) / 2
        if self._distance is not None:
            losses = losses + _PERCEPTUAL * self._distance.between(self._distance.activations(images), self._seen)
        return losses + _PRIOR * (latents.square().mean(dim=1) - 1).square(), images

    def _keep(self, losses: Tensor, images: Tensor) -> None:
        least = int(losses.argmin())
        if float(losses[least]) < self._loss:
            self._loss = float(losses[least])
            self.latent = self._latents[least : least + 1].detach().clone().cpu()
            self.label = int(self._kinds[least])
            self.image = images[least : least + 1].detach()
