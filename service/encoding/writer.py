"""Pictures as the service gives them away: encoded, marked and, where the operator has a certificate, signed last."""

from collections.abc import Mapping
from dataclasses import dataclass

from models import Animation, Video
from models.images import Pixels
from models.origin import Origin
from service.encoding import pictures
from service.encoding.animations import animate
from service.encoding.manifests import Signer
from service.encoding.pictures import ImageFormat

_CLIPS: Mapping[Animation | Video, str] = {
    "gif": "image/gif",
    "webp": "image/webp",
    "apng": "image/png",
    "mp4": "video/mp4",
}


@dataclass(frozen=True)
class Writer:
    """Arguments and errors are those of `pictures.encode` and `animate`, and of `Signer.sign`."""

    signer: Signer | None

    def image(self, pixels: Pixels, kind: ImageFormat, quality: int, origin: Origin, icc: bytes | None = None) -> bytes:
        return self._signed(pictures.encode(pixels, kind, quality, origin, icc), pictures.MEDIA[kind], origin)

    def animation(self, pixels: Pixels, kind: Animation, frame_ms: int, quality: int, origin: Origin) -> bytes:
        return self.clip(animate(pixels, kind, frame_ms, quality, origin), kind, origin)

    def clip(self, file: bytes, kind: Animation | Video, origin: Origin) -> bytes:
        """A file that a `ClipWriter` made, signed too; C2PA has no manifests for WebM."""
        return file if kind == "webm" else self._signed(file, _CLIPS[kind], origin)

    def _signed(self, file: bytes, media: str, origin: Origin) -> bytes:
        return self.signer.sign(file, media, origin) if self.signer else file
