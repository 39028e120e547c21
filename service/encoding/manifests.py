"""C2PA manifests: what a picture says of its origin, signed, and bound to its bytes (C2PA specification 2.2).

`c2pa-python` writes and verifies them. It is an optional package, loaded when the first picture is signed or one with a
manifest is looked at. Nothing goes over the network, but to the timestamp authority that the operator names: manifests
that lie elsewhere are not fetched, revocation is not asked for, and lists of trusted certificates are files.
"""

import importlib
import importlib.util
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.errors import OverloadError
from models.origin import SOURCE_TYPES, Origin
from service import __version__
from service.encoding import png
from service.settings import Settings

ASSERTION = "gan-service.origin"
"""The label of the assertion that names the model, what it was trained with, and the digest of a translated photo."""

State = Literal["trusted", "valid", "invalid", "unread"]

_NOTHING = Origin("trainedAlgorithmicMedia", {})
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_KINDS = ("png", "jpeg", "webp", "gif", "avif", "heif", "tiff")  # of pictures that can hold a manifest
_MOST_READ = 8 * 2**20  # characters of what the library tells of one store of manifests
_MOST_SAID = 200  # characters of one name in it
_MOST_LISTED = 50


class Signer:
    """Signs pictures with the operator's certificate, on several threads at once."""

    def __init__(self, certificate: Path, key: Path, timestamps: str | None = None) -> None:
        """Reads PEM files: the certificate with what leads to its authority, and its key without a password.

        Raises ValueError, with a sentence, where they cannot be read, or do not sign.
        """
        try:
            chain, secret = certificate.read_bytes(), key.read_bytes()
        except OSError as error:
            raise ValueError(f"GAN_C2PA_CERTIFICATE and GAN_C2PA_KEY: {error}.") from None
        self._c2pa = importlib.import_module("c2pa")
        try:
            algorithm = _algorithm(secret)
            self._context = self._signing(algorithm, chain, secret, None)
            tried = self.sign(png.encode(np.zeros((1, 1, 1), np.uint8)), "image/png", _NOTHING)
            if timestamps is not None:
                self._context = self._signing(algorithm, chain, secret, timestamps)
        except Exception as error:  # whatever the libraries stumble over is the files' fault
            raise ValueError(f"GAN_C2PA_CERTIFICATE and GAN_C2PA_KEY do not sign: {error}.") from error
        verdict = Verifier(None).verify(tried, "png")
        if verdict is None or verdict.state == "invalid":  # a key of another certificate, for one
            raise ValueError("GAN_C2PA_CERTIFICATE and GAN_C2PA_KEY do not belong together.")

    def _signing(self, algorithm: str, chain: bytes, secret: bytes, timestamps: str | None) -> Any:
        signer = self._c2pa.Signer.from_info(self._c2pa.C2paSignerInfo(algorithm, chain, secret, timestamps))
        # It would otherwise verify all that it signs, and put a smaller picture into it.
        settings = {"verify": {**_OFFLINE, "verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
        return self._c2pa.Context.from_dict(settings, signer)

    def sign(self, file: bytes, media: str, origin: Origin) -> bytes:
        """The picture with a manifest in it. Raises OverloadError where that fails, so that none goes out unsigned."""
        signed = io.BytesIO()
        try:
            self._c2pa.Builder(_definition(origin, media), self._context).sign(media, io.BytesIO(file), signed)
        except self._c2pa.C2paError as error:
            raise OverloadError(
                f"The picture could not be signed: {str(error)[:_MOST_SAID]}", retry_after_s=5
            ) from error
        return signed.getvalue()


def signer(settings: Settings) -> Signer | None:
    """The operator's, or None. Raises ValueError as `Signer` does."""
    if settings.c2pa_certificate is None or settings.c2pa_key is None:
        return None
    return Signer(settings.c2pa_certificate, settings.c2pa_key, settings.c2pa_timestamps)


def is_installed() -> bool:
    return importlib.util.find_spec("c2pa") is not None


def _algorithm(secret: bytes) -> str:
    """What a key signs by, as C2PA names it."""
    serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")  # c2pa-python needs it too
    key = serialization.load_pem_private_key(secret, None)
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve is not None:
        return _CURVES[curve]
    return "ps256" if hasattr(key, "key_size") else "ed25519"


def _definition(origin: Origin, media: str) -> dict[str, Any]:
    """The manifest before it is bound to a file: who claims, what was done, and with which model."""
    kind = {"digitalSourceType": SOURCE_TYPES + origin.source}
    about: dict[str, Any] = {**origin.about, "training": origin.training}
    actions: list[dict[str, Any]] = [{"action": "c2pa.created", **kind}]
    ingredients: list[dict[str, str]] = []
    if origin.photo is not None:
        about["photo"] = {"alg": "sha256", "hash": origin.photo}
        ingredients = [{"title": "photo", "relationship": "parentOf", "label": "photo"}]
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["photo"]}}
        actions = [opened, {"action": "c2pa.edited", **kind}]
    return {
        "claim_generator_info": [{"name": "gan-service", "version": __version__}],
        "format": media,
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "data": about},
        ],
    }


@dataclass(frozen=True)
class Verdict:
    """What the manifest that a picture ends with says, and how far to believe it.

    Attributes:
        state: trusted (signed by a certificate that the operator's anchors vouch for), valid (signed, and the picture
            is as it was then, but whoever signed is unknown), invalid, or unread for want of the package.
        problems: C2PA's codes of what was found wrong, the untrusted certificate among it.
    """

    state: State
    generator: str | None = None
    signed_by: str | None = None
    issuer: str | None = None
    time: str | None = None
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Verifier:
    """Reads the manifests of pictures, whoever signed them."""

    def __init__(self, anchors: Path | None) -> None:
        """Raises ValueError where the PEM file of trusted certificates cannot be read."""
        self._settings: dict[str, Any] = {"verify": _OFFLINE, "core": {"allowed_network_hosts": []}}
        if anchors is not None:
            try:
                self._settings["trust"] = {"user_anchors": anchors.read_text()}
            except (OSError, ValueError) as error:
                raise ValueError(f"GAN_C2PA_ANCHORS: {error}.") from None

    def verify(self, file: bytes, kind: str) -> Verdict | None:
        """What the picture's manifest says, `kind` being the picture's format, such as png; None where it has none."""
        if kind not in _KINDS or b"c2pa" not in file:
            return None
        if not is_installed():
            return Verdict("unread", problems=("c2pa-python is not installed where this service runs",))
        c2pa = importlib.import_module("c2pa")
        try:
            context = c2pa.Context.from_dict(self._settings)
            with c2pa.Reader(f"image/{kind}", io.BytesIO(file), context=context) as reader:
                told = reader.json()
        except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
            return None
        except c2pa.C2paError as error:
            return Verdict("invalid", problems=(str(error)[:_MOST_SAID],))
        if len(told) > _MOST_READ:
            return Verdict("invalid", problems=(f"more than {_MOST_READ:,} characters",))
        try:
            return _verdict(json.loads(told))
        except (AttributeError, KeyError, IndexError, TypeError, RecursionError):  # assertions may hold what they like
            return Verdict("invalid", problems=("the manifest is malformed",))


def _verdict(store: dict[str, Any]) -> Verdict:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator")}]
    done = [
        action
        for assertion in manifest.get("assertions", ())
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    states: dict[object, State] = {"Trusted": "trusted", "Valid": "valid"}
    return Verdict(
        state=states.get(store.get("validation_state"), "invalid"),
        generator=_said(generators[0].get("name")),
        signed_by=_said(signature.get("common_name")),
        issuer=_said(signature.get("issuer")),
        time=_said(signature.get("time")),
        actions=tuple(_listed(action.get("action") for action in done)),
        source_types=tuple(_listed(action.get("digitalSourceType") for action in done)),
        ingredients=tuple(_listed(one.get("title") for one in manifest.get("ingredients", ()))),
        problems=tuple(_listed(one.get("code") for one in store.get("validation_status") or ())),
    )


def _said(value: object) -> str | None:
    return value[:_MOST_SAID].removeprefix(SOURCE_TYPES) if isinstance(value, str) else None


def _listed(values: Iterable[object]) -> list[str]:
    return [said for value in values if (said := _said(value)) is not None][:_MOST_LISTED]
