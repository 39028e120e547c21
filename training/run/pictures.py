"""What a finished run leaves behind for the eye: its curves, and a film of its samples."""

from PIL import Image

from models import atomic_path
from training.engine.packages import without_a_notebooks_backend
from training.run.folder import RunFolder

FRAMES = 60  # at most, evenly picked
FRAME_MS = 150
LAST_MS = 2000  # the result is looked at longer


def film(folder: RunFolder, kind: str) -> None:
    """Joins the sheets of samples, which show the same latents all along, to samples.gif or samples.webp."""
    sheets = sorted(folder.samples.glob("*.png"))
    if kind == "none" or len(sheets) < 2:
        return
    step = max(1, -(-len(sheets) // FRAMES))
    chosen = sheets[::-1][::step][::-1]  # the last one is always in it
    frames = [Image.open(sheet).convert("RGB") for sheet in chosen]
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    with atomic_path(folder.root / f"samples.{kind}") as temporary:
        frames[0].save(temporary, format=kind, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def curves(folder: RunFolder) -> None:
    """Plots losses, logits, gradient norm, variety and scores against kimg, to curves.png."""
    with without_a_notebooks_backend():
        from matplotlib.figure import Figure

    lines = folder.lines()
    panels = [
        ("losses", ["loss_d", "loss_g", "cycle", "identity"]),
        ("mean logits", ["d_real", "d_fake"]),
        ("generator's gradient norm", ["g_gradient_norm"]),
        ("variety, 1 = as the data", ["variety"]),
        ("FID", sorted({name for line in lines for name in line if name.startswith("fid")})),
    ]
    panels = [(title, names) for title, names in panels if any(name in line for line in lines for name in names)]
    if not panels:  # a log that somebody has taken away
        return
    height = 2.2 * len(panels)
    figure = Figure(figsize=(8, height))
    # Margins in inches: to have them fitted takes as long as to draw the figure.
    margins = {"left": 0.09, "right": 0.98, "bottom": 0.45 / height, "top": 1 - 0.3 / height, "hspace": 0.25}
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw=margins)
    for axis, (title, names) in zip(axes[:, 0], panels, strict=True):
        for name in names:
            points = [(line["images"] / 1000, line[name]) for line in lines if name in line]
            if points:
                axis.plot(*zip(*points, strict=True), label=name, linewidth=1, marker="." if len(points) < 30 else "")
        axis.set_title(title, fontsize=9, loc="left")
        axis.legend(fontsize=7, loc="upper right")
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("kimg")
    with atomic_path(folder.root / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
