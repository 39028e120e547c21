"""Certificates that C2PA accepts for signing, and the authority that issued them: for tests and benchmarks only."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
"""How a key of each algorithm is made."""


@dataclass(frozen=True)
class Certificate:
    """PEM files: a chain of certificates, the key of its first, and the authority's certificate alone."""

    chain: Path
    key: Path
    anchors: Path


def certificate(folder: Path, algorithm: str = "es256", days: int = 30) -> Certificate:
    """One for `Signer`, valid from yesterday for so many days."""
    authority, key = KEYS["es256"](), KEYS[algorithm]()
    root = _issued("Authority", authority, "Authority", authority, authority, days)
    leaf = _issued("Signer", key, "Authority", authority, authority, days)
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "anchors.pem")
    made.chain.write_bytes(_pem(leaf) + _pem(root))
    made.anchors.write_bytes(_pem(root))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return made


def _issued(name: str, key: Key, issuer: str, issuer_key: Key, signing: Key, days: int) -> x509.Certificate:
    is_authority = name == issuer
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_authority:  # C2PA 14.5.1.1 asks for a purpose, and takes this one
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(signing, hashes.SHA256())


def _named(common_name: str) -> x509.Name:
    pairs = ((NameOID.ORGANIZATION_NAME, "Tests"), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def _pem(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)
