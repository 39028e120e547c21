"""The client as people get it: a wheel in an environment of its own, which holds what the wheel requires and no more.

Nothing is asked of a registry: what the wheel requires is copied out of the environment that these tests run in.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from service import __version__
from service.settings import Settings
from tests.service.conftest import PATIENT, MeanColours, local_server

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "client"
HORSES = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def built(source: Path, folder: Path) -> Path:
    """The wheel of a source tree or an sdist."""
    done = run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(CLIENT, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Installed:
    """An environment with the client in it, and a service to ask."""

    bin: Path
    url: str

    def run(self, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Out of reach of this repository, of its environment, and of the settings of whoever runs the tests."""
        path = os.pathsep.join([str(self.bin), os.defpath])
        return run(*command, cwd=cwd, env={"PATH": path, "HOME": str(cwd), "GAN_URL": self.url})


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    for distribution in required_by(metadata_of(wheel)).values():
        for file in distribution.files or []:
            if ".." not in file.parts:  # commands, which lie outside
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), site / file)
    python = folder / "bin" / "python"
    # Without --no-deps: were a requirement missing or of another version, there would be no index to get it from.
    done = run(*PIP, "--python", python, "install", "--no-index", wheel, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = Settings(store=folder / "store", **PATIENT)
    with local_server(settings, MeanColours()) as service:
        yield Installed(python.parent, service.url)


def metadata_of(wheel: Path) -> importlib.metadata.Distribution:
    (entry,) = (entry for entry in zipfile.Path(wheel).iterdir() if entry.name.endswith(".dist-info"))
    return importlib.metadata.PathDistribution(entry)


def required_by(distribution: importlib.metadata.Distribution) -> dict[str, importlib.metadata.Distribution]:
    """By name, what it requires, and what that requires, as it is in the environment of these tests."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for requirement in map(Requirement, distribution.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            one = importlib.metadata.distribution(requirement.name)
            found |= {requirement.name: one, **required_by(one)}
    return found


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_the_version_of_the_service(wheel: Path) -> None:
    assert metadata_of(wheel).version == __version__


def test_the_wheel_holds_the_client_alone_with_its_types_and_its_licence(wheel: Path) -> None:
    files = {str(path.relative_to(CLIENT)) for path in (CLIENT / "gan_client").iterdir() if path.is_file()}
    names = names_in(wheel)
    assert {name for name in names if ".dist-info/" not in name} == files
    assert "gan_client/py.typed" in files
    (licence,) = (name for name in names if name.endswith("/LICENSE"))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_an_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Also where the service, which has the version, is not at hand."""
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=CLIENT)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    again = built(sdist, tmp_path)
    assert (again.name, names_in(again)) == (wheel.name, names_in(wheel))


def test_what_is_installed_comes_from_the_environment_alone(installed: Installed, tmp_path: Path) -> None:
    code = "import sys, gan_client; print(gan_client.__file__, *sys.path, sep='\\n')"
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    module, *places = done.stdout.split()
    assert Path(module).is_relative_to(installed.bin.parent)
    assert not [place for place in places if Path(place).is_relative_to(ROOT)]
    assert not [place for place in places if place == sysconfig.get_path("purelib")]


def test_the_command_line_lists_its_commands(installed: Installed, tmp_path: Path) -> None:
    shown = installed.run("gan", "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert {"sample", "translate", "score", "jobs"} <= set(shown.stdout.split())
    for name in ("sample", "translate", "score", "jobs"):
        shown = installed.run("gan", name, "--help", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "--api-key" in shown.stdout


def test_the_command_line_samples(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("gan", "sample", "-n", 3, "-o", "out/", "--seed", 7, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["7.png", "8.png", "9.png"]
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            image.load()


EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("language", "text"), EXAMPLES[1:])
def test_the_readmes_examples_run_as_written(installed: Installed, tmp_path: Path, language: str, text: str) -> None:
    for number, photo in enumerate(sorted(HORSES.iterdir())[:6]):
        (tmp_path / "photos" / "trip").mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "photos" / "trip" / f"horse{number}.jpg")
    shutil.copy(photo, tmp_path / "horse.jpg")
    text = text.replace("http://localhost:3000", installed.url)
    command = ("python", "-W", "error", "-c", text) if language == "python" else ("bash", "-euc", text)
    done = installed.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if "gan translate" in text:
        assert (tmp_path / "zebras" / "trip" / "horse0.png").is_file()


def test_the_readme_begins_with_the_installation() -> None:
    assert EXAMPLES[0] == ("bash", "pip install ./client\n")


def test_the_service_says_that_it_is_not_installed(tmp_path: Path) -> None:
    done = run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT, cwd=tmp_path)
    assert done.returncode != 0
    assert "pip install ./client" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
