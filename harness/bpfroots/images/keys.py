"""SSH keys of a guest: made on the host, given to the guest in an archive of their own.

The image holds no secret, so it can be cached and shared.

The host key is ed25519, the client's RSA: a guest signs with the one and checks a signature of the other,
and each is what dropbear (its arithmetic is TweetNaCl's and libtommath's) does in the fewest instructions.
It signs in 10 million with ed25519; it checks in 25 million with ed25519, in less than one with RSA.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpfroots.images import initramfs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_RSA_BITS = 2048
HOST_KEY_PATH = "etc/dropbear/dropbear_ed25519_host_key"
# What guests run is not trusted: no way back through the connection.
_KEY_OPTIONS = "no-port-forwarding,no-agent-forwarding,no-X11-forwarding"


@dataclass(frozen=True)
class Keys:
    """The client's key pair and the guest's host key pair.

    ``client_private`` is OpenSSH's private key format, the ``_public`` are "TYPE BASE64"
    lines (the host's is what a client pins), ``host_private`` is dropbear's own format.
    """

    client_private: str = field(repr=False)
    client_public: str
    host_private: bytes = field(repr=False)
    host_public: str


def make_keys() -> Keys:
    """Two fresh key pairs."""
    # Only a boot needs them, and a clone is not booted.
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    client = rsa.generate_private_key(65537, _RSA_BITS)
    host = Ed25519PrivateKey.generate()
    private = client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return Keys(private.decode(), _public_line(client), _dropbear_private(host), _public_line(host))


def overlay(keys: Keys) -> bytes:
    """An uncompressed archive with host key and authorized_keys, to follow the image's.

    The modes are what dropbear insists on (svr-authpubkey.c, checkpubkeyperms).
    """
    entries = (
        initramfs.directory("etc"),
        initramfs.directory("etc/dropbear", 0o700),
        initramfs.file(HOST_KEY_PATH, keys.host_private, 0o600),
        initramfs.directory("root", 0o700),
        initramfs.directory("root/.ssh", 0o700),
        initramfs.file("root/.ssh/authorized_keys", f"{_KEY_OPTIONS} {keys.client_public}\n".encode(), 0o600),
    )
    return initramfs.archive(entries)


def _public_line(key: Ed25519PrivateKey | RSAPrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _dropbear_private(key: Ed25519PrivateKey) -> bytes:
    """dropbear's ed25519.c, buf_put_ed25519_priv_key: name, then seed and public key in one string."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _ssh_string(b"ssh-ed25519") + _ssh_string(seed + public)


def _ssh_string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
