"""Other traffic on a line: a paced UDP flow that counts its own loss (`python -m bench.traffic send|receive …`)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import time

PACKET_BYTES = 1242  # as an Ethernet frame
_PORT = 9400
_PAYLOAD = 1200
_NUMBER = struct.Struct("!Q")


def send(host: str, rate: float, seconds: float) -> None:
    """Send `rate` bit/s of Ethernet frames for so long, and print how many packets there were."""
    gap, count, began = PACKET_BYTES * 8 / rate, 0, time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, _PORT))
        payload = bytearray(_PAYLOAD)
        while (now := time.perf_counter() - began) < seconds:
            if now < count * gap:
                time.sleep(count * gap - now)
                continue
            _NUMBER.pack_into(payload, 0, count)
            with contextlib.suppress(OSError):
                sock.send(payload)
            count += 1
    print(count)


def receive(host: str, seconds: float) -> None:
    """Receive until a second of silence; print how many packets came, and how many had been sent before the last."""
    came, last = 0, -1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((host, _PORT))
        sock.settimeout(seconds)
        print("ready", flush=True)
        with contextlib.suppress(TimeoutError):
            while True:
                (number,) = _NUMBER.unpack_from(sock.recv(2048))
                came, last = came + 1, max(last, number)
                sock.settimeout(1.0)
    print(json.dumps({"came": came, "sent": last + 1}))


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # others on a line do not wait for our processor
    if sys.argv[1] == "send":
        send(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    else:
        receive(sys.argv[2], float(sys.argv[3]))
