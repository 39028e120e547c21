"""What the images that are through came to: sums that can be put down in a file and taken up again."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metrics import FEATURE_LIMIT, Accumulator, Features, FeatureSet
from models import InputError, LimitError


@dataclass(frozen=True)
class Measured:
    """What an actor says of a piece: features [n, d] of each batch, and whose they are."""

    batches: tuple[Features, ...]
    extractor: str
    precision: str
    dimensions: int


@dataclass
class Sums:
    """The sums of a run, piece by piece.

    Attributes:
        run: tells runs apart, which differ in their images or in what is asked of them.
        pieces, images: how many are through, broken images included.
        broken: (name, sentence) of those that nothing could be made of.
        kept: their features, where they are wanted.
    """

    run: str
    pieces: int = 0
    images: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    kept: list[Features] = field(default_factory=list)
    accumulator: Accumulator | None = None
    extractor: str = ""
    precision: str = ""

    def add(self, found: Measured, images: int, broken: Sequence[tuple[str, str]], *, keep: bool) -> None:
        """Takes in the next piece, batch by batch as `metrics` does.

        Raises:
            InputError: a feature is not finite, or is of another network than those before.
            LimitError: more features than are kept.
        """
        if self.accumulator is None:
            self.accumulator, self.extractor, self.precision = (
                Accumulator(found.dimensions), found.extractor, found.precision
            )  # fmt: skip
        if (found.extractor, found.precision) != (self.extractor, self.precision):
            raise InputError(
                f"What is through was measured by {self.extractor} in {self.precision}, and the rest by "
                f"{found.extractor} in {found.precision}: remove the .partial file to begin anew."
            )
        for batch in found.batches:
            self.accumulator.add(batch)
            if keep:
                self.kept.append(batch)
        if keep and self.accumulator.n > FEATURE_LIMIT:
            raise LimitError(f"Features are kept of at most {FEATURE_LIMIT:,} images: leave --keep out.")
        self.pieces += 1
        self.images += images
        self.broken += broken

    def result(self, name: str, protocol: str) -> FeatureSet:
        """The set, as `metrics` would have it; raises InputError for fewer than two images."""
        if self.accumulator is None:
            raise InputError("There is no image to measure.")
        statistics = self.accumulator.statistics(protocol, self.extractor, self.precision)
        return FeatureSet(name, statistics, np.concatenate(self.kept) if self.kept else None)

    def packed(self) -> bytes:
        """As an `.npz`, for `unpacked`."""
        assert self.accumulator is not None  # something was added
        about = {name: getattr(self, name) for name in ("run", "pieces", "images", "broken", "extractor", "precision")}
        arrays = {f"sum_{name}": array for name, array in self.accumulator.state().items()}
        if self.kept:
            arrays["kept"] = np.concatenate(self.kept)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
        return buffer.getvalue()

    @staticmethod
    def unpacked(data: bytes) -> "Sums":
        """The sums that were packed, to the last digit."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            state = {name.removeprefix("sum_"): file[name] for name in file.files if name.startswith("sum_")}
            kept = [file["kept"]] if "kept" in file.files else []
        broken = [(name, why) for name, why in about.pop("broken")]
        return Sums(**about, broken=broken, kept=kept, accumulator=Accumulator.of_state(state))
