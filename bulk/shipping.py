"""Files of weights that every actor needs, brought to it through Ray: other machines need not have them."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray


@dataclass(frozen=True)
class Shipped:
    """A file in Ray's memory. name: of the file, which the one that is written elsewhere has too."""

    name: str
    content: "ray.ObjectRef[bytes]"

    @staticmethod
    def of(path: Path) -> "Shipped":
        """Raises OSError where the file cannot be read."""
        return Shipped(path.name, ray.put(path.read_bytes()))

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """The file, on the machine of whoever asks, as long as it is read."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.name
            path.write_bytes(ray.get(self.content))
            yield path
