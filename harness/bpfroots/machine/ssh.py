"""SSH to a guest: key only, host key pinned, nothing of the user's own SSH set-up."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

import paramiko

from bpfroots.machine.events import Answer, Chunk, Post, SessionEnded
from bpfroots.process import temporary_directory

# It logs tracebacks of connections that fail, which is what probing a dead guest is for.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_READ = 1 << 15


@dataclass(frozen=True)
class SshIdentity:
    """Who we are and whom we expect.

    ``client_key`` is an ed25519 private key in OpenSSH's text format, ``host_key`` the guest's
    public key as "ssh-ed25519 BASE64".
    """

    client_key: str = field(repr=False)
    host_key: str
    user: str = "root"

    def private_key(self) -> paramiko.PKey:
        return paramiko.Ed25519Key.from_private_key(io.StringIO(self.client_key))


class SshFailure(Exception):
    """No connection: why, in words. ``final``: asking again gets the same answer."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def connect(port: int, identity: SshIdentity, timeout: float) -> paramiko.Transport:
    """An authenticated connection to 127.0.0.1:``port``, ``timeout`` seconds at most.

    Raises SshFailure. Every phase has the rest of the same deadline: a guest may accept the connection
    and then say nothing (QEMU itself accepts it), or stall in the middle of the handshake.
    """
    until = time.monotonic() + timeout
    transport = None
    try:
        sock = socket.create_connection(("127.0.0.1", port), timeout)
        transport = paramiko.Transport(sock)
        left = max(0.1, until - time.monotonic())
        transport.banner_timeout = transport.handshake_timeout = left
        transport.start_client(timeout=left)
        if " ".join(identity.host_key.split()[:2]) != _public_text(transport.get_remote_server_key()):
            msg = "the host key is not the guest's: something else answers on its port"
            raise SshFailure(msg, final=True)
        transport.auth_timeout = transport.channel_timeout = max(0.1, until - time.monotonic())
        transport.auth_publickey(identity.user, identity.private_key())
    except (OSError, EOFError, paramiko.SSHException, SshFailure) as error:
        if transport is not None:
            transport.close()
        msg = str(error) or type(error).__name__
        final = isinstance(error, paramiko.BadAuthenticationType) or getattr(error, "final", False)
        raise SshFailure(msg, final=final) from None
    return transport


def hang_up(transport: paramiko.Transport, timeout: float) -> None:
    """End a connection from the guest's side.

    Whoever closes a TCP connection first remembers it for a while: QEMU's user-mode networking for 10 s,
    during which no snapshot can be made.
    """
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        transport.open_session(timeout=timeout).exec_command("kill $PPID")
        transport.join(timeout)
    transport.close()


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


def _public_text(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def ask(port: int, identity: SshIdentity, timeout: float, post: Post) -> None:
    """Does the guest answer a fresh connection and run a command? Posts an Answer in time."""

    def probe() -> None:
        until = time.monotonic() + timeout
        try:
            transport = connect(port, identity, timeout)
            try:
                channel = transport.open_session(timeout=max(0.1, until - time.monotonic()))
                channel.settimeout(max(0.1, until - time.monotonic()))
                channel.exec_command("echo alive")
                ok = channel.recv(16).startswith(b"alive")
                post(Answer(ok, "" if ok else "the guest's shell ran nothing"))
            finally:
                transport.close()
        except (SshFailure, OSError, EOFError, paramiko.SSHException) as error:
            post(Answer(False, str(error) or type(error).__name__))

    threading.Thread(target=probe, name="bpfroots-probe", daemon=True).start()


class Session:
    """One command on a connection. All of it happens on threads: paramiko's exec_command waits
    for the guest without a deadline. What comes is posted."""

    def __init__(
        self,
        transport: paramiko.Transport,
        number: int,
        command: str,
        stdin: bytes | None,
        post: Post,
        open_timeout: float,
    ) -> None:
        self.number = number
        self._transport = transport
        self._command = command
        self._stdin = stdin
        self._post = post
        self._open_timeout = open_timeout
        self._channel: paramiko.Channel | None = None
        self._ended = False
        #: Closed before its end: the connection is of no use to another command. Dropbear 2022.83 closes
        #: a channel that is opened while the process of a closed one ends, without having run anything.
        self.given_up = False
        threading.Thread(target=self._work, name=f"bpfroots-ssh-{number}", daemon=True).start()

    def close(self) -> None:
        """Hang up. The command in the guest may live on."""
        if not self._ended:
            self.given_up = True
        if self._channel is not None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._channel.close()

    def _work(self) -> None:
        status = None
        why = ""
        try:
            channel = self._channel = self._transport.open_session(timeout=self._open_timeout)
            channel.exec_command(self._command)
            helpers = [self._thread(self._write, channel), self._thread(self._read, channel, "stderr")]
            self._read(channel, "stdout")
            helpers[1].join()
            code = channel.recv_exit_status()
            status = code if code >= 0 else None
        except (OSError, EOFError, paramiko.SSHException) as error:
            why = str(error) or type(error).__name__
        self._ended = True
        if not self.given_up:
            self._post(SessionEnded(self.number, status, self._transport.is_active(), why))

    def _thread(self, target: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="bpfroots-ssh-io", daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _read(self, channel: paramiko.Channel, stream: Literal["stdout", "stderr"]) -> None:
        receive = channel.recv if stream == "stdout" else channel.recv_stderr
        with contextlib.suppress(OSError):
            while data := receive(_READ):
                self._post(Chunk(self.number, stream, data))

    def _write(self, channel: paramiko.Channel) -> None:
        # A command that ends without reading all of its input is its own business.
        with contextlib.suppress(OSError, EOFError):
            if self._stdin:
                channel.sendall(self._stdin)
            channel.shutdown_write()
