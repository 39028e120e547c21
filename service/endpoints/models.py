"""GET /v1/models."""

import asyncio
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from models import Precision
from service.http.operation import Call, Operation
from service.registry.checkpoints import Served
from service.registry.verdicts import Verdict
from service.runtime import Core


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
    directions: list[str]
    metrics: dict[str, Any]
    training: dict[str, Any]
    gate: GateView | None = Field(description="Null where the gate is off, or had nothing to compare it with.")
    card: str | None = Field(description="The text of NAME.md beside the checkpoint, in Markdown; null without one.")


class RefusedFile(BaseModel):
    """A file that is not served, or not under its bare name."""

    file: str
    reason: str
    gate: GateView | None = Field(description="Where it is the gate that holds it.")


class Catalogue(BaseModel):
    """The answer of GET /v1/models."""

    ready: bool
    precision: Precision = Field(description="What the networks compute in.")
    translate_pixels: int = Field(description="Pixels of the largest photo that is translated; larger ones are 413.")
    models: list[ModelCard]
    refused: list[RefusedFile]


def card(core: Core, one: Served, text: str | None) -> ModelCard:
    """What is known of a version; `text` is its card."""
    network, metadata = one.unit.network, one.metadata
    return ModelCard(
        id=one.id,
        name=one.source.name,
        version=one.version,
        names=core.registry.names_of(one),
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
        metrics=metadata.metrics,
        training=metadata.training,
        gate=_gate(core.registry.verdict(one)),
        card=text,
    )


def _text_of(one: Served) -> str | None:
    try:
        return one.source.path.with_suffix(".md").read_text(errors="replace")
    except OSError:
        return None


def _gate(verdict: Verdict | None) -> GateView | None:
    return None if verdict is None else GateView.model_validate(asdict(verdict))


async def list_models(core: Core, _: Call) -> Response:
    """All versions in service, and what was refused and why."""
    served = core.registry.served()
    texts = await asyncio.to_thread(lambda: [_text_of(one) for one in served])
    answer = Catalogue(
        ready=core.ready,
        precision=core.settings.precision,
        translate_pixels=core.settings.translate_pixels,
        models=[card(core, one, text) for one, text in zip(served, texts, strict=True)],
        refused=[
            RefusedFile(file=one.path.name, reason=one.reason, gate=_gate(one.verdict))
            for one in core.registry.refusals
        ],
    )
    return JSONResponse(answer.model_dump(mode="json"))


MODELS = Operation(
    "GET",
    "/v1/models",
    "models",
    "List the models",
    list_models,
    "models",
    answers={"application/json": Catalogue},
)
