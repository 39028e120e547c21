"""Sets of files: what a folder or an archive holds, and which of it are images. One rule for every room.

files = filesets.open_files(Path("photos.zip"))
files.images, files.skipped, files.read(files.images[0])
"""

from models.filesets.fileset import (
    SUFFIXES,
    FileSet,
    Read,
    begins_like_an_image,
    ending,
    endings,
    has_image_ending,
    is_hidden,
    member_name,
    why_skipped,
)
from models.filesets.opening import open_files
from models.filesets.packing import HEAD, packing_of
from models.filesets.tars import Span, members_of
from models.filesets.zips import is_link, name_of, unreadable

__all__ = [
    "HEAD",
    "SUFFIXES",
    "FileSet",
    "Read",
    "Span",
    "begins_like_an_image",
    "ending",
    "endings",
    "has_image_ending",
    "is_hidden",
    "is_link",
    "member_name",
    "members_of",
    "name_of",
    "open_files",
    "packing_of",
    "unreadable",
    "why_skipped",
]
