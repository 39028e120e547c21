"""Photos through a translator, by folders of any size: several at once, and resumable.

A photo is done when its output is there. Outputs are written whole or not at all (`Picture.save`), so that the same
call goes on where the last one stopped, whatever stopped it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Unpack

from gan_client import images
from gan_client.answers import Picture, ServiceError
from gan_client.client import Client
from gan_client.options import ClipFormat, Format, Translation

# What every other photo would be refused for as well.
_OPTIONS = frozenset(Translation.__optional_keys__ - {"format"})  # JPEG is refused for a transparent photo alone


def plan(photos: Sequence[Path], out: Path, wanted: Format | ClipFormat | None = None) -> dict[Path, Path]:
    """The photo of each output: names and sub-folders are kept, endings become those of `wanted` or, without one,
    of what `translate` makes then: PNG, and of a clip its own format.

    Args:
        photos: files, taken as they are, and folders, of which the images in them and below are taken. What lies in
            `out` is not, where it is inside such a folder.
    Raises:
        ValueError: no photo, two photos for one output, or an output in a photo's own place.
    """
    planned: dict[Path, Path] = {}
    for given in photos:
        for photo in _inside(given, out) if given.is_dir() else [given]:
            name = photo.relative_to(given) if given.is_dir() else Path(photo.name)
            known = name.suffix.lower() in images.SUFFIXES | images.VIDEOS.keys()
            kept = name.stem if known else name.name
            output = out / name.with_name(kept + _ending(wanted or images.moving_format(photo)))
            if output in planned:
                raise ValueError(f"{planned[output]} and {photo} would both become {output}: rename one of them.")
            planned[output] = photo
    if not planned:
        kinds = ", ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
        raise ValueError(f"There is no photo in {', '.join(map(str, photos))} (looked for {kinds}).")
    originals = {photo.resolve() for photo in planned.values()}
    if place := next((output for output in planned if output.resolve() in originals), None):
        raise ValueError(f"{place} is one of the photos: let the outputs go to another folder.")
    return planned


def _ending(kind: Format | ClipFormat | None) -> str:
    return ".png" if kind in (None, "apng") else f".{kind}"


def _inside(folder: Path, out: Path) -> list[Path]:
    found, outputs = images.in_folder(folder), out.resolve()
    if outputs == folder.resolve():
        raise ValueError(f"{folder} holds the photos: let the outputs go to another folder.")
    if not outputs.is_relative_to(folder.resolve()):
        return found
    return [photo for photo in found if not photo.resolve().is_relative_to(outputs)]


def translate(
    client: Client, planned: Mapping[Path, Path], parallel: int, **options: Unpack[Translation]
) -> Iterator[tuple[Path, Exception | None]]:
    """Makes the outputs of a `plan`, `parallel` at a time; yields each photo as it is done, with what went wrong.

    Raises:
        ServiceError: for what is no single photo's fault: nobody answers, the key or an option is refused.
    """

    def one(output: Path) -> Exception | None:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _translated(client, planned[output], options).save(output)
        except Exception as error:  # whatever it is, the other photos go on
            return error
        return None

    for output, error in _as_they_come(one, list(planned), parallel):
        if isinstance(error, ServiceError):
            if error.status == 401 or error.where in _OPTIONS:
                raise error
            if error.status == 0:
                client.models()  # raises where the service is gone, and not the photo too much for it
        yield planned[output], error


def _translated(client: Client, photo: Path, options: Translation) -> Picture:
    if (moving := images.moving_format(photo)) is not None:  # of many frames: a request seldom has the time
        return _as_job(client, photo, {"format": moving, **options})
    still: Translation = {"format": "png", **options}
    try:
        return client.translate_many(photo, **still)[0]
    except ServiceError as error:
        if error.code != "deadline_exceeded":
            raise
    return _as_job(client, photo, options)  # so large a photo takes longer than a request may


def _as_job(client: Client, photo: Path, options: Translation) -> Picture:
    job = client.submit(client.translate_many, photo, **options)
    (picture,) = job.wait()
    job.cancel()  # so that the service need not keep it
    return picture


def _as_they_come(
    work: Callable[[Path], Exception | None], items: Sequence[Path], parallel: int
) -> Iterator[tuple[Path, Exception | None]]:
    """Each item with its result, in order of completion. After the iterator is left, nothing more is begun.

    The threads are daemons, which ThreadPoolExecutor's are not: after a Ctrl-C nobody waits for what is in flight.
    """
    todo: SimpleQueue[Path] = SimpleQueue()
    done: SimpleQueue[tuple[Path, Exception | None]] = SimpleQueue()
    for item in items:
        todo.put(item)

    def run() -> None:
        with contextlib.suppress(Empty):
            while True:
                item = todo.get_nowait()
                done.put((item, work(item)))

    for _ in range(min(parallel, len(items))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in items:
            yield done.get()
    finally:
        with contextlib.suppress(Empty):
            while True:
                todo.get_nowait()
