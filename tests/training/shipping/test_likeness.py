"""How near translations come to true pictures, against the formulas written out and pictures whose answer is plain."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metrics
import models
from models import InputError, ResNetConfig
from training.cli import main
from training.shipping import likeness
from training.shipping.card import _pictures
from training.shipping.measure import TranslatorPlan, measure

PAIRS = 12


def photo(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def grey(level: int) -> np.ndarray:
    return np.full((16, 16, 3), level, np.uint8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of B are those of A, 10 levels brighter; the last pair differs by nothing."""
    data = tmp_path_factory.mktemp("pairs") / "dull2bright"
    for domain, more in (("testA", 0), ("testB", 10), ("trainA", 0), ("trainB", 10)):
        (data / domain).mkdir(parents=True)
        for number in range(PAIRS):
            brighter = more if number < PAIRS - 1 else 0
            Image.fromarray(photo(number) // 2 + brighter).save(data / domain / f"{number:02}.png")
    return data


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("translator") / "translator.safetensors"
    config = ResNetConfig(width=4, blocks=1)
    models.save(path, config.parts(), models.metadata_of(config, domains=("dull", "bright")))
    return path


def test_difference_is_in_levels() -> None:
    one, other = grey(100), grey(100)
    other[:8] += 30  # half of the picture
    other[8:, :, 0] -= 6  # a channel of the other half
    assert likeness.difference([one, one, other], [other, one, one]).tolist() == [16, 0, 16]


def test_ssim_is_the_paper_s_formula() -> None:
    """Wang et al. 2004, equations 14 to 16 and 13, window by window with the weights written out."""
    pictures = [photo(0, 14, 17), photo(1, 14, 17) // 3 + photo(0, 14, 17) // 2]
    one, other = (np.asarray(Image.fromarray(picture).convert("L"), np.float64) for picture in pictures)
    places = np.arange(11) - 5
    weights = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(14 - 10):
        for left in range(17 - 10):
            x, y = one[top : top + 11, left : left + 11], other[top : top + 11, left : left + 11]
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            together = (weights * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + 2.55**2) / (mx**2 + my**2 + 2.55**2)
            values.append(luminance * (2 * together + 7.65**2) / (vx + vy + 7.65**2))
    assert likeness.similarity(pictures[:1], pictures[1:])[0] == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_of_what_is_plain() -> None:
    """A picture and itself; flat ones, of which the luminance term alone is left; a picture and its negative."""
    one = photo(3)
    found = likeness.similarity([one, grey(100), one], [one, grey(50), 255 - one])
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx((2 * 100 * 50 + 2.55**2) / (100**2 + 50**2 + 2.55**2))
    assert found[2] < -0.9
    with pytest.raises(InputError, match="11 pixels a side or more; one has 8"):
        likeness.similarity([grey(1)[:8]], [grey(1)[:8]])


def test_a_translation_stands_beside_the_untouched_photo(pairs: Path) -> None:
    """One that brightens every photo by 10 levels is right but for the last pair."""
    read = likeness.read_pairs(pairs)
    found = likeness.entries(read["a"], [picture + 10 for picture in read["a"]], read["b"], "a_to_b")
    assert found["truth_l1_a_to_b"]["value"] == pytest.approx(10 / PAIRS)
    assert found["truth_l1_a_to_b_untouched"]["value"] == pytest.approx(10 * (PAIRS - 1) / PAIRS)
    low, high = found["truth_l1_a_to_b"]["interval"]
    assert 0 <= low < 10 / PAIRS < high
    assert found["truth_ssim_a_to_b"]["value"] > found["truth_ssim_a_to_b_untouched"]["value"]
    assert found["truth_edges_a_to_b"]["value"] == pytest.approx(1)
    for name, sign in (("l1", -1), ("ssim", 1), ("edges", 1)):  # of pairs, so that it may be sure where means are not
        made, untouched, gain = (found[f"truth_{name}_a_to_b{kind}"] for kind in ("", "_untouched", "_gain"))
        assert gain["value"] == pytest.approx(sign * (made["value"] - untouched["value"]))
    nothing = likeness.entries(read["a"], read["a"], read["b"], "a_to_b")
    assert [nothing[f"truth_{name}_a_to_b_gain"]["interval"] for name in ("l1", "ssim", "edges")] == [[0.0, 0.0]] * 3
    assert {(entry["reference"], entry["images"]) for entry in found.values()} == {("testB", PAIRS)}


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    for domain, names in (("testA", ("1", "2")), ("testB", ("1", "3"))):
        (tmp_path / domain).mkdir()
        for name in names:
            Image.fromarray(photo(0)).save(tmp_path / domain / f"{name}.png")
    with pytest.raises(InputError, match=r"pairs, under the same names; 2 pictures are in one of them .* as 2\.png"):
        likeness.read_pairs(tmp_path)
    Image.fromarray(photo(0)).save(tmp_path / "testB" / "2.png")
    Image.fromarray(photo(0, 16, 24)).save(tmp_path / "testA" / "3.png")
    with pytest.raises(InputError, match=r"pair 3\.png of .* has two sizes: 24 x 16 and 32 x 32"):
        likeness.read_pairs(tmp_path)


def test_the_command_prints_every_measure_of_both_directions(
    pairs: Path, translator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["paired", str(translator), "--data", str(pairs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [f"truth {name} {way}" for way in ("a to b", "b to a") for name in ("l1", "ssim", "edges")]
    kinds = ("", " untouched", " gain")
    assert [line[:32].rstrip() for line in lines] == [name + kind for name in named for kind in kinds]
    assert all(line.endswith(f", of {PAIRS} pairs") for line in lines)
    assert main(["paired", "nowhere.safetensors", "--data", str(pairs)]) == 2
    assert "There is no checkpoint 'nowhere.safetensors'" in capsys.readouterr().err


def test_a_card_measures_and_shows_the_truth_of_pairs_alone(
    pairs: Path, translator: Path, small: metrics.Extractor
) -> None:
    for paired, rows in ((True, 3), (False, 2)):
        plan = TranslatorPlan(pairs, pairs=paired)
        measured = measure(translator, plan, lambda _: None, small)
        assert ("truth_ssim_b_to_a" in measured) == paired
        for _, title, sheet in _pictures(plan, translator, None):
            assert len(sheet) == rows * (32 + 2) + 2
            assert ("true pictures" in title) == paired
