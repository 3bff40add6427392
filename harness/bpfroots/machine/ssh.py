"""SSH to a guest: key only, host key pinned, nothing of the user's own SSH set-up.

Takes a tenth of a second to import: whoever starts a guest does that first.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from typing import Literal

# What paramiko wants it for, "Match exec" in ~/.ssh/config, is not read here; it does without, and
# imports in two thirds of the time.
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]

import paramiko  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: E402
from cryptography.hazmat.primitives.serialization import load_ssh_private_key  # noqa: E402

from bpfroots.machine.events import Answer, Chunk, Post, SessionEnded  # noqa: E402
from bpfroots.machine.failure import SshFailure  # noqa: E402
from bpfroots.machine.identity import SshIdentity  # noqa: E402

# It logs tracebacks of connections that fail, which is what probing a dead guest is for.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False
_log = logging.getLogger(__name__)

_READ = 1 << 15
# Of a connection that does not leave this machine. An emulated guest takes 112 instructions for a byte that
# it sends with hmac-sha2-256, 82 with hmac-sha1.
_DIGESTS = ("hmac-sha1", "hmac-sha2-256")


def connect(port: int, identity: SshIdentity, timeout: float) -> paramiko.Transport:
    """An authenticated connection to 127.0.0.1:``port``, ``timeout`` seconds at most.

    Raises SshFailure. Every phase has the rest of the same deadline: a guest may accept the connection
    and then say nothing (QEMU itself accepts it), or stall in the middle of the handshake.
    """
    start = time.monotonic()
    until = start + timeout
    transport = None
    try:
        sock = socket.create_connection(("127.0.0.1", port), timeout)
        # A small packet waits for nothing: two in a row would cost the delay of an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(sock)
        options = transport.get_security_options()
        options.key_types = (identity.host_key.split()[0],)
        options.digests = _DIGESTS
        left = max(0.1, until - time.monotonic())
        transport.banner_timeout = transport.handshake_timeout = left
        transport.start_client(timeout=left)
        if " ".join(identity.host_key.split()[:2]) != _public_text(transport.get_remote_server_key()):
            msg = "the host key is not the guest's: something else answers on its port"
            raise SshFailure(msg, final=True)
        transport.auth_timeout = transport.channel_timeout = max(0.1, until - time.monotonic())
        transport.auth_publickey(identity.user, _private_key(identity))
    except (OSError, EOFError, paramiko.SSHException, SshFailure) as error:
        if transport is not None:
            transport.close()
        msg = str(error) or type(error).__name__
        _log.debug("port %d: no connection after %.3f s: %s", port, time.monotonic() - start, msg)
        final = isinstance(error, paramiko.BadAuthenticationType) or getattr(error, "final", False)
        raise SshFailure(msg, final=final) from None
    _log.debug("port %d: connected in %.3f s", port, time.monotonic() - start)
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


def _private_key(identity: SshIdentity) -> paramiko.PKey:
    # One that we have made: to prove its primes again would take 40 ms.
    key = load_ssh_private_key(identity.client_key.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)  # noqa: S101
    return paramiko.RSAKey(key=key)


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
        start = time.monotonic()
        port = 0
        try:
            port = self._transport.getpeername()[1]
            _log.debug("port %d: command %d: %s", port, self.number, self._command)
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
        seconds = time.monotonic() - start
        end = why or f"status {status}"
        _log.debug("port %d: command %d: %s after %.3f s", port, self.number, end, seconds)
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
