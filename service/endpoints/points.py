"""Points that images are drawn from: sums of seeds and latents, steps along named directions, walks between them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, FiniteFloat

import models
from models.errors import InputError, LimitError, NotFoundError
from service.call import Call
from service.endpoints.fields import Body, Latent, Seed
from service.engine import patience
from service.engine.batcher import Flow
from service.engine.sampler import Sampler
from service.registry.checkpoints import Served
from service.runtime import Runtime

Blend = Callable[[torch.Tensor, torch.Tensor, float | torch.Tensor], torch.Tensor]

_MOST_POINTS = 1024  # of one sum, those of means included

DirectionName = Annotated[
    str, Field(min_length=1, max_length=64, description="1 to 64 letters, digits, dots, dashes and underscores.")
]
Steps = Annotated[
    dict[DirectionName, Annotated[FiniteFloat, Field(ge=-100, le=100)]],
    Field(max_length=32, description="What to change, by how much: names of the model's directions, and amounts."),
]
Space = Annotated[
    Literal["z", "w"],
    Field(
        description="Of latents that are given, and of arithmetic: z, normal latents, or w, codes that an encoder "
        "gives; in w, seeds are mapped first."
    ),
]


class Term(Body):
    """A term of a sum: one of seed, latent and mean_of, and what it is multiplied by."""

    seed: Seed | None = None
    latent: Latent | None = None
    mean_of: Annotated[list[Seed | Latent], Field(fail_fast=True, min_length=1, max_length=256)] | None = Field(
        None, description="Seeds or latents, whose mean is the term."
    )
    weight: Annotated[FiniteFloat, Field(ge=-100, le=100)] | None = Field(None, description="By default 1.")


Terms = Annotated[
    list[Term],
    Field(fail_fast=True, min_length=1, max_length=64, description="One image of a weighted sum, as it is."),
]


def given(
    served: Served[Sampler], latents: Sequence[Sequence[float]], space: models.Space, where: str = "latents"
) -> torch.Tensor:
    """A client's own points of a space, float32 [n, size]. Raises InputError, for the field `where`, where they have
    another length, and as `Sampler.check_points` does."""
    size = served.unit.network.size_of(space)
    if any(len(row) != size for row in latents):
        raise InputError(f"Each latent of {served.id} has {size} numbers in the space {space}.", where=where)
    points = torch.tensor(latents, dtype=torch.float32).reshape(-1, size)
    served.unit.check_points(points, space)
    return points


@dataclass(frozen=True)
class Sum:
    """A weighted sum in a space: of what seeds stand for, and of points [n, size]; `shares` are the seeds' first."""

    space: models.Space
    seeds: list[int]
    points: torch.Tensor
    shares: list[float]


def sum_of(served: Served[Sampler], terms: Sequence[Term], space: models.Space) -> Sum:
    """Nothing is normalised: weights need not sum to 1.

    Raises InputError for a term that names nothing or two things, or a latent of another length, LimitError for more
    than 1,024 points.
    """
    parts: list[tuple[int | list[float], float]] = []
    for number, term in enumerate(terms):
        alone = [one for one in (term.seed, term.latent) if one is not None]
        if len(alone) + (term.mean_of is not None) != 1:
            raise InputError("A term has one of seed, latent and mean_of.", where=f"combine.{number}")
        points = alone or term.mean_of or []
        weight = 1.0 if term.weight is None else term.weight
        parts += [(point, weight / len(points)) for point in points]
    if len(parts) > _MOST_POINTS:
        raise LimitError(f"These are {len(parts):,} points; one sum takes {_MOST_POINTS:,}.", where="combine")
    seeds = [point for point, _ in parts if isinstance(point, int)]
    latents = [point for point, _ in parts if not isinstance(point, int)]
    shares = [share for point, share in parts if isinstance(point, int)]
    shares += [share for point, share in parts if not isinstance(point, int)]
    return Sum(space, seeds, given(served, latents, space, "combine"), shares)


async def summed(runtime: Runtime, call: Call, served: Served[Sampler], wanted: Sum) -> torch.Tensor:
    """The point itself, float32 [1, size]."""
    drawn = await of_seeds(runtime, call, served, wanted.seeds, wanted.space)
    rows = torch.cat([drawn, wanted.points]).double()
    return (torch.tensor(wanted.shares, dtype=torch.float64) @ rows).float()[None]


async def of_seeds(
    runtime: Runtime, call: Call, served: Served[Sampler], seeds: Sequence[int], space: models.Space
) -> torch.Tensor:
    """What the seeds stand for in a space, float32 [n, size]."""
    network = served.unit.network
    if not seeds:
        return torch.empty(0, network.size_of(space))
    drawn = await runtime.beside_the_loop(call, partial(models.draw, seeds, network.latent_size))
    return drawn if space == "z" else await at_home(call, served.unit, drawn, "z")


async def at_home(call: Call, unit: Sampler, points: torch.Tensor, space: models.Space) -> torch.Tensor:
    """Points of a space as those of the model's home; a job waits for room."""
    return await patience.let_in(call, partial(unit.at_home, points, space, Flow(patient=call.is_job)))


async def step(runtime: Runtime, served: Served[Sampler], steps: Mapping[str, float]) -> torch.Tensor:
    """The sum of directions, by how much of each: float32 [size of the model's home].

    Raises NotFoundError for a name that nobody knows, InputError for a direction of another model.
    """
    vectors = [amount * await _vector(runtime, served, name) for name, amount in steps.items()]
    return torch.stack(vectors).sum(dim=0)


async def _vector(runtime: Runtime, served: Served[Sampler], name: str) -> torch.Tensor:
    own = served.unit.network.latent_directions
    if name in own:
        return own[name]
    try:
        kept = await runtime.directions.get(name)
    except NotFoundError as error:
        sentence = f"{served.id} itself has: {', '.join(own)}."
        raise NotFoundError(f"{error.message} {sentence}", where="directions") from None
    if kept.digest != served.digest:
        raise InputError(
            f"The direction {name} was made with another model, {kept.model}, and means nothing to {served.id}.",
            where="directions",
        )
    return kept.tensor()


def path(keys: torch.Tensor, steps: int, loop: bool, blend: Blend) -> torch.Tensor:
    """[k, x] -> [frames, x]: `steps` frames from each keyframe on, and without a loop the last keyframe."""
    ends = torch.cat([keys, keys[:1]]) if loop else keys
    t = (torch.arange(steps) / steps)[:, None]
    parts = [blend(start[None], end[None], t) for start, end in itertools.pairwise(ends)]
    return torch.cat([*parts, *([] if loop else [keys[-1:]])]).float()


def square(corners: torch.Tensor, side: int, blend: Blend) -> torch.Tensor:
    """[4, x] -> [side * side, x], row by row."""
    t = torch.linspace(0, 1, side)[:, None] if side > 1 else torch.zeros(1, 1)
    top, bottom = blend(corners[0:1], corners[1:2], t), blend(corners[2:3], corners[3:4], t)
    return torch.cat([blend(top, bottom, float(row)) for row in t]).float()
