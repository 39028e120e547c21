"""How tests run the commands that make data sets, and compare what they wrote."""

import hashlib
import subprocess
from pathlib import Path

DATASETS = Path(__file__).parents[2] / "datasets"


def make(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command of a data set: `make("avatars", FOLDER, "--count", 8)`."""
    command = ["node", str(DATASETS / name / "make.js"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
