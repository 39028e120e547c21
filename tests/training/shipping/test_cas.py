"""Classification accuracy both ways, of models whose worth is known: they draw tints, and a class is a tint."""

from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models import InputError
from training.classifier.learning import Recipe
from training.cli import main
from training.shipping.cas import Plan, drawn, measure

SIDE, CLASSES = 16, ("red", "blue")


class Tints(torch.nn.Module):
    """Latents and classes -> noise of the tint that each class is given."""

    def __init__(self, *tints: int) -> None:
        super().__init__()
        self.tints = torch.tensor(tints)

    def forward(self, latents: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        images = torch.rand(len(latents), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(int(classes.sum())))
        images[torch.arange(len(latents)), self.tints[classes]] += 0.5
        return (images - 0.75).clamp(-1, 1)


def model(*tints: int, classes: tuple[str, ...] = CLASSES) -> models.Generator:
    config = models.DCGANConfig(image_size=SIDE, latent_size=4, width=4, classes=len(classes))
    metadata = models.metadata_of(config, classes=classes or None)
    return models.Generator({"generator": Tints(*tints)}, config, metadata, "")


def plan(tested: models.Generator, folder: Path, judge: models.Classifier | None = None) -> Plan:
    real = drawn(model(0, 2), 48)
    return Plan(tested, real, real, judge, 48, Recipe(epochs=4, batch=16, rate=400.0), 8, folder)


@pytest.mark.parametrize(
    ("tints", "cas", "reverse"),
    [
        ((0, 2), 1.0, 1.0),
        ((2, 0), 0.0, 0.0),  # the classes are exchanged
        ((0, 0), 0.5, 0.5),  # one class is never drawn: whatever is named, half is right
    ],
)
def test_accuracies_are_what_the_model_is_worth(
    tints: tuple[int, int], cas: float, reverse: float, tmp_path: Path
) -> None:
    found = measure(plan(model(*tints), tmp_path), lambda _: None)
    assert found["cas_real"]["value"] == 1.0
    assert found["cas_reverse"]["value"] == reverse
    assert found["cas"]["value"] == pytest.approx(cas, abs=0.5 if tints == (0, 0) else 0)
    assert found["cas"]["learned"] == found["cas"]["images"] == 48
    assert {path.name for path in tmp_path.iterdir()} == {"generated.pt", "real.pt"}


def test_classes_take_turns_and_seeds_follow(tmp_path: Path) -> None:
    found = drawn(model(0, 2), 205)  # more than a batch
    assert found.pixels.shape == (205, SIDE, SIDE, 3)
    assert found.labels is not None
    assert torch.equal(found.labels, torch.arange(205) % 2)
    red = found.pixels.float().mean(dim=(1, 2))
    assert bool(((red[:, 0] > red[:, 2]) == (found.labels == 0)).all())


def test_other_classes_than_the_model_s_are_a_sentence(tmp_path: Path) -> None:
    judged = models.AirbenchConfig(image_size=SIDE, classes=2, width=8)

    def judge(classes: tuple[str, ...], side: int = SIDE) -> models.Classifier:
        config = models.AirbenchConfig(image_size=side, classes=len(classes), width=8)
        return models.Classifier(config.parts(), config, models.metadata_of(config, classes=classes), "")

    assert judge(CLASSES).config == judged
    for tested, given, message in (
        (model(0, 2, classes=("cat", "dog")), None, r"draws 2 classes \(cat, dog\), the data has 2 \(red, blue\)"),
        (model(0, 2), judge(("blue", "red")), "in the same order"),
        (model(0, 2), judge(("red", "blue", "green")), "the classifier names 3"),
        (model(0, 2), judge(CLASSES, side=32), "The classifier sees 32 px and 3 channels, the model draws 16"),
        (model(0, 2, classes=()), None, "has no classes"),
    ):
        with pytest.raises(InputError, match=message):
            measure(plan(tested, tmp_path, given), lambda _: None)
    assert not list(tmp_path.iterdir())  # said before anything is learned


def test_the_commands_make_a_classifier_and_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "tints"
    real = drawn(model(0, 2), 24)
    assert real.labels is not None
    for index, (pixels, label) in enumerate(zip(real.pixels.numpy(), real.labels.tolist(), strict=True)):
        folder = data / ("train" if index < 20 else "test") / ("0" if label == 0 else "1")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").write_bytes(models.encode(np.ascontiguousarray(pixels), "png"))
    quick = ["--data", str(data), "--epochs", "2", "--width", "8"]
    out = tmp_path / "judge"
    assert main(["classifier", *quick, "--out", str(out), "--image-size", str(SIDE)]) == 0
    judge = models.load(out / "judge.safetensors", models.Classifier)
    assert judge.classes == ("0", "1")
    assert judge.metadata.metrics["accuracy"]["images"] == 4
    assert judge.digest in capsys.readouterr().out
    config = models.DCGANConfig(image_size=SIDE, latent_size=4, width=4, classes=2)
    models.save(tmp_path / "g.safetensors", config.parts(), models.metadata_of(config, classes=("0", "1")))
    asked = [str(tmp_path / "g.safetensors"), *quick, "--out", str(tmp_path / "cas"), "--images", "20"]
    assert main(["cas", *asked, "--classifier", str(out / "judge.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert '"cas_reverse"' in printed
    assert judge.digest in printed
    assert main(["cas", *asked, "--classifier", str(tmp_path / "g.safetensors")]) == 2
    assert "one that names the class of an image is needed" in capsys.readouterr().err
