"""What the gate has found out about a version: better, worse or not yet known, compared with the one before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models import Metadata
from service.registry.checkpoints import AnyServed

State = Literal["measuring", "passed", "held"]

Pair = tuple[str, str, str]
"""A model's name, and the digests of a new version and of the one in service."""


@dataclass(frozen=True)
class Verdict:
    """Whether a version may go into service.

    Attributes:
        candidate, against: ids of the new version and of the one in service.
        digest: of the new version's file.
        reason: one sentence.
        fid, fid_in_service: of the two; None until they are known.
        images: drawn by each, from seed 0 on; None where the files' own figures were compared.
        done: images looked at so far, of twice `images`.
        reference: what FID is against; None where the files' own figures were compared.
    """

    state: State
    candidate: str
    digest: str
    against: str
    margin: float
    reason: str
    fid: float | None = None
    fid_in_service: float | None = None
    images: int | None = None
    done: int = 0
    reference: str | None = None


def pair_of(new: AnyServed, old: AnyServed) -> Pair:
    """Of the name too: one file may serve under two, which have references of their own."""
    return new.source.name, new.digest, old.digest


# What must be equal for two FIDs to be comparable, and what to call it.
_ALIKE = {
    "protocol": "protocol",
    "extractor": "extractor",
    "reference": "reference",
    "images": "number of images",
    "reference_images": "number of images in the reference",
}


def recorded(new: Metadata, old: Metadata, margin: float) -> str | None:
    """None where each FID that the old file records is at most the margin higher in the new, else what is wrong."""
    fids = fids_of(new)
    for name, before in fids_of(old).items():
        now, what = fids.get(name), "FID" + name.removeprefix("fid").replace("_", " ")
        if now is None:
            return f"records no {what} in its file, and the version in service has one."
        for key, called in _ALIKE.items():
            if now.get(key) != before.get(key):
                return f"has a {what} that was measured with another {called} ({now.get(key)}, not {before.get(key)})."
        if not now["value"] <= before["value"] + margin:
            return (
                f"records a {what} of {now['value']:.2f}, the other {before['value']:.2f}, with a margin of {margin:g}."
            )
    return None


def fids_of(metadata: Metadata) -> dict[str, Mapping[str, Any]]:
    """The FIDs that a file records, by the names that training/ gives them: a translator has one for each direction."""
    found = {name: metadata.metrics.get(name) for name in ("fid", "fid_a_to_b", "fid_b_to_a")}
    return {
        name: one for name, one in found.items() if isinstance(one, dict) and isinstance(one.get("value"), int | float)
    }
