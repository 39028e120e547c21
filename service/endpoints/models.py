"""GET /v1/models, and one of them as OpenAI's clients ask for it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

import models
from models import Precision, legible
from models.errors import OverloadError
from service.call import Answer, Call
from service.directions.kept import KeptDirection
from service.http.operation import Operation
from service.registry.checkpoints import AnyServed
from service.registry.registry import Registry
from service.registry.verdicts import Verdict
from service.runtime import Runtime

_STORE_S = 2.0  # for a store that hangs


class GateView(BaseModel):
    """Whether the gate lets a version into service, and on what figures."""

    state: Literal["measuring", "passed", "held"]
    reason: str
    against: str = Field(description="The version in service that it was compared with.")
    fid: float | None = Field(description="Of this version; null until it is known, or where the files' were compared.")
    fid_in_service: float | None
    margin: float = Field(description="By how much its FID may be higher.")
    images: int | None = Field(description="Drawn by each, from seed 0 on; null where the files' FIDs were compared.")
    done: int = Field(description="Images looked at so far, of both versions.")
    reference: str | None


class LatentDirection(BaseModel):
    """What /v1/sample can move this version's images along."""

    name: str
    kept: bool = Field(description="Made by a user, at /v1/directions; else it came with the model.")


class ModelCard(BaseModel):
    """One version of one model."""

    id: str = Field(description="NAME@VERSION; names this version for good.")
    name: str
    version: str
    names: list[str] = Field(description="Every name that leads here now: the id, the bare name, aliases.")
    kind: str
    digest: str = Field(description="SHA-256 of the checkpoint file.")
    origin: str
    can: list[str] = Field(description="The endpoints it works with.")
    image_size: int | None
    channels: int
    latent_size: int | None
    classes: list[str]
    domains: list[str]
    directions: list[str] = Field(description="Of a translator: a_to_b, b_to_a.")
    attention: bool = Field(description="Of a translator: whether /v1/translate can give its mask.")
    spaces: list[models.Space] = Field(description="Of a generator: those whose latents it takes.")
    encoder: bool = Field(description="It finds the latents of photos within a request; others take a job.")
    latent_directions: list[LatentDirection]
    metrics: dict[str, Any]
    training: dict[str, Any]
    gate: GateView | None = Field(description="Null where the gate is off, or had nothing to compare it with.")
    card: str | None = Field(description="The text of NAME.md beside the checkpoint, in Markdown; null without one.")


class RefusedFile(BaseModel):
    """A file that is not served, or not under its bare name."""

    file: str
    reason: str
    gate: GateView | None = Field(description="Where it is the gate that holds it.")


class OpenAIModel(BaseModel):
    """A version, as OpenAI's clients read it."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the checkpoint file was written, in seconds since 1970.")
    owned_by: str = Field(description="The model's origin.")


class Catalogue(BaseModel):
    """The answer of GET /v1/models; `object` and `data` are what OpenAI's clients read of it."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel] = Field(description="The models that POST /v1/images/generations takes.")
    ready: bool
    precision: Precision = Field(description="What the networks compute in.")
    translate_pixels: int = Field(description="Pixels of the largest photo that is translated; larger ones are 413.")
    job_translate_pixels: int = Field(description="The same for a job.")
    models: list[ModelCard]
    refused: list[RefusedFile]


@dataclass(frozen=True)
class _File:
    """What is read of a checkpoint's files: its card's text, and when it was written."""

    card: str | None
    written: int


def card(registry: Registry, one: AnyServed, text: str | None, kept: Sequence[KeptDirection] = ()) -> ModelCard:
    """What is known of a version; `text` is its card, `kept` its directions in the store."""
    network, metadata = one.unit.network, one.metadata
    return ModelCard(
        id=one.id,
        name=one.source.name,
        version=one.version,
        names=registry.names_of(one),
        kind=metadata.kind,
        digest=one.digest,
        origin=one.source.origin,
        can=list(one.unit.CAN),
        image_size=network.image_size,
        channels=network.channels,
        latent_size=network.latent_size,
        classes=list(network.classes),
        domains=list(network.domains),
        directions=list(network.directions),
        attention=network.attends,
        spaces=list(network.spaces) if isinstance(network, models.Generator) else [],
        encoder=isinstance(network, models.Autoencoder),
        latent_directions=[
            *(LatentDirection(name=name, kept=False) for name in _own_directions(network)),
            *(LatentDirection(name=each.name, kept=True) for each in kept),
        ],
        metrics=metadata.metrics,
        training=metadata.training,
        gate=_gate(registry.verdict(one)),
        card=text,
    )


def _own_directions(network: models.Model) -> list[str]:
    return list(network.latent_directions) if isinstance(network, models.Generator) else []


def _file_of(one: AnyServed) -> _File:
    path = one.source.path
    try:
        written = int(path.stat().st_mtime)
    except OSError:
        written = 0
    text = path.with_suffix(".md")
    try:  # of a fifo, reading would keep the thread for good
        return _File(text.read_text(errors="replace") if text.is_file() else None, written)
    except OSError:
        return _File(None, written)


def _gate(verdict: Verdict | None) -> GateView | None:
    return None if verdict is None else GateView.model_validate(asdict(verdict))


async def _kept(runtime: Runtime) -> Mapping[str, Sequence[KeptDirection]]:
    """Directions in the store, by digest; none where it does not answer, since what is served does not depend on it."""
    try:
        async with asyncio.timeout(_STORE_S):
            return await runtime.directions.by_digest()
    except (TimeoutError, OverloadError):
        return {}


async def list_models(runtime: Runtime, _: Call) -> Answer:
    """All versions in service, and what was refused and why."""
    registry = runtime.registry
    served = registry.served()
    files = await asyncio.to_thread(lambda: [_file_of(one) for one in served])
    kept = await _kept(runtime)
    known = list(zip(served, files, strict=True))
    return Answer.of(
        Catalogue(
            data=[_openai(one, file) for one, file in known if "sample" in one.unit.CAN],
            ready=runtime.ready,
            precision=runtime.settings.precision,
            translate_pixels=runtime.settings.translate_pixels,
            job_translate_pixels=runtime.settings.job_translate_pixels,
            models=[card(registry, one, file.card, kept.get(one.digest, ())) for one, file in known],
            refused=[
                RefusedFile(file=legible(one.path.name), reason=legible(one.reason), gate=_gate(one.verdict))
                for one in registry.refusals
            ],
        )
    )


async def retrieve(runtime: Runtime, call: Call) -> Answer:
    """One version, of any kind, by each of its names. Raises NotFoundError."""
    one = runtime.registry.any(call.parameters["model"])
    return Answer.of(_openai(one, await asyncio.to_thread(_file_of, one)))


def _openai(one: AnyServed, file: _File) -> OpenAIModel:
    return OpenAIModel(id=one.id, created=file.written, owned_by=one.source.origin)


MODELS = Operation(
    "GET",
    "/v1/models",
    "models",
    "List the models",
    list_models,
    "models",
    answers={"application/json": Catalogue},
)
MODEL = Operation(
    "GET",
    "/v1/models/{model}",
    "model",
    "One model, in OpenAI's shape",
    retrieve,
    "models",
    answers={"application/json": OpenAIModel},
    errors=(404,),
)
