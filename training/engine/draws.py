"""Random draws that are functions of (seed, step, purpose), so that there is no random state to lose or to keep.

They are made for the whole batch and each process takes its share, so that several processes see what one would.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def generator_of(seed: int, step: int, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random generator of one purpose of one step: a function of its arguments alone."""
    mixed = np.random.SeedSequence([seed, step, purpose]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(mixed >> 1))


@dataclass(frozen=True)
class Draws:
    """Numbers for the n images that this process, the `rank`th of `world`, has of a batch of n x world.

    generator: the same in every process. Its device is that of the numbers.
    """

    generator: torch.Generator
    rank: int = 0
    world: int = 1

    def uniform(self, n: int, *shape: int) -> Tensor:
        """float32 [n, *shape] in [0, 1)."""
        return self._share(torch.rand(self.world * n, *shape, generator=self.generator, device=self.generator.device))

    def normal(self, n: int, *shape: int) -> Tensor:
        """float32 [n, *shape] of mean 0 and variance 1."""
        return self._share(torch.randn(self.world * n, *shape, generator=self.generator, device=self.generator.device))

    def integers(self, limit: int, n: int, *shape: int) -> Tensor:
        """int64 [n, *shape] in [0, limit)."""
        size = (self.world * n, *shape)
        return self._share(torch.randint(limit, size, generator=self.generator, device=self.generator.device))

    def some_of(self, limit: int, count: int) -> Tensor:
        """int64 [min(count, limit)], different numbers in [0, limit); they belong to no image, so all processes have
        the same."""
        return torch.randperm(limit, generator=self.generator, device=self.generator.device)[:count]

    def _share(self, whole: Tensor) -> Tensor:
        n = len(whole) // self.world
        return whole[self.rank * n : (self.rank + 1) * n]
