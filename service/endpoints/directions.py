"""Directions over HTTP: made from two sets, listed, looked at, removed. /v1/sample steps along them."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field

import models
from models.errors import InputError
from service.call import Answer, Call
from service.directions import fits
from service.directions.kept import KeptDirection, Method
from service.endpoints.fields import MAX_IMAGES, Body, Latent, ModelName, Seed, listed
from service.endpoints.points import DirectionName, Space, at_home, given, of_seeds
from service.endpoints.squares import codes, looked_at
from service.engine.sampler import Sampler
from service.http.body import FileField
from service.http.operation import Operation
from service.registry.checkpoints import Served
from service.runtime import Runtime

View = TypeVar("View", bound="DirectionView")

MOST_PHOTOS = 64

Seeds = Annotated[list[Seed], Field(fail_fast=True, min_length=1, max_length=MAX_IMAGES), BeforeValidator(listed)]
Points = Annotated[list[Latent], Field(fail_fast=True, min_length=1, max_length=MAX_IMAGES), BeforeValidator(listed)]


class DirectionRequest(Body):
    """A direction to keep, from the set a to the set b; each is of seeds, of latents, or photos in the form field."""

    name: DirectionName
    model: ModelName | None = None
    method: Method = Field(
        "means", description="means: from mean to mean. linear: across the plane of a linear classifier."
    )
    a_seeds: Seeds | None = None
    b_seeds: Seeds | None = None
    a_latents: Points | None = None
    b_latents: Points | None = None
    space: Space = "z"


class DirectionView(BaseModel):
    """A kept direction. Once is the way from one set's mean to the other's."""

    name: str
    model: str = Field(description="The version that it was made with, and means something to.")
    digest: str
    space: models.Space
    method: Method
    n_a: int = Field(description="Points in the set that it leads from.")
    n_b: int
    accuracy: float = Field(description="Of these points, how many lie on their side of the plane halfway, 0 to 1.")
    created_at: datetime


class Direction(DirectionView):
    """The same, with its numbers."""

    vector: list[float]


class DirectionList(BaseModel):
    """All directions that are kept, by name."""

    directions: list[DirectionView]


def view(kept: KeptDirection, kind: type[View]) -> View:
    """As clients see it: with its numbers as a `Direction`, without them as a `DirectionView`."""
    return kind(**{**asdict(kept), "created_at": datetime.fromtimestamp(kept.created_at, UTC)})


async def create(runtime: Runtime, call: Call) -> Answer:
    """Two sets to a direction, kept under its name."""
    request: DirectionRequest = call.body
    has_photos = bool(call.files["a"] or call.files["b"])
    served = runtime.registry.encoder(request.model) if has_photos else runtime.registry.sampler(request.model)
    network = served.unit.network
    if request.name in network.latent_directions:
        raise InputError(f"{served.id} itself has a direction {request.name}; choose another name.", where="name")
    await runtime.directions.check_free(request.name)
    served.unit.check_space(request.space)
    a = await _side(runtime, call, served, "a", request.a_seeds, request.a_latents)
    b = await _side(runtime, call, served, "b", request.b_seeds, request.b_latents)
    find = fits.means if request.method == "means" else fits.linear
    fit = await runtime.beside_the_loop(call, find, a, b)
    direction = KeptDirection(
        name=request.name,
        model=served.id,
        digest=served.digest,
        space=network.home,
        method=request.method,
        n_a=len(a),
        n_b=len(b),
        accuracy=fit.accuracy,
        created_at=time.time(),
        vector=fit.vector.astype(np.float32).tolist(),
    )
    await runtime.directions.add(direction)
    return Answer.of(view(direction, Direction), headers={"Location": f"/v1/directions/{direction.name}"}, status=201)


async def _side(
    runtime: Runtime,
    call: Call,
    served: Served[Sampler],
    side: Literal["a", "b"],
    seeds: Sequence[int] | None,
    latents: Sequence[Sequence[float]] | None,
) -> np.ndarray:
    """One set's points in the model's home, float64 [n, size]. Raises InputError where it is given twice or not."""
    files = call.files[side]
    if (seeds is not None) + (latents is not None) + bool(files) != 1:
        raise InputError(f"Give the set {side} as {side}_seeds, {side}_latents or photos in {side}.", where=side)
    if files:
        points = await codes(runtime, call, served, await looked_at(runtime, call, files))
    elif seeds is not None:
        points = await of_seeds(runtime, call, served, seeds, served.unit.network.home)
    else:
        space: models.Space = call.body.space
        points = await at_home(call, served.unit, given(served, latents or [], space, f"{side}_latents"), space)
    return points.double().numpy()


async def list_all(runtime: Runtime, _: Call) -> Answer:
    """Every kept direction, by name."""
    return Answer.of(DirectionList(directions=[view(one, DirectionView) for one in await runtime.directions.all()]))


async def get(runtime: Runtime, call: Call) -> Answer:
    return Answer.of(view(await runtime.directions.get(call.parameters["name"]), Direction))


async def delete(runtime: Runtime, call: Call) -> Answer:
    """Removes it and answers what it was."""
    return Answer.of(view(await runtime.directions.delete(call.parameters["name"]), Direction))


_PATH = "/v1/directions/{name}"
_WHOLE = {"application/json": Direction}

CREATE_DIRECTION = Operation(
    "POST",
    "/v1/directions",
    "direction",
    "Make a direction from two sets",
    create,
    "directions",
    body=DirectionRequest,
    files=tuple(
        FileField(side, f"Photos of the set {side}, for a model with an encoder.", required=False, most=MOST_PHOTOS)
        for side in ("a", "b")
    ),
    status=201,
    answers=_WHOLE,
    headers={"Location": "The direction's address."},
    errors=(404, 409, 413, 415, 422),
)
LIST_DIRECTIONS = Operation(
    "GET",
    "/v1/directions",
    "directions",
    "List the kept directions",
    list_all,
    "directions",
    answers={"application/json": DirectionList},
)
GET_DIRECTION = Operation(
    "GET", _PATH, "get_direction", "Look at a direction", get, "directions", answers=_WHOLE, errors=(404,)
)
DELETE_DIRECTION = Operation(
    "DELETE", _PATH, "delete_direction", "Remove a direction", delete, "directions", answers=_WHOLE, errors=(404,)
)
