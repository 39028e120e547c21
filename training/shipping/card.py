"""The model card: one page for each shipped checkpoint, written from its metadata and measurements, never by hand.

`NAME.md` and its pictures, `NAME.SHEET.webp`, stand beside `NAME.safetensors`. Pictures are not chosen: samples are
the seeds from 0 on, translations the first test photos, and failures are picked by a measure (see `measure.py`).
"""

import json
import shutil
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metrics
from models import (
    Autoencoder,
    Generator,
    Metadata,
    Model,
    Translator,
    atomic_path,
    draw,
    encode,
    grid,
    load,
    slerp,
    to_uint8,
)
from models.images import Pixels
from training.shipping.measure import (
    AutoencoderPlan,
    Plan,
    SamplerPlan,
    TranslatorPlan,
    again,
    evenly,
    least_consistent,
    least_like,
    least_real,
    outlines_of,
    parameters,
    translate,
)
from training.shipping.rulers import movement
from training.shipping.second import nearest, said
from training.shipping.truncation import curve

SAMPLES = 64
FAILURES = 8
FIRST = 8  # test photos that are shown translated
AGAIN, ROW = 32, 16  # test images that are shown drawn again, and how many in a row
WORST = 10  # test photos whose background moves most
NEAREST = 16  # samples that are shown above the training images nearest to them
STEPS = 8  # pictures from one end of an interpolation to the other

LICENCES = {
    "google2openmoji": "Noto Emoji by Google are given out under the Apache License 2.0; OpenMoji under CC BY-SA 4.0: "
    "all of its emojis are designed by OpenMoji (openmoji.org), the open-source emoji and icon project.",
    "avatars-64": "The designs are in the public domain (CC0 1.0): Lorelei by Lisa Wischofsky, Notionists by Zoish, "
    "Open Peeps by Pablo Stanley, Pixel Art by DiceBear.",
    "cifar10": "CIFAR-10 (Krizhevsky 2009) is given out for research; its photographs belong to their authors.",
    "mnist": "MNIST (LeCun, Cortes, Burges 1998) is given out under CC BY-SA 3.0.",
    "horse2zebra": "horse2zebra (Zhu et al. 2017) was collected from ImageNet, for research that is not commercial; "
    "its photographs belong to their authors.",
}


def write_card(
    checkpoint: Path,
    plan: Plan,
    command: str,
    curves: Path | None = None,
    extractor: metrics.Extractor | None = None,
) -> Path:
    """Draws the pictures and writes `NAME.md` beside the checkpoint; its `metrics` must have been measured before.

    Args:
        command: the one that trains this checkpoint again.
        curves: a picture of the run's curves, copied; without it an earlier card's stays.
        extractor: what finds the failures; by default the Inception.
    Returns:
        The card's path.
    """
    model = load(checkpoint)
    pictures = _pictures(plan, checkpoint, extractor)
    lines = []
    for name, title, sheet in pictures:
        picture = checkpoint.with_suffix(f".{name}.webp")
        with atomic_path(picture) as temporary:
            temporary.write_bytes(encode(sheet, "webp"))  # a tenth of a PNG's size, for sheets of photos
        lines += [f"## {title}", "", f"![{title}]({picture.name})", ""]
    picture = checkpoint.with_suffix(".curves.png")
    if curves is not None and curves.exists():
        shutil.copyfile(curves, picture)
    if picture.exists():  # also of an earlier card, where the run is no longer at hand
        lines += ["## Training curves", "", f"![Training curves]({picture.name})", ""]
    page = "\n".join(_head(checkpoint, model, command) + lines)
    card = checkpoint.with_suffix(".md")
    with atomic_path(card) as temporary:
        temporary.write_text(page)
    return card


@singledispatch
def _pictures(plan: Plan, checkpoint: Path, extractor: metrics.Extractor | None) -> list[tuple[str, str, Pixels]]:
    """Name, title and sheet of each picture."""
    raise NotImplementedError(plan)


@_pictures.register
def _of_sampler(
    plan: SamplerPlan, checkpoint: Path, extractor: metrics.Extractor | None
) -> list[tuple[str, str, Pixels]]:
    model = load(checkpoint, Generator)
    samples = f"Samples: seeds 0 to {SAMPLES - 1}, not chosen"
    if model.classes:
        samples += f"; classes in turn: {', '.join(model.classes)}"
    seeds = least_real(checkpoint, plan.unseen, plan.feature_images, 2 * FAILURES, extractor)
    failures = f"Known failures: of {plan.feature_images:,} samples, the {len(seeds)} least like any real image"
    sheets = [
        ("samples", samples, grid(_draw(model, range(SAMPLES)), 8)),
        ("interpolations", "Interpolations: from seed 2k to seed 2k + 1 along the sphere", _interpolations(model)),
        ("failures", f"{failures} (seeds {', '.join(map(str, seeds))})", grid(_draw(model, seeds), 8)),
    ]
    if plan.classifier is not None:
        shown = f"Seeds 0 to {NEAREST - 1}, and below each the training image nearest to it in a classifier's features"
        pairs = [_draw(model, range(NEAREST)), nearest(checkpoint, plan, NEAREST)[..., : model.channels]]
        sheets.append(("nearest", shown, grid(np.concatenate(pairs), NEAREST)))
    if (drawn := curve(model.metadata.metrics)) is not None:
        sheets.append(("truncation", "Truncation: what nearness to the data costs in variety", drawn))
    return sheets


def _draw(model: Generator, seeds: "range | list[int]") -> Pixels:
    return _pixels(model, draw(list(seeds), model.latent_size), list(seeds))


def _pixels(model: Generator, latents: torch.Tensor, seeds: list[int]) -> Pixels:
    classes = torch.tensor([seed % len(model.classes) for seed in seeds]) if model.classes else None
    return to_uint8(model(latents, classes))


def _interpolations(model: Generator) -> Pixels:
    rows = []
    for row in range(4):
        start, end = draw([2 * row, 2 * row + 1], model.latent_size)
        path = slerp(start, end, torch.linspace(0, 1, STEPS)[:, None])
        rows.append(_pixels(model, path, [2 * row] * STEPS))
    return grid(np.concatenate(rows), STEPS)


@_pictures.register
def _of_autoencoder(
    plan: AutoencoderPlan, checkpoint: Path, extractor: metrics.Extractor | None
) -> list[tuple[str, str, Pixels]]:
    model = load(checkpoint, Autoencoder)
    photos = np.stack([loader() for loader in plan.sampler.unseen.loaders()])
    worst = least_like(model, photos, ROW)
    some = np.stack([loader() for loader in evenly(plan.sampler.unseen, AGAIN).loaders()])  # of every class
    shown = f"Reconstructions: {len(some)} test images, evenly spaced, and below each what its code gives"
    failures = f"Known failures: of {len(photos):,} test images, the {len(worst)} whose reconstructions differ most"
    return [
        ("reconstructions", shown, _rows_of_pairs(model, some)),
        ("failures_reconstructions", failures, _rows_of_pairs(model, photos[worst])),
        *_of_sampler(plan.sampler, checkpoint, extractor),
    ]


def _rows_of_pairs(model: Autoencoder, photos: Pixels) -> Pixels:
    """Rows of images, below each row the same images drawn again from their codes."""
    shown, drawn = photos[..., : model.channels], again(model, photos)
    rows = [side[start : start + ROW] for start in range(0, len(photos), ROW) for side in (shown, drawn)]
    whole = np.zeros((len(rows), ROW, *shown.shape[1:]), np.uint8)
    for place, row in zip(whole, rows, strict=True):
        place[: len(row)] = row
    return grid(whole.reshape(-1, *shown.shape[1:]), ROW)


@_pictures.register
def _of_translator(
    plan: TranslatorPlan, checkpoint: Path, _: metrics.Extractor | None
) -> list[tuple[str, str, Pixels]]:
    model = load(checkpoint, Translator)
    sheets: list[tuple[str, str, Pixels]] = []
    for direction in model.directions:
        source, target = model.domains if direction == "a_to_b" else model.domains[::-1]
        photos = _photos(plan.data / f"test{direction[0].upper()}")
        shown = [photos]
        if plan.pairs:
            shown.append(_photos(plan.data / f"test{direction[-1].upper()}"))
        below = "; below them the true pictures" if plan.pairs else ""
        first = _rows(model, direction, shown, list(range(len(photos)))[:FIRST])
        sheets.append((direction, f"{source} to {target}: the first {FIRST} test photos, not chosen{below}", first))
        worst = least_consistent(model, photos, direction, FAILURES)
        title = f"Known failures, {source} to {target}: the test photos that a round trip changes most{below}"
        sheets.append((f"failures_{direction}", title, _rows(model, direction, shown, worst)))
        outlines = outlines_of(plan, direction[0])
        if outlines is not None:
            translated = [translate(model, photo[None], direction)[0] for photo in photos]
            moved = movement(list(photos), translated, outlines)
            most = [moved.photos[index] for index in moved.outside.argsort()[::-1][:WORST]]
            title = f"Known failures, {source} to {target}: the test photos whose background moves most{below}"
            sheets.append((f"background_{direction}", title, _rows(model, direction, shown, most)))
    return sheets


def _photos(folder: Path) -> Pixels:
    return np.stack([loader() for loader in metrics.open_images(folder).loaders()])


def _rows(model: Translator, direction: str, shown: list[Pixels], chosen: list[int]) -> Pixels:
    """Photos in the upper row, their translations below, and below those the true pictures, where `shown` has them."""
    photos, *truth = (pictures[chosen] for pictures in shown)
    return grid(np.concatenate([photos, translate(model, photos, direction), *truth]), len(chosen))


@singledispatch
def _what(model: Model) -> str:
    """The kind of network and what it does, in a sentence."""
    raise NotImplementedError(model)


@_what.register
def _what_it_draws(model: Generator) -> str:
    colour = {1: "grey", 3: "colour"}[model.channels]
    classes = f", {len(model.classes)} classes" if model.classes else ""
    size = f"{model.metadata.kind.upper()} of {model.image_size} px"
    return f"{size}, {colour}, latents of {model.latent_size}{classes}."


@_what.register
def _what_it_encodes(model: Autoencoder) -> str:
    networks = ", ".join(f"{name} {sum(p.numel() for p in part.parameters()):,}" for name, part in model.parts.items())
    return (
        f"{_what_it_draws(model)} It also finds the code of an image, {model.config.code_size} numbers. "
        f"Weights of its networks: {networks}."
    )


@_what.register
def _what_it_translates(model: Translator) -> str:
    fields = ", ".join(f"{name} {value}" for name, value in model.metadata.architecture.items())
    return f"{model.metadata.kind} ({fields}): translates {' and '.join(_ways(model))}; photos of any size."


def _head(checkpoint: Path, model: Model, command: str) -> list[str]:
    metadata = model.metadata
    training = metadata.training
    megabytes = checkpoint.stat().st_size / 1e6
    return [
        f"# {checkpoint.stem}",
        "",
        _what(model),
        "",
        *_table(
            {
                "File": f"`{checkpoint.name}`, {megabytes:.1f} MB, {max(parameters(model)):,} weights in each network",
                "SHA-256": f"`{model.digest}`",
                "Data": f"{training['dataset']}, {_count(training)} images, digest `{training['dataset_digest'][:16]}`",
                "Licence of the data": LICENCES.get(training["dataset"].lower(), "see the data"),
                "Loss": _loss(training),
                **_discriminator(training["config"]["network"]),
                "Length": f"{training['images']:,} images in {training['steps']:,} steps",
                **_beginning(training),
                "Time and machine": f"{training['seconds'] / 60:.0f} minutes on {training['device']}",
                "Code": f"`{training['code']}`, seed {training['seed']}",
                "Again with": f"`{command}`",
            }
        ),
        "",
        *_scores(metadata, said(checkpoint, metadata)),
        "<details><summary>Configuration of the run</summary>",
        "",
        "```json",
        json.dumps(training["config"], indent=2),
        "```",
        "",
        "</details>",
        "",
    ]


def _loss(training: dict[str, Any]) -> str:
    """The adversarial loss, and what taught the masks; older runs had neither choice."""
    game = training["config"]["game"]
    taught = [training["loss"]] if game.get("adversarial", 1) else []
    if game.get("guide"):
        taught.append(f"masks by ImageNet's classes {game['guide_classes']}, as EfficientNet-Lite0 sees them")
    return "; ".join(taught)


def _discriminator(network: dict[str, Any]) -> dict[str, str]:
    """A line on a discriminator that knew more than the data; older runs had no choice of one."""
    if network.get("discriminator") != "projected":
        return {}
    return {
        "Discriminator": "projected (Sauer et al. 2021): it saw images through EfficientNet-Lite0, which learned "
        "ImageNet with labels. So did the Inception of the scores below, and they flatter such models "
        "(Kynkäänniemi et al. 2023): look at the pictures too"
    }


def _ways(model: Translator) -> list[str]:
    a, b = model.domains
    names = {"a_to_b": f"{a} to {b}", "b_to_a": f"{b} to {a}"}
    return [names[direction] for direction in model.directions]


def _beginning(training: dict[str, Any]) -> dict[str, str]:
    """Lines on the checkpoints that a run began with and learned from, where there were any."""
    start, teacher, rows = training.get("start"), training.get("teacher"), {}
    if start:
        digest = start["digest"][:16]
        rows["Began as"] = f"{start['name']}, digest `{digest}`, trained on {start['images']:,} images"
    if teacher:
        rows["Teacher"] = f"{teacher['name']}, digest `{teacher['digest'][:16]}`"
    return rows


def _count(training: dict[str, Any]) -> str:
    images = training["dataset_images"]
    return " + ".join(f"{count:,}" for count in (images if isinstance(images, list) else [images]))


def _table(rows: dict[str, str]) -> list[str]:
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]


def _scores(metadata: Metadata, verdicts: list[str]) -> list[str]:
    """The table of scores, and beneath it what there is to say of them."""
    if not metadata.metrics:
        return []
    lines = ["## Scores", "", "| score | value | 95% interval | images | against | protocol |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, entry in metadata.metrics.items():
        low, high = entry["interval"] or (None, None)
        interval = "" if low is None else f"{low:.4g} to {high:.4g}"
        count = f"{entry['reference_images']:,} " if entry["reference_images"] else ""
        row = [name.replace("_", " "), f"{entry['value']:.4g}", interval, f"{entry['images']:,}"]
        reduced = entry.get("precision", "float32")
        protocol = entry["protocol"] + ("" if reduced == "float32" else f", {reduced} arithmetic")
        if "sha256:" in entry.get("extractor", ""):  # of one's own; the Inception is what readers expect
            protocol += f", features of {entry['extractor'][:28]}"
        row += [f"{count}({entry['reference']})" if entry["reference"] else "", protocol]
        lines.append("| " + " | ".join(row) + " |")
        if entry.get("verdict") and not entry.get("reliable") and entry["verdict"] not in verdicts:
            verdicts.append(entry["verdict"])
    return [*lines, "", *verdicts, *([""] if verdicts else [])]
