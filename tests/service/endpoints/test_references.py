"""References: kept, listed, downloaded as pytorch-fid reads them, removed, and there again after a restart."""

import asyncio
import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

import metrics
from metrics.sets.featuresets import of_features
from models import NotFoundError
from service.scoring.references import References
from service.storage import FolderStore

CIFAR = Path(__file__).parents[2] / "fixtures" / "cifar10"
REAL = sorted(CIFAR.glob("train/*/*.png"))[:12]
Serve = Callable[..., Any]


def keep(url: str, name: str, paths: list[Path] = REAL, **fields: str) -> requests.Response:
    files = [("images", (path.name, path.read_bytes())) for path in paths]
    return requests.post(f"{url}/v1/references", data={"name": name, **fields}, files=files, timeout=300)


def keep_npz(url: str, name: str, data: bytes, **fields: str) -> requests.Response:
    files = {"images": ("s.npz", data)}
    return requests.post(f"{url}/v1/references", data={"name": name, **fields}, files=files, timeout=300)


def test_a_reference_is_kept_listed_downloaded_and_removed(scoring: Any, mean_colours: metrics.Extractor) -> None:
    url = f"{scoring.url}/v1/references"
    made = keep(scoring.url, "horses.v1")
    assert made.status_code == 201
    assert made.headers["Location"] == "/v1/references/horses.v1"
    view = made.json()
    assert (view["name"], view["n"], view["protocol"]) == ("horses.v1", 12, "pytorch-fid")
    assert (view["extractor"], view["features"]) == ("mean-colours", True)
    assert requests.get(f"{url}/horses.v1", timeout=300).json() == view
    assert view in requests.get(url, timeout=300).json()["references"]

    download = requests.get(f"{url}/horses.v1/npz", timeout=300)
    assert download.headers["Content-Disposition"] == 'attachment; filename="horses.v1.npz"'
    expected = metrics.statistics(REAL, extractor=mean_colours)
    with np.load(io.BytesIO(download.content)) as file:  # as pytorch-fid does
        np.testing.assert_allclose(file["mu"], expected.mu, rtol=1e-9)
        np.testing.assert_allclose(file["sigma"], expected.sigma, rtol=1e-9)
        assert file["n"] == 12

    assert requests.delete(f"{url}/horses.v1", timeout=300).json() == view
    for answer in (
        requests.get(f"{url}/horses.v1", timeout=300),
        requests.get(f"{url}/horses.v1/npz", timeout=300),
        requests.delete(f"{url}/horses.v1", timeout=300),
    ):
        assert answer.status_code == 404
        assert "There is no reference horses.v1" in answer.json()["error"]["message"]
    assert view not in requests.get(url, timeout=300).json()["references"]


def test_a_downloaded_reference_can_be_sent_back(scoring: Any) -> None:
    assert keep(scoring.url, "one", protocol="clean-fid").status_code == 201
    data = requests.get(f"{scoring.url}/v1/references/one/npz", timeout=300).content
    mismatch = keep_npz(scoring.url, "two", data)
    assert mismatch.status_code == 400
    assert "made with the protocol clean-fid" in mismatch.json()["error"]["message"]
    again = keep_npz(scoring.url, "two", data, protocol="clean-fid")
    assert again.status_code == 201
    view, first = again.json(), requests.get(f"{scoring.url}/v1/references/one", timeout=300).json()
    assert (view["n"], view["extractor"], view["digest"]) == (12, "mean-colours", first["digest"])
    assert view["features"] is False


def test_pytorch_fid_s_own_files_are_taken(scoring: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 12))
    buffer = io.BytesIO()
    np.savez(buffer, mu=rows.mean(0), sigma=np.cov(rows.T))
    made = keep_npz(scoring.url, "foreign", buffer.getvalue())
    assert made.status_code == 201
    assert (made.json()["n"], made.json()["protocol"]) == (None, "pytorch-fid")
    scored = requests.post(f"{scoring.url}/v1/score", json={"a_n": 4, "b_reference": "foreign"}, timeout=300)
    assert scored.status_code == 200
    assert "do not say" in scored.json()["fid"]["verdict"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"mu": np.zeros(3)},
        {"mu": np.zeros(3), "sigma": np.zeros((3, 4))},
        {"mu": np.array([np.nan, 0, 0]), "sigma": np.eye(3)},
        {"mu": np.array([None, 0, 0], dtype=object), "sigma": np.eye(3)},
        {"mu": np.array(["a"] * 3), "sigma": np.eye(3)},
    ],
    ids=["no sigma", "shapes", "not finite", "pickle", "text"],
)
def test_what_is_not_statistics_is_refused(scoring: Any, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    answer = keep_npz(scoring.url, "bad", buffer.getvalue())
    assert answer.status_code == 400
    assert requests.get(f"{scoring.url}/v1/references/bad", timeout=300).status_code == 404


@pytest.mark.parametrize(
    "name", ["../../x", "..", "a/b", "/etc/x", "a\\b", ".hidden", "x.", "a b", "ä", "a\x00b", "a" * 65, ""]
)
def test_hostile_names_are_refused(scoring: Any, name: str) -> None:
    root = Path(scoring.runtime.settings.store).parent
    before = set(root.rglob("*"))
    answer = keep(scoring.url, name)
    assert answer.status_code == 400
    assert answer.json()["error"]["where"] == "name"
    quoted = requests.utils.quote(name, safe="")  # type: ignore[attr-defined]
    for method in ("GET", "DELETE"):
        other = requests.request(method, f"{scoring.url}/v1/references/{quoted}", timeout=300)
        assert other.status_code in (400, 404, 405), other.text
        assert other.json()["error"]["message"]
    assert set(root.rglob("*")) == before


def test_a_name_is_given_once(scoring: Any) -> None:
    assert keep(scoring.url, "taken").status_code == 201
    again = keep(scoring.url, "taken", REAL[:3])
    assert again.status_code == 409
    assert "delete it first" in again.json()["error"]["message"]
    assert requests.get(f"{scoring.url}/v1/references/taken", timeout=300).json()["n"] == 12


def test_references_survive_a_restart_and_are_bounded(serve: Serve, mean_colours: metrics.Extractor) -> None:
    first = serve(mean_colours, references=1)
    view = keep(first.url, "kept").json()
    second = serve(mean_colours, references=1)  # the same folder
    assert requests.get(f"{second.url}/v1/references", timeout=300).json() == {"references": [view]}
    full = keep(second.url, "more")
    assert full.status_code == 413
    assert "delete one first" in full.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "files", "status"),
    [
        ({"name": "x"}, [], 400),
        ({}, [("images", ("a.png", REAL[0].read_bytes()))], 400),
        ({"name": "x", "protocol": "none"}, [("images", ("a.png", REAL[0].read_bytes()))], 400),
        ({"name": "x", "more": "1"}, [("images", ("a.png", REAL[0].read_bytes()))], 400),
        ({"name": "x"}, [("pictures", ("a.png", REAL[0].read_bytes()))], 400),
        ({"name": "x"}, [("images", ("a.png", REAL[0].read_bytes()))], 400),
        ({"name": "x"}, [("images", ("a.png", b"text"))], 415),
    ],
    ids=["no files", "no name", "protocol", "stray field", "stray file", "one image", "text"],
)
def test_bad_requests_are_said(scoring: Any, fields: dict[str, str], files: Any, status: int) -> None:
    files = files or {"unused": ("", b"")}
    answer = requests.post(f"{scoring.url}/v1/references", data=fields, files=files, timeout=300)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_crash_between_the_two_writes_leaves_no_reference(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put("references", "half.npz", b"written before the power went")
        references = References(store, 5)
        assert await references.all() == []
        rows = torch.randn(8, 3).numpy()
        statistics = metrics.Statistics(rows.mean(0).astype(np.float64), np.cov(rows.T), 8)
        made = await references.add("half", metrics.FeatureSet("half", statistics), "files")
        assert await references.get("half") == made
        assert dataclasses.asdict((await references.features("half")).statistics)["n"] == 8

    asyncio.run(main())


def test_records_that_cannot_be_read_fail_nothing_but_themselves(tmp_path: Path) -> None:
    """Nor does one that is deleted while the list is made; a name whose record is lost can be given again."""

    class Racing(FolderStore):
        async def names(self, section: str) -> dict[str, float]:
            listed = await super().names(section)
            await self.delete(section, "gone.json")
            return listed

    async def main() -> None:
        references = References(FolderStore(tmp_path), 9)
        rows = torch.randn(8, 3).numpy()
        kept = metrics.FeatureSet("x", metrics.Statistics(rows.mean(0).astype(np.float64), np.cov(rows.T), 8))
        for name in ("fine", "gone", "broken", "changed"):
            await references.add(name, kept, "files")
        folder = tmp_path / "references"
        (folder / "broken.json").write_bytes(b'{"name": "bro')
        (folder / "changed.json").write_text((folder / "changed.json").read_text().replace('"n": 8', '"n": "many"'))
        (folder / "a..json").write_text("a stray file")
        (folder / "folder.json").mkdir()
        assert [one.name for one in await References(Racing(tmp_path), 9).all()] == ["fine"]
        for name, says in (("broken", "is damaged"), ("changed", "is damaged"), ("folder", "no reference folder")):
            with pytest.raises(NotFoundError, match=says):
                await references.get(name)
        assert (await references.add("broken", kept, "files")).name == "broken"
        assert [one.name for one in await references.all()] == ["broken", "fine"]

    asyncio.run(main())


def test_what_was_left_out_is_kept_with_the_reference(scoring: Any) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in REAL[:3]:
            archive.write(path, path.name)
        archive.writestr("labels.csv", "x")
    url = f"{scoring.url}/v1/references"
    files = {"images": ("set.zip", packed.getvalue())}
    assert requests.post(url, data={"name": "few"}, files=files, timeout=300).json()["skipped"]["endings"] == {
        ".csv": 1
    }
    assert requests.get(f"{url}/few", timeout=300).json()["skipped"]["why"].startswith("1 file was left out")


def test_a_download_carries_no_features_and_computes_nothing_again(tmp_path: Path) -> None:
    """However many features were kept; the digest is of these very numbers."""

    async def main() -> None:
        references = References(FolderStore(tmp_path), 9)
        kept = of_features("x", torch.randn(600, 40).numpy())
        made = await references.add("x", kept, "files")
        data = await references.statistics("x")
        with np.load(io.BytesIO(data)) as file:
            assert sorted(file.files) == ["extractor", "mu", "n", "precision", "protocol", "sigma"]
            assert hashlib.sha256(file["mu"].tobytes() + file["sigma"].tobytes()).hexdigest() == made.digest

    asyncio.run(main())
