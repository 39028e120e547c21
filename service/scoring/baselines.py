"""What each model is measured against, for drift and for the gate: GAN_MODEL_REFERENCES.

    cifar10=cifar10-train           a kept reference (POST /v1/references)
    cifar10=/srv/cifar10-train.npz  a file of statistics, such as pytorch-fid's
    horse2zebra:a_to_b=zebras       of a translator, for one direction

Other models are compared with the reference of their own name, where there is one.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from metrics import FeatureSet
from models.errors import NotFoundError
from service.scoring.references import References


class ModelReferences:
    """Models to references. A reference that is replaced gets another `stamp`."""

    def __init__(self, references: References, named: Mapping[str, str]) -> None:
        self._references = references
        self._named = named

    def name(self, model: str) -> str:
        """What the model's reference is called, in metrics and messages."""
        target = self._named.get(model, model)
        return Path(target).name if _is_file(target) else target

    async def known(self, model: str) -> bool:
        """Whether there is something to measure this model against, or was meant to be."""
        return model in self._named or await self._references.has(model)

    async def stamp(self, model: str) -> str:
        """Changes with the reference. Raises NotFoundError."""
        target = self._named.get(model, model)
        if not _is_file(target):
            return (await self._references.get(target)).digest
        try:
            stat = await asyncio.to_thread(Path(target).stat)
        except OSError as error:
            raise NotFoundError(f"There is no statistics file {target}.", where="GAN_MODEL_REFERENCES") from error
        return f"{stat.st_mtime_ns}-{stat.st_size}"

    async def load(self, model: str) -> FeatureSet:
        """Raises NotFoundError; InputError for a file that holds no statistics."""
        target = self._named.get(model, model)
        if _is_file(target):
            return await asyncio.to_thread(FeatureSet.load, target)
        return await self._references.features(target)


def _is_file(target: str) -> bool:
    return target.endswith(".npz")
