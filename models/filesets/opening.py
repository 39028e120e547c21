"""`open_files`: any folder or archive as a set of files."""

import zipfile
from pathlib import Path

from models.errors import InputError, NotFoundError
from models.filesets.fileset import FileSet
from models.filesets.folders import open_folder
from models.filesets.packing import HEAD, packing_of
from models.filesets.tars import UNPACKERS, open_tar
from models.filesets.zips import open_zip
from models.strict_json import legible


def open_files(path: Path) -> FileSet:
    """A folder, a .zip, or a .tar (plain, gzip, bzip2 or xz); its content decides, not its name.

    Raises:
        NotFoundError: no such path.  InputError: none of these, damaged, or not readable.
    """
    if path.is_dir():
        return open_folder(path)
    said = legible(path.name)
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {legible(str(path))}.", where=legible(str(path)))
    if not path.is_file():  # to open a pipe would wait for its writer
        raise InputError(f"{said} is a pipe, a socket or a device, neither a folder nor an archive.", where=said)
    try:
        with open(path, "rb") as file:
            packing = packing_of(file.read(HEAD))
    except OSError as error:
        raise InputError(f"{said} cannot be read: {error.strerror}.", where=said) from error
    if packing == "tar" or packing in UNPACKERS:
        return open_tar(path, packing)
    if packing == "zip" or (packing is None and zipfile.is_zipfile(path)):  # the latter with a program before it
        return open_zip(path)
    if packing is None:
        raise InputError(f"{said} is neither a folder nor a .zip or .tar archive.", where=said)
    raise InputError(
        f"{said} is packed with {packing}, which is not read here: unpack it, or pack it as zip or tar.", where=said
    )
