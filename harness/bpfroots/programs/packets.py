"""Frames that test runs feed to tc and XDP programs."""

from __future__ import annotations

import struct

_MAC = bytes.fromhex("020000000001020000000002")


def _ipv4(protocol: int, payload: bytes) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        1,
        0,
        64,
        protocol,
        0,
        bytes([10, 0, 0, 1]),
        bytes([10, 0, 0, 2]),
    )
    return _MAC + struct.pack("!H", 0x0800) + header + payload


def _udp(source: int, dest: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", source, dest, 8 + len(data), 0) + data


def _tcp(source: int, dest: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, dest, 1, 0, 5 << 4, 0x02, 1024, 0, 0)


#: By name; each long enough for BPF_PROG_TEST_RUN (ETH_HLEN, net/bpf/test_run.c).
PACKETS: dict[str, bytes] = {
    "udp4": _ipv4(17, _udp(4242, 53, b"bpfroots-payload")),
    "tcp4": _ipv4(6, _tcp(4242, 443)),
    "icmp4": _ipv4(1, bytes([8, 0, 0, 0, 0, 1, 0, 1])),
    "arp": _MAC + struct.pack("!H", 0x0806) + bytes(28),
    # No shorter: bpf_prog_test_run_skb() refuses an IPv4 frame without a whole IP header.
    "short": _ipv4(17, b""),
}
