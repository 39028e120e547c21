"""C2PA manifests, signed with certificates of the test's own, and read back by the reference implementation."""

import importlib.util
import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from benchmarks.certificates import KEYS, Certificate, certificate
from models.errors import OverloadError
from models.origin import Origin
from service.encoding.manifests import ASSERTION, Signer, Verifier
from service.encoding.writer import Writer

SAMPLE = Origin("trainedAlgorithmicMedia", {"model": "tiny@1", "seed": "7"}, {"data": "mnist", "steps": 300})
TRANSLATION = Origin("compositeWithTrainedAlgorithmicMedia", {"model": "horse@1"}, {}, photo="ab" * 32)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def writer(made: Certificate) -> Writer:
    return Writer(Signer(made.chain, made.key))


def manifest_of(data: bytes, media: str) -> dict[str, Any]:
    with c2pa.Reader(media, io.BytesIO(data)) as reader:
        store = json.loads(reader.json())
    return store["manifests"][store["active_manifest"]]


def assertion(manifest: dict[str, Any], label: str) -> Any:
    return next(one["data"] for one in manifest["assertions"] if one["label"] == label)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_a_sample_is_created_by_a_model(writer: Writer, made: Certificate, kind: Any) -> None:
    data = writer.image(PIXELS[0], kind, 90, SAMPLE)
    manifest = manifest_of(data, f"image/{kind}")
    assert manifest["claim_generator_info"][0]["name"] == "gan-service"
    about = {"model": "tiny@1", "seed": "7", "training": {"data": "mnist", "steps": 300}}
    assert assertion(manifest, ASSERTION) == about
    verdict = Verifier(made.anchors).verify(data, kind)
    assert verdict is not None
    assert (verdict.state, verdict.signed_by, verdict.issuer, verdict.problems) == ("trusted", "Signer", "Tests", ())
    assert (verdict.actions, verdict.source_types) == (("c2pa.created",), ("trainedAlgorithmicMedia",))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
def test_a_translation_is_an_edit_of_a_photo(writer: Writer, made: Certificate, kind: Any) -> None:
    data = writer.image(PIXELS[0], kind, 90, TRANSLATION)
    manifest = manifest_of(data, f"image/{kind}")
    assert assertion(manifest, ASSERTION)["photo"] == {"alg": "sha256", "hash": "ab" * 32}
    assert [(one["title"], one["relationship"]) for one in manifest["ingredients"]] == [("photo", "parentOf")]
    verdict = Verifier(made.anchors).verify(data, kind)
    assert verdict is not None
    assert (verdict.state, verdict.actions) == ("trusted", ("c2pa.opened", "c2pa.edited"))
    assert verdict.source_types == ("compositeWithTrainedAlgorithmicMedia",)


@pytest.mark.parametrize(("kind", "container"), [("gif", "gif"), ("webp", "webp"), ("apng", "png")])
def test_animations_are_signed_whole(writer: Writer, made: Certificate, kind: Any, container: str) -> None:
    data = writer.animation(PIXELS, kind, 80, 90, SAMPLE)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    verdict = Verifier(made.anchors).verify(data, container)
    assert verdict is not None
    assert verdict.state == "trusted"


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_kind_of_key_signs(tmp_path: Path, algorithm: str) -> None:
    one = certificate(tmp_path, algorithm)
    data = Writer(Signer(one.chain, one.key)).image(PIXELS[0], "png", 90, SAMPLE)
    verdict = Verifier(one.anchors).verify(data, "png")
    assert verdict is not None
    assert verdict.state == "trusted"


def test_whoever_is_not_known_is_valid_and_not_trusted(writer: Writer) -> None:
    verdict = Verifier(None).verify(writer.image(PIXELS[0], "png", 90, SAMPLE), "png")
    assert verdict is not None
    assert (verdict.state, verdict.problems) == ("valid", ("signingCredential.untrusted",))


def test_a_picture_that_was_changed_since_is_not_what_was_signed(writer: Writer, made: Certificate) -> None:
    data = bytearray(writer.image(PIXELS[0], "png", 90, SAMPLE))
    data[data.rindex(b"IEND") - 20] ^= 1
    verdict = Verifier(made.anchors).verify(bytes(data), "png")
    assert verdict is not None
    assert verdict.state == "invalid"
    assert "assertion.dataHash.mismatch" in verdict.problems


def test_several_threads_sign_at_once(writer: Writer, made: Certificate) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: writer.image(PIXELS[0], "jpeg", 90, SAMPLE), range(40)))
    verifier = Verifier(made.anchors)
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda data: verifier.verify(data, "jpeg"), files))
    assert {verdict.state for verdict in verdicts if verdict} == {"trusted"}
    assert None not in verdicts


def test_nothing_is_signed_where_signing_fails(writer: Writer) -> None:
    assert writer.signer is not None
    with pytest.raises(OverloadError, match="could not be signed"):
        writer.signer.sign(b"no picture", "image/png", SAMPLE)


def test_a_timestamp_authority_that_is_away_stops_signing(made: Certificate, free_port: int) -> None:
    signer = Signer(made.chain, made.key, f"http://127.0.0.1:{free_port}")
    with pytest.raises(OverloadError, match="could not be signed"):
        Writer(signer).image(PIXELS[0], "png", 90, SAMPLE)


@pytest.mark.parametrize("wrong", ["no chain", "no key", "a foreign key", "text", "expired"])
def test_what_does_not_sign_is_said_at_once(tmp_path: Path, wrong: str) -> None:
    one = certificate(tmp_path, days=0 if wrong == "expired" else 30)
    if wrong == "a foreign key":
        (tmp_path / "other").mkdir()
        one = Certificate(one.chain, certificate(tmp_path / "other").key, one.anchors)
    elif wrong == "text":
        one.key.write_text("hello")
    elif wrong != "expired":
        (one.chain if wrong == "no chain" else one.key).unlink()
    with pytest.raises(ValueError, match="GAN_C2PA_CERTIFICATE and GAN_C2PA_KEY"):
        Signer(one.chain, one.key)


def test_pictures_without_a_manifest_have_none() -> None:
    plain = Writer(None).image(PIXELS[0], "png", 90, SAMPLE)
    verifier = Verifier(None)
    assert verifier.verify(plain, "png") is None
    assert verifier.verify(plain + b"c2pa", "png") is None
    assert verifier.verify(b"BMc2pa", "bmp") is None


def test_forged_manifests_are_told_of_and_nothing_more(writer: Writer) -> None:
    whole = {kind: writer.image(PIXELS[0], kind, 90, TRANSLATION) for kind in ("png", "jpeg", "webp")}
    draw, verifier, states = random.Random(0), Verifier(None), set()
    for _ in range(300):
        kind = draw.choice(list(whole))
        data = bytearray(whole[kind])
        start = data.index(b"jumb")
        for _ in range(draw.choice((1, 1, 4))):
            at = draw.randrange(start, len(data) - 8)
            data[at : at + draw.randrange(4)] = draw.randbytes(draw.randrange(4))
        verdict = verifier.verify(bytes(data), kind)
        states.add(verdict.state if verdict else None)
    assert {"invalid"} < states


def test_without_the_package_a_manifest_is_not_read(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    data = writer.image(PIXELS[0], "png", 90, SAMPLE)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "c2pa" else find(name))
    verdict = Verifier(None).verify(data, "png")
    assert verdict is not None
    assert (verdict.state, verdict.problems) == ("unread", ("c2pa-python is not installed where this service runs",))
