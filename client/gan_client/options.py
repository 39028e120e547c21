"""What the methods take by keyword, named as the service's fields are; docs/api says what they mean.

An unknown one is an error to a type checker, and to the service when it arrives.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

Format = Literal["png", "jpeg", "webp", "avif"]
ClipFormat = Literal["gif", "webp", "apng", "mp4", "webm"]
Metric = Literal["fid", "kid", "prdc", "authenticity", "is", "fid_infinity"]
Protocol = Literal["pytorch-fid", "clean-fid"]
Label = int | str
Rows = Sequence[Sequence[float]]
Space = Literal["z", "w"]


class Term(TypedDict, total=False):
    """One of seed, latent and mean_of, times a weight."""

    seed: int
    latent: Sequence[float]
    mean_of: Sequence[int | Sequence[float]]
    weight: float


class Sampling(TypedDict, total=False):
    model: str
    seed: int | Sequence[int]
    latents: Rows
    combine: Sequence[Term]
    space: Space
    directions: Mapping[str, float]
    classes: Label | Sequence[Label]
    truncation: float
    format: Format
    quality: int


class Interpolation(TypedDict, total=False):
    model: str
    latents: Rows
    space: Space
    classes: Sequence[Label]
    truncation: float
    shape: Literal["path", "map"]
    method: Literal["slerp", "lerp"]
    steps: int
    loop: bool
    output: Literal["strip", "zip", "gif", "webp", "apng"]
    format: Format
    frame_ms: int
    quality: int


class Encoding(TypedDict, total=False):
    model: str
    starts: int
    steps: int
    classes: Label
    format: Format
    quality: int


class Directing(TypedDict, total=False):
    model: str
    method: Literal["means", "linear"]
    a_seeds: Sequence[int]
    b_seeds: Sequence[int]
    a_latents: Rows
    b_latents: Rows
    space: Space


class Translation(TypedDict, total=False):
    model: str
    direction: str
    format: Format | ClipFormat
    quality: int
    cycle: bool
    mask: bool
    strength: float


class Scoring(TypedDict, total=False):
    a_reference: str
    a_model: str
    a_n: int
    a_seed: int
    a_truncation: float
    b_reference: str
    b_model: str
    b_n: int
    b_seed: int
    b_truncation: float
    metrics: Sequence[Metric]
    protocol: Protocol
    extractor: str
    bootstrap: int
