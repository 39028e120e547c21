"""Members of an `.npz` that anybody may have written, or a sentence that says what is wrong with it.

Nothing pickled is loaded, so no code of the file's runs.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from models import InputError, NotFoundError

Numbers = dict[str, npt.NDArray[np.generic]]

UNREADABLE = (  # what numpy and zipfile raise for text, cut or changed archives, pickles, locked or vast members
    ValueError, TypeError, AttributeError, OSError, EOFError, BadZipFile, zlib.error, RuntimeError, MemoryError,
    OverflowError, SyntaxError, TokenError,
)  # fmt: skip


def read_npz(path: Path, numbers: Sequence[str], texts: Sequence[str]) -> tuple[Numbers, dict[str, str]]:
    """The members of those names, as far as the file has them; others are not read.

    Args:
        numbers: members that are arrays of numbers.  texts: members that are one string.
    Raises:
        NotFoundError: no such file.  InputError: no `.npz`, damaged, or a member of another kind.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no statistics file {path}.", where=str(path))
    try:
        # opened here, as numpy forgets to close what turns out to be a damaged archive
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files if name in (*numbers, *texts)}
    except UNREADABLE as error:
        raise refused(path.name, str(error) or type(error).__name__) from error
    for name, member in held.items():
        if not isinstance(member, np.ndarray):
            raise refused(path.name, f"{name} is no array")
        if name in numbers and member.dtype.kind not in "fiu":
            raise refused(path.name, f"{name} holds {member.dtype}, not numbers")
        if name in texts and (member.dtype.kind != "U" or member.ndim):
            raise refused(path.name, f"{name} is not one string")
    return {name: held[name] for name in numbers if name in held}, {
        name: str(held[name]) for name in texts if name in held
    }


def refused(name: str, why: str) -> InputError:
    """The error of a file that is no `.npz` of statistics."""
    return InputError(
        f"{name} does not hold FID statistics: it needs the arrays mu [2048] and sigma [2048, 2048] ({why}).",
        where=name,
    )
