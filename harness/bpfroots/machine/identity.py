"""Who logs in to a guest, and whom they expect there."""

from __future__ import annotations

from dataclasses import dataclass, field

from bpfroots.process import temporary_directory


@dataclass(frozen=True)
class SshIdentity:
    """Who we are and whom we expect.

    ``client_key`` is an RSA private key in OpenSSH's text format, ``host_key`` the guest's
    public key as "ssh-ed25519 BASE64".
    """

    client_key: str = field(repr=False)
    host_key: str
    user: str = "root"


def shell_command(port: int, identity: SshIdentity, *, terminal: bool) -> list[str]:
    """The ssh command for a person; its key files live as long as this process."""
    directory = temporary_directory()
    key, known = directory / "key", directory / "known_hosts"
    key.touch(0o600)
    key.write_text(identity.client_key)
    known.write_text(f"[127.0.0.1]:{port} {identity.host_key}\n")
    pinned = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
    options = ("IdentitiesOnly=yes", *pinned, "LogLevel=ERROR")
    words = ["ssh", *(["-t"] if terminal else []), "-F", "none", "-i", str(key), "-p", str(port)]
    return [*words, *(w for o in options for w in ("-o", o)), f"{identity.user}@127.0.0.1"]
