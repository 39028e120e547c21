"""How much more a translated clip flickers than the clip, frame by frame and as the service steadies it.

    python -m benchmarks.steadiness                 a minute on two cores; prints a Markdown table
    python -m benchmarks.steadiness --model PATH --photos FOLDER --count 8

There is no film of horses with a known motion, so clips are made: the middle of a photo, an ellipse, moves over the
photo by a few pixels a frame, once over a ground that is the same in all frames and once with a camera's noise on all
of it. A pixel is still where the ellipse is in none of two neighbouring frames, nor near it. Over the still pixels, the
table has the mean absolute difference of neighbouring frames in levels of 255, of the input and of the translation, and
their ratio; and how well the translation's still parts (less than 8 levels apart) are the input's, as intersection over
union.
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import models
from models.images import Pixels
from service.encoding.steady import Steady

ROOT = Path(__file__).parents[1]
FRAMES, STEP, SIZE = 6, 4, 256  # STEP and SIZE in pixels
NEAR = 12  # pixels around the ellipse that are neither still nor moving
NOISE = 2.0  # standard deviation in levels of 255
STILL = 8  # levels

Mask = npt.NDArray[np.bool_]


def clip(photo: Pixels, noise: float) -> tuple[list[Pixels], list[Mask]]:
    """The frames uint8 [h, w, 3], and of each what is no ellipse [h, w]."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    frames, grounds = [], []
    for index in range(FRAMES):
        shift = STEP * index - STEP * FRAMES // 2
        far = np.hypot((rows - SIZE / 2) / 0.7, columns - SIZE / 2 - shift)
        frame = np.where((far < SIZE / 4)[..., None], np.roll(photo, shift, axis=1), photo)
        frames.append((frame + rng.normal(0, noise, frame.shape)).clip(0, 255).round().astype(np.uint8))
        grounds.append(far > SIZE / 4 + NEAR / 0.7)
    return frames, grounds


def differences(frames: list[Pixels]) -> Iterator[npt.NDArray[np.float32]]:
    """Of neighbouring frames, the mean over the channels, float32 [h, w]."""
    for one, other in pairwise(frames):
        yield np.abs(one.astype(np.float32) - other).mean(axis=2)


def row(given: list[Pixels], made: list[Pixels], grounds: list[Mask]) -> tuple[float, float, float]:
    """Levels over the still pixels, of the input and of the translation; intersection over union of still parts."""
    before, after, overlaps = [], [], []
    for (ground, following), one, other in zip(pairwise(grounds), differences(given), differences(made), strict=True):
        still = ground & following
        before.append(one[still].mean())
        after.append(other[still].mean())
        overlaps.append(((one < STILL) & (other < STILL)).sum() / ((one < STILL) | (other < STILL)).sum())
    return float(np.mean(before)), float(np.mean(after)), float(np.mean(overlaps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "pretrained" / "horse2zebra.safetensors")
    parser.add_argument("--photos", type=Path, default=ROOT / "tests" / "fixtures" / "horse2zebra" / "testA")
    parser.add_argument("--count", type=int, default=4, help="photos, each of which makes two clips")
    typed = parser.parse_args()
    network = models.load(typed.model, models.Translator)
    rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for path in sorted(typed.photos.iterdir())[: typed.count]:
        photo = np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE)))
        for ground, noise in (("the same", 0.0), (f"noise of {NOISE:g} levels", NOISE)):
            frames, grounds = clip(photo, noise)
            alone = [translated(network, frame) for frame in frames]
            steady = Steady()
            steadied = [steady.steadied(frame, made) for frame, made in zip(frames, alone, strict=True)]
            for name, made in (("each frame alone", alone), ("steadied", steadied)):
                rows.setdefault((ground, name), []).append(row(frames, made, grounds))
    print("| ground | translation | levels in | levels out | ratio | still parts, IoU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (ground, name), measured in rows.items():
        given, made, overlap = np.mean(measured, axis=0)
        ratio = f"{made / given:.2f}" if given else "-"
        print(f"| {ground} | {name} | {given:.2f} | {made:.2f} | {ratio} | {overlap:.3f} |", flush=True)


@torch.inference_mode()
def translated(network: models.Translator, frame: Pixels) -> Pixels:
    made = network(models.to_float(frame[None]), "a_to_b")
    return models.to_uint8(made)[0]


if __name__ == "__main__":
    main()
