"""Pictures as the service gives them away: encoded, marked and, where the operator has a certificate, signed last."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.images import Pixels
from models.origin import Origin
from service.encoding import pictures
from service.encoding.manifests import Signer
from service.encoding.pictures import Animation, ImageFormat

_ANIMATIONS: Mapping[Animation, str] = {"gif": "image/gif", "webp": "image/webp", "apng": "image/png"}


@dataclass(frozen=True)
class Writer:
    """Arguments and errors are those of `pictures.encode` and `pictures.animate`, and of `Signer.sign`."""

    signer: Signer | None

    def image(self, pixels: Pixels, kind: ImageFormat, quality: int, origin: Origin, icc: bytes | None = None) -> bytes:
        return self._signed(pictures.encode(pixels, kind, quality, origin, icc), pictures.MEDIA[kind], origin)

    def animation(self, pixels: Pixels, kind: Animation, frame_ms: int, quality: int, origin: Origin) -> bytes:
        return self._signed(pictures.animate(pixels, kind, frame_ms, quality, origin), _ANIMATIONS[kind], origin)

    def _signed(self, file: bytes, media: str, origin: Origin) -> bytes:
        return self.signer.sign(file, media, origin) if self.signer else file
