"""What zip and tar have in common: which members are files to see, and where links inside the archive lead."""

import contextlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from models.errors import InputError, LimitError
from models.filesets.fileset import has_image_ending, is_hidden, member_name, parents
from models.strict_json import legible

MAX_IMAGE_BYTES = 200_000_000  # of one image inside an archive, unpacked


@dataclass(frozen=True)
class Layout:
    """places: each file to see -> the member that holds its bytes, another one for a link.  folders: sorted."""

    places: dict[str, str]
    folders: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.places))


def arrange(archive: str, files: Collection[str], folders: Iterable[str], links: Mapping[str, str]) -> Layout:
    """The layout of an archive's members, hidden ones left out.

    Args:
        files: names of plain files.  folders: of folders that are members themselves.
        links: name -> what it points to, see `target_of`.
    Raises:
        InputError: a link to a folder, or an image that is a link to what the archive does not hold.
    """
    whole = set(files)
    seen_folders = {name for name in {*folders, *parents([*files, *links])} if name and not is_hidden(name)}
    places = {name: name for name in files if not is_hidden(name)}
    for name in links:
        target, way = links[name], {name}
        while target in links and target not in way:
            way.add(target)
            target = links[target]
        if is_hidden(name):
            continue
        if target in whole:
            places[name] = target
        elif target in seen_folders or has_image_ending(name):
            what = "a folder" if target in seen_folders else "what the archive does not hold"
            raise InputError(
                f"{legible(name)} in {archive} is a link to {what} ({legible(target)}): pack the files themselves "
                "(tar --dereference; zip without -y).",
                where=legible(name),
            )
    return Layout(places, tuple(sorted(seen_folders)))


def target_of(link: str, target: str) -> str:
    """The member that a symbolic link of the name `link` points to; absolute targets are outside, and stay so."""
    if target.startswith("/"):
        return target
    return member_name(posixpath.normpath(posixpath.join(posixpath.dirname(link), target)))


def check_size(name: str, size: int) -> None:
    """Raises LimitError for an image that unpacks to more than any real one does."""
    if has_image_ending(name) and size > MAX_IMAGE_BYTES:
        raise LimitError(
            f"{legible(name)} unpacks to {size:,} bytes; at most {MAX_IMAGE_BYTES:,} are accepted.",
            where=legible(name),
        )


@contextlib.contextmanager
def unpacking(archive: str, name: str | None = None) -> Iterator[None]:
    """Turns whatever the unpackers stumble over into an InputError that names the archive, and the member if any."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # half a dozen kinds are documented, fuzzed archives raise others
        said = f"{legible(name)} cannot be read out of {archive}" if name else f"The archive {archive} is damaged"
        raise InputError(f"{said}: {error or type(error).__name__}.", where=legible(name or archive)) from error
