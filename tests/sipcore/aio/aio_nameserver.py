"""A small authoritative name server on loopback, UDP and TCP, that does as it is told."""

import asyncio
import socket

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.test. admin.test. 1 3600 600 86400 {negative_ttl}"


class NameServer:
    """`zone` maps "TYPE name" to record texts. All else is NXDOMAIN, or no data where the name exists."""

    def __init__(self):
        self.zone = {}
        self.ttl = 60
        self.negative_ttl = 60
        self.asked = []
        self.mute = False
        """answers nothing at all"""
        self.mute_types = ()
        self.broken = False
        """answers SERVFAIL"""
        self.garbage = b""
        """answers this"""
        self.truncates = False
        """sends everybody to TCP"""
        self.address = ("", 0)

    async def start(self):
        loop = asyncio.get_running_loop()
        tcp, udp = _two_sockets_at_one_port()
        self.address = tcp.getsockname()
        self._server = await asyncio.start_server(self._serve, sock=tcp)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), sock=udp)

    async def stop(self):
        self._transport.close()
        self._server.close()
        await self._server.wait_closed()

    def asked_for(self, rtype):
        return [name for kind, name in self.asked if kind == rtype]

    def answer(self, wire, truncated):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        rtype = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((rtype, question.name.to_text(omit_final_dot=True)))
        if self.mute or rtype in self.mute_types:
            return None
        response = dns.message.make_response(query)
        if truncated:
            response.flags |= dns.flags.TC
        elif self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, question.name, rtype)
        return self.garbage or response.to_wire()

    def _fill(self, response, name, rtype):
        text = name.to_text(omit_final_dot=True).lower()
        alias = self.zone.get(f"CNAME {text}")
        if alias:
            self._add(response.answer, name, "CNAME", alias)
            self._fill(response, dns.name.from_text(alias[0]), rtype)
        elif records := self.zone.get(f"{rtype} {text}"):
            self._add(response.answer, name, rtype, records)
        else:
            self._add(response.authority, dns.name.from_text("test."), "SOA", [SOA.format(**vars(self))])
            known = {key.split()[1] for key in self.zone}
            response.set_rcode(dns.rcode.NOERROR if text in known else dns.rcode.NXDOMAIN)

    def _add(self, section, name, rtype, records):
        ttl = self.negative_ttl if rtype == "SOA" else self.ttl
        section.append(dns.rrset.from_text(name, ttl, "IN", rtype, *records))

    async def _serve(self, reader, writer):
        length = int.from_bytes(await reader.readexactly(2))
        answer = self.answer(await reader.readexactly(length), truncated=False)
        writer.write(len(answer).to_bytes(2) + answer)
        await writer.drain()
        writer.close()


def _two_sockets_at_one_port():
    for _ in range(50):
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp
    raise OSError("no port is free for both")


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, address):
        answer = self._server.answer(data, self._server.truncates)
        if answer is not None:
            self._transport.sendto(answer, address)
