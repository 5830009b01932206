"""Content credentials (C2PA): a signed manifest in a file that says that its sound is generated.

The package c2pa-python (extra `c2pa`) writes and signs it. Nothing is sent over the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.common.files import local_copy, replacing, to_path
from vssflow_jax.common.tables import read_bytes
from vssflow_jax.common.versions import find_version
from vssflow_jax.generation.provenance import (
    COMPOSITE,
    DIGITAL_SOURCE_TYPE,
    GENERATED,
    describe_origin,
)

EXTRA = '`pip install "vssflow_jax[c2pa]"`'
MIME_TYPES = {  # of files that hold manifests
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/avi",
}
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
OTHER_KEYS = {"RSAPrivateKey": "PS256", "Ed25519PrivateKey": "ED25519"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credentials:
    """A signer's identity.

    Attributes:
      certificates: PEM, the signer's own first, then those that vouch for it.
      key: PEM, private, without a password.
      algorithm: C2PA's name of the signature's.
    """

    certificates: bytes
    key: bytes = dataclasses.field(repr=False)
    algorithm: str

    def sign_file(self, path: Path, report: Mapping, *, has_pictures: bool = False) -> None:
        """Adds a signed manifest to a generated file.

        Args:
          path: the file, of one of MIME_TYPES.
          report: of the output whose sound it has.
          has_pictures: whether it also has a video, which was not generated.

        Raises:
          InputError: the file cannot be signed.
        """
        source = COMPOSITE if has_pictures or "mix" in report else GENERATED
        with (
            local_copy(path) as copy,
            copy.open("rb") as unsigned,
            replacing(path) as partial,
            partial.open("w+b") as signed,
        ):
            self._sign(unsigned, signed, path.suffix.lower(), describe_origin(report), source)

    def check(self) -> None:
        """Signs a second of silence. Raises an InputError for certificates that cannot be used."""
        silence = io.BytesIO()
        with wave.open(silence, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(16_000))
        silence.seek(0)
        self._sign(silence, io.BytesIO(), ".wav", "silence", GENERATED)

    def _sign(
        self, unsigned: BinaryIO, signed: BinaryIO, suffix: str, title: str, source: str
    ) -> None:
        c2pa = load_package()
        generator = {"name": "vssflow_jax", "version": find_version("vssflow_jax")}
        action = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE + source}
        manifest = {
            "title": title,
            "claim_generator_info": [generator],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        with _one_line_errors(c2pa):
            info = c2pa.C2paSignerInfo(
                getattr(c2pa.C2paSigningAlg, self.algorithm), self.certificates, self.key, None
            )
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest)) as build:
                build.sign(signer, MIME_TYPES[suffix], unsigned, signed)


@contextlib.contextmanager
def _one_line_errors(c2pa) -> Iterator[None]:
    try:
        yield
    except c2pa.C2paError as error:
        raise InputError(
            f"--c2pa_certificates: cannot sign ({one_line(error)}), expected a chain of X.509 "
            "certificates for signing, and the key of the first"
        ) from error


def load_package():
    """The package c2pa. Raises an InputError where it is not installed."""
    try:
        return importlib.import_module("c2pa")
    except (ImportError, OSError) as error:
        raise InputError(
            f"--c2pa_key: found no package c2pa-python ({one_line(error)}), expected {EXTRA}"
        ) from None


def read_credentials(certificates: str | Path, key: str | Path) -> Credentials:
    """Credentials of PEM files, checked by signing something.

    Raises:
      InputError: the package or a file is missing, or they are no certificates for signing.
    """
    load_package()
    from cryptography.hazmat.primitives import serialization  # a dependency of c2pa-python

    key_data = read_bytes(key, "a private key (PEM)")
    try:
        private = serialization.load_pem_private_key(key_data, None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--c2pa_key={key}: found no private key ({one_line(error)}), expected PEM without a "
            "password"
        ) from None
    kind = type(private).__name__
    algorithm = CURVES.get(private.curve.name) if hasattr(private, "curve") else None
    algorithm = algorithm or OTHER_KEYS.get(kind)
    if algorithm is None:
        raise InputError(
            f"--c2pa_key={key}: found a key of the kind {kind}, expected one of an elliptic curve "
            f"({', '.join(CURVES)}), RSA or Ed25519"
        )
    data = read_bytes(certificates, "certificates (PEM)")
    credentials = Credentials(certificates=data, key=key_data, algorithm=algorithm)
    credentials.check()
    return credentials


def check_signable(path: str | Path) -> None:
    """Raises an InputError for a file that holds no manifest."""
    suffix = to_path(path).suffix.lower()
    if suffix not in MIME_TYPES:
        raise InputError(
            f"{path}: found a container without content credentials, expected one of "
            f"{' '.join(MIME_TYPES)} (--c2pa_key)"
        )
