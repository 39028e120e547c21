"""Packages that training needs and the service does not: looked for before the first step, not after the last."""

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec

from models import GanError


def require_packages(*names: str) -> None:
    """Raises GanError where a package is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise GanError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: `make setup`, or "
            "`pip install -r requirements-train.txt -c constraints.txt`, installs what training needs."
        )


@contextlib.contextmanager
def without_a_notebooks_backend() -> Iterator[None]:
    """Within, matplotlib can be imported in a process that a notebook has started. Its MPLBACKEND names a module of the
    notebook's own, which matplotlib refuses where that is not installed; we draw into files and need no backend."""
    kept = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ["MPLBACKEND"] = kept
