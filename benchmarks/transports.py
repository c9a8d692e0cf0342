"""What it costs to read one message from the network and send one back: CPU microseconds of our process.

    python benchmarks/transports.py

A second process keeps 16 messages of 640 bytes under way over loopback. "bare" is the same with
nothing but `recvfrom` and `sendto`: what the kernel and the interpreter cost before our first line.
"""

import asyncio
import os
import socket
import time

import uvloop

from sipcore.aio import Listen, Transports
from sipcore.flow import Transport

MESSAGES = 100_000
WINDOW = 16
MESSAGE = b"MESSAGE sip:bob@example.test SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 500\r\n\r\n" + b"x" * 500
MESSAGE = MESSAGE.replace(b"Call-ID: 1", b"Call-ID: ".ljust(640 - len(MESSAGE) + 10, b"1"))


def echo_datagrams(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.connect(address)
        for _ in range(WINDOW):
            phone.send(MESSAGE)
        while True:
            phone.recv(2_000)
            phone.send(MESSAGE)


def echo_stream(address):
    with socket.create_connection(address) as phone:
        phone.sendall(MESSAGE * WINDOW)
        while data := phone.recv(65_536):
            phone.sendall(data)


def beside(work, address):
    child = os.fork()
    if not child:
        try:
            work(address)
        finally:
            os._exit(0)
    return child


async def ours(listen, work):
    seen = 0
    done = asyncio.Event()

    def answer(data, flow):
        nonlocal seen
        seen += 1
        transports.send(flow, data)
        if seen == MESSAGES:
            done.set()

    transports = Transports([listen], answer, lambda flow, why: None)
    await transports.start()
    (((_, (_, port)),)) = transports.local_addresses()
    child = beside(work, ("127.0.0.1", port))
    start = time.process_time()
    await done.wait()
    spent = time.process_time() - start
    os.kill(child, 9)
    os.waitpid(child, 0)
    await transports.close()
    return spent / MESSAGES


def bare():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        child = beside(echo_datagrams, server.getsockname())
        start = time.process_time()
        for _ in range(MESSAGES):
            data, peer = server.recvfrom(65_535)
            server.sendto(data, peer)
        spent = time.process_time() - start
        os.kill(child, 9)
        os.waitpid(child, 0)
    return spent / MESSAGES


def main():
    print(f"UDP bare                          {bare() * 1e6:6.2f} us per message in and out")
    cases = [
        ("UDP, bound to one address", Listen(Transport.UDP, "127.0.0.1", 0), echo_datagrams),
        ("UDP, bound to the wildcard", Listen(Transport.UDP, "0.0.0.0", 0), echo_datagrams),
        ("TCP", Listen(Transport.TCP, "127.0.0.1", 0), echo_stream),
    ]
    for name, listen, work in cases:
        for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
            print(f"{name:26} {loop:7}{run(ours(listen, work)) * 1e6:6.2f} us per message in and out")


if __name__ == "__main__":
    main()
