"""Many images as one file that is written as they come, so that however many there are, few are in memory.

Each pack takes the file that it is written to. A pack that is not closed leaves that file unfinished.
"""

import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from service.call import strict_json


class _Zip(zipfile.ZipFile):
    def __del__(self) -> None:
        """Nothing: zipfile's own would finish what was given up, in a file that may be closed by now."""


class ZipPack:
    """A zip of files that are compressed already, with a fixed date, so that equal content is equal bytes."""

    def __init__(self, out: BinaryIO) -> None:
        self._zip = _Zip(out, "w", zipfile.ZIP_STORED)

    def add(self, name: str, data: bytes) -> None:
        self._zip.writestr(zipfile.ZipInfo(name), data)

    def close(self) -> None:
        self._zip.close()


class NpzPack:
    """A compressed .npz, byte for byte as `np.savez_compressed` writes it, whose first array comes row by row.

    Args:
        name: of that array.  count: its rows, at least one.
    """

    def __init__(self, out: BinaryIO, name: str, count: int) -> None:
        self._zip = _Zip(out, "w", zipfile.ZIP_DEFLATED)
        self._name = name
        self._count = count
        self._rows: Any = None

    def add(self, row: np.ndarray) -> None:
        """The next row: each has the first one's shape and type."""
        if self._rows is None:
            self._rows = self._zip.open(f"{self._name}.npy", "w", force_zip64=True)
            shape = (self._count, *row.shape)
            about = {"descr": np.lib.format.dtype_to_descr(row.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._rows, about)
        self._rows.write(row.tobytes())

    def close(self, others: Mapping[str, np.ndarray]) -> None:
        """Adds the arrays that are small, and ends the file."""
        self._rows.close()
        for name, array in others.items():
            with self._zip.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array)
        self._zip.close()


class JsonPack:
    """A JSON object whose last field is a list that comes item by item.

    Args:
        head: the fields before it, at least one.  name: of the list.
    """

    def __init__(self, out: BinaryIO, head: Mapping[str, Any], name: str) -> None:
        self._out = out
        self._between = b""
        out.write(strict_json(head)[:-1] + b"," + strict_json(name) + b":[")

    def add(self, item: Mapping[str, Any] | str) -> None:
        self._out.write(self._between + strict_json(item))
        self._between = b","

    def close(self) -> None:
        self._out.write(b"]}")
