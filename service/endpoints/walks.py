"""A walk through latent space, or a map of it: what clients ask for, and the frames that come of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field

import models
from models.errors import InputError, LimitError
from service.encoding.pictures import ImageFormat
from service.endpoints.fields import Body, Latent, ModelName, Quality, Seed, Truncation, listed
from service.endpoints.points import Blend, Space, given, path, square
from service.engine.classes import ClassLabel, class_weights, default_classes
from service.engine.sampler import Latents, Sampler
from service.registry.checkpoints import Served
from service.setting_values import NUMERAL

MAX_KEYFRAMES = 32
KEYFRAMES = Field(fail_fast=True, min_length=1, max_length=MAX_KEYFRAMES)

MAX_FRAMES = 256

MAX_JOB_FRAMES = 10_000

Output = Literal["strip", "zip", "gif", "webp", "apng", "json"]


class InterpolateRequest(Body):
    """A walk through latent space, or a map of it.

    Keyframes are seeds or latents, classes, or both; where one of the two is a single value, it holds for all. With
    classes alone, one seed is drawn for all of them, and told. Photos, for a model with an encoder, come in a form, and
    are keyframes before the seeds or latents.
    """

    model: ModelName | None = None
    seeds: Annotated[list[Seed], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="One seed for each keyframe, or one for all of them."
    )
    latents: Annotated[list[Latent], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="Latent vectors, in place of seeds."
    )
    space: Space = "z"
    classes: Annotated[list[ClassLabel], KEYFRAMES, BeforeValidator(listed)] | None = Field(
        None, description="One class for each keyframe, or one for all. By default seed modulo the number of classes."
    )
    truncation: Truncation | None = None
    shape: Literal["path", "map"] = Field(
        "path", description="map: four keyframes are the corners (top left, top right, bottom left, bottom right)."
    )
    method: Literal["slerp", "lerp"] | None = Field(
        None, description="How latents are interpolated: by default slerp, in the space w lerp; classes always lerp."
    )
    steps: Annotated[int, Field(ge=1, le=MAX_FRAMES), NUMERAL] = Field(
        8, description="Frames from one keyframe to the next; of a map, images along each side."
    )
    loop: bool = Field(False, description="Go on from the last keyframe to the first.")
    output: Output | None = Field(
        None, description="By default what Accept asks for; failing that, a strip: all frames in one image."
    )
    format: ImageFormat | None = Field(
        None, description="Of a strip and of single images; by default what Accept asks for; failing that, png."
    )
    frame_ms: Annotated[int, Field(ge=10, le=10_000), NUMERAL] = Field(
        80, description="Of animations; of a GIF 20 or more."
    )
    quality: Quality = 90


class InterpolateJob(InterpolateRequest):
    """The same with more steps, as a job."""

    steps: Annotated[int, Field(ge=1, le=MAX_JOB_FRAMES), NUMERAL] = 8


@dataclass(frozen=True)
class Walk:
    """What a request comes to, whose keyframes fit each other and the model.

    Attributes:
        seeds: of those that are neither photos nor latents; None where all are.
        latents: those that are given, float32 [k, size] of the request's space; None for seeds.
        classes: weights float32 [1 or keyframes, classes]; no columns where the model has no classes.
        count: of the frames, in rows of `columns`.
    """

    request: InterpolateRequest
    seeds: list[int] | None
    latents: torch.Tensor | None
    classes: torch.Tensor
    keyframes: int
    count: int

    @property
    def columns(self) -> int:
        return self.request.steps if self.request.shape == "map" else self.count


def walk_of(served: Served[Sampler], request: InterpolateRequest, photos: int, seed: int, most: int) -> Walk:
    """Before any latent is drawn: a map of 10,000 x 10,000 has more than fit in memory.

    Args:
        photos: how many came.
        seed: of all keyframes, where classes are all that is given.
        most: frames.
    Raises:
        InputError: keyframes that contradict each other or the model, or are too few.  LimitError: too many of them, or
        of the frames.
    """
    seeds = request.seeds
    if request.classes and not photos and seeds is None and request.latents is None:
        seeds = [seed]
    if (seeds is not None and request.latents is not None) or not (photos or seeds or request.latents):
        raise InputError("Give the keyframes as seeds or as latents, one of the two, or as classes.", where="seeds")
    if request.truncation is not None and seeds is None:
        raise InputError("Truncation goes with seeds, not with latents or photos.", where="truncation")
    latents = None if request.latents is None else given(served, request.latents, request.space)
    points = photos + len(seeds or request.latents or ())
    if points > MAX_KEYFRAMES:
        raise LimitError(f"At most {MAX_KEYFRAMES} keyframes are taken, photos among them.", where="images")
    classes = _classes(served.unit.network, request, seeds)
    keyframes = max(points, len(classes))
    for name, count in (("seeds" if latents is None else "latents", points), ("classes", len(classes))):
        if count not in (1, keyframes):
            raise InputError(f"{name} has {count} entries, where 1 or {keyframes} fit.", where=name)
    return Walk(request, seeds, latents, classes, keyframes, _count(request, keyframes, most))


def _classes(network: models.Generator, request: InterpolateRequest, seeds: list[int] | None) -> torch.Tensor:
    labels = request.classes or default_classes(network, seeds or [])
    if not labels and network.classes:
        raise InputError(f"This model needs classes: {', '.join(network.classes)}.", where="classes")
    weights = class_weights(network, labels, len(labels)) if labels else None
    return torch.zeros(1, 0) if weights is None else weights


def _count(request: InterpolateRequest, keyframes: int, most: int) -> int:
    """Of frames."""
    if request.shape == "map":
        if request.loop:
            raise InputError("A map has no loop.", where="loop")
        if keyframes != 4:
            raise InputError(f"A map has four corners, not {keyframes} keyframes.", where="seeds")
        count = request.steps**2
    else:
        if keyframes < 2:
            raise InputError("A path has two keyframes or more, as seeds, latents or classes.", where="seeds")
        count = keyframes * request.steps if request.loop else (keyframes - 1) * request.steps + 1
    if count > most:
        raise LimitError(
            f"These are {count:,} frames; a request makes {MAX_FRAMES}, a job {MAX_JOB_FRAMES:,}.", where="steps"
        )
    return count


def frames_of(walk: Walk, keys: torch.Tensor, space: models.Space) -> Latents:
    """Latents, and class weights where there are any, of every frame, in order.

    Args:
        keys: the keyframes' points, float32 [1 or keyframes, size] of the space.
    """
    request = walk.request
    blends: Mapping[str, Blend] = {"slerp": models.slerp, "lerp": models.lerp}
    method = request.method or ("slerp" if space == "z" else "lerp")
    pairs = ((keys, blends[method]), (walk.classes, models.lerp))
    each = [(one.expand(walk.keyframes, -1), blend) for one, blend in pairs]
    if request.shape == "map":
        mixed = [square(one, request.steps, blend) for one, blend in each]
    else:
        mixed = [path(one, request.steps, request.loop, blend) for one, blend in each]
    return Latents(mixed[0], mixed[1] if walk.classes.shape[1] else None, space)
