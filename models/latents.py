"""Latent vectors: the one owner of randomness at inference.

Sample i of a request with seed s is a function of (s + i) alone: each has a generator of its own, on the CPU, so the
same seed gives the same latent whatever the batch, its neighbours or the number of workers. numpy's PCG64 is used
rather than torch's Mersenne Twister, which looks at the low 32 bits of a seed only.
"""

import secrets
from collections.abc import Sequence

import numpy as np
import torch

from models.errors import InputError

SEED_LIMIT = 2**63  # seeds fit a signed 64-bit integer everywhere they are stored


def check_seed(seed: int) -> int:
    """Returns `seed` if 0 <= seed < 2^63, else raises InputError."""
    if not 0 <= seed < SEED_LIMIT:
        raise InputError(f"A seed is a whole number from 0 to 2^63 - 1, not {seed}.", where="seed")
    return seed


def random_seed() -> int:
    """A seed for a caller who names none: below 2^53, so that a JavaScript client can send it back exactly."""
    return secrets.randbelow(2**53)


def sample_seeds(seed: int, n: int) -> list[int]:
    """The n seeds of a request: seed, seed + 1, ... (past 2^63 - 1 it goes on at 0)."""
    check_seed(seed)
    return [(seed + index) % SEED_LIMIT for index in range(n)]


def draw(seeds: Sequence[int], latent_size: int, *, truncation: float | None = None) -> torch.Tensor:
    """Standard normal latents, one per seed.

    Args:
        seeds: one seed for each sample.
        latent_size: components of a latent.
        truncation: None, or a threshold t > 0: components with |z| > t are drawn again, which trades variety
            for typicality (the truncation trick: Brock, Donahue, Simonyan 2019, section 3.1).
    Returns:
        float32 [len(seeds), latent_size] on the CPU.
    Raises:
        InputError: a seed or the truncation is out of range.
    """
    if truncation is not None and not 0.1 <= truncation <= 10.0:
        raise InputError(f"Truncation is a threshold from 0.1 to 10, not {truncation}.", where="truncation")
    rows = [_draw_one(check_seed(seed), latent_size, truncation) for seed in seeds]
    return torch.from_numpy(np.stack(rows) if rows else np.empty((0, latent_size), np.float32))


def _draw_one(seed: int, latent_size: int, truncation: float | None) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(seed))
    latent = generator.standard_normal(latent_size)
    if truncation is not None:
        while (outside := np.abs(latent) > truncation).any():
            latent[outside] = generator.standard_normal(int(outside.sum()))
    return latent.astype(np.float32)


def lerp(start: torch.Tensor, end: torch.Tensor, t: float | torch.Tensor) -> torch.Tensor:
    """(1 - t) start + t end; t broadcasts, 0..1."""
    return start + (end - start) * t


def slerp(start: torch.Tensor, end: torch.Tensor, t: float | torch.Tensor) -> torch.Tensor:
    """Spherical interpolation of latents [..., latent] (Shoemake 1985; for GANs: White 2016, section 2.1).

    A normal latent lies near the sphere of radius sqrt(latent); the straight line between two of them leaves that
    shell and lands where the generator was never trained, the arc does not. Where the two are parallel or opposite
    the arc is not defined, and the straight line is taken. t broadcasts against [..., 1], 0..1.
    """
    unit_start = torch.nn.functional.normalize(start.double(), dim=-1)
    unit_end = torch.nn.functional.normalize(end.double(), dim=-1)
    cosine = (unit_start * unit_end).sum(-1, keepdim=True).clamp(-1.0, 1.0)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    t = torch.as_tensor(t, dtype=torch.float64)
    arc = (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / sine
    return torch.where(sine > 1e-6, arc, lerp(start.double(), end.double(), t)).to(start.dtype)
