"""Captures as they might be seen at a name server: resolvers good and bad, and what else comes by."""

import ipaddress
import random
import struct
from collections.abc import Iterator
from pathlib import Path

SERVERS = ("192.0.2.53", "198.51.100.53", "2001:db8:53::53")
#: 2026-11-27 12:58 UTC: what takes some minutes is in two hours.
BEGIN = 1_795_784_280_000_000_000


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return labels + b"\0" + struct.pack(">HH", kind, 1)


def message(ident: int, flags: int, asked: bytes, cookie: bytes = b"", edns: int = 0) -> bytes:
    option = struct.pack(">HH", 10, len(cookie)) + cookie if cookie else b""
    opt = b"\0" + struct.pack(">HHIH", 41, edns, 0x8000, len(option)) + option if edns else b""
    return struct.pack(">HHHHHH", ident, flags, 1, 0, 0, 1 if opt else 0) + asked + opt


def packet(source: str, target: str, protocol: int, transport: bytes) -> bytes:
    one, two = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if one.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0, 64, protocol, 0)
    else:
        head = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64)
    return head + one.packed + two.packed + transport


def udp(source: str, from_port: int, target: str, to_port: int, payload: bytes) -> bytes:
    head = struct.pack(">HHHH", from_port, to_port, 8 + len(payload), 0)
    return packet(source, target, 17, head + payload)


def tcp_syn(source: str, from_port: int, target: str) -> bytes:
    head = struct.pack(">HHIIBBHHH", from_port, 53, 1, 0, 5 << 4, 2, 65535, 0, 0)
    return packet(source, target, 6, head)


Packet = tuple[int, bytes]


def resolver(address: str, number: int, queries: int, seed: int) -> Iterator[Packet]:
    """Packets of one resolver, whose habits go by its number."""
    draw = random.Random(seed * 1_000_003 + number)
    family = ipaddress.ip_address(address).version
    servers = [server for server in SERVERS if ipaddress.ip_address(server).version == family]
    time = BEGIN + draw.randrange(1_000_000_000)
    fixed, pool = draw.randrange(1024, 65536), [draw.randrange(1024, 65536) for _ in range(20)]
    for n in range(queries):
        time += draw.randrange(1_000_000, 600_000_000)
        server = draw.choice(servers)
        port, ident = draw.randrange(1024, 65536), draw.randrange(65536)
        match number % 8:
            case 0:
                port = fixed
            case 1:
                port = draw.choice(pool)
            case 2:
                ident = n & 0xFFFF
            case 3:
                port = 32768 + n % 28000
        name = f"host{draw.randrange(1000)}.example-of-a-zone.test"
        if number % 8 == 4:
            name = "".join(draw.choice((c.lower(), c.upper())) for c in name)
        asked = question(name, draw.choice((1, 28)))
        cookie = address.encode().ljust(8, b"c")[:8] if number % 8 == 5 else b""
        edns = 1232 if number % 2 else 0
        query = udp(address, port, server, 53, message(ident, 0x0100, asked, cookie, edns))
        yield time, query
        if draw.random() < 0.05:
            yield time + 300_000_000, query
        back = message(ident, 0x8180, asked, cookie + b"server01" if cookie else b"", edns)
        if draw.random() < 0.9:
            yield time + 20_000_000, udp(server, 53, address, port, back)
        if number % 8 == 6:
            wrong = struct.pack(">H", ident ^ 0x5555) + back[2:]
            yield time + 10_000_000, udp(server, 53, address, port, wrong)
            yield time + 15_000_000, tcp_syn(address, 40000 + n % 1000, server)


def write(path: Path, packets: list[Packet], ordered: bool = True) -> None:
    """A pcap file of raw IP with times in nanoseconds, in the order of time or as they come."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101))
        for time, data in sorted(packets) if ordered else packets:
            seconds, nanos = divmod(time, 1_000_000_000)
            file.write(struct.pack("<IIII", seconds, nanos, len(data), len(data)) + data)


def addresses(count: int) -> list[str]:
    """Of both families, a few in each network."""
    four = ipaddress.ip_address("10.0.0.0")
    six = ipaddress.ip_address("2001:db8::")
    made = []
    for n in range(count):
        if n % 5 == 4:
            made.append(str(six + ((n // 20) << 80) + n))
        else:
            made.append(str(four + ((n // 20) << 8) + n % 20 + 1))
    return made


def make(path: Path, resolvers: int, queries: int, seed: int = 1) -> None:
    """A capture: so many resolvers, some of which ask more than others."""
    packets: list[Packet] = []
    for number, address in enumerate(addresses(resolvers)):
        often = queries if number % 3 else queries // 10 + 1
        packets.extend(resolver(address, number, often, seed))
    write(path, packets)
