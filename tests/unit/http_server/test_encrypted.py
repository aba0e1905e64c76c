"""Encrypted channels, with a client that makes its own RSA key."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import ConnectionLimits
from guesthouse.http_server.auth.credentials import NODE_KEY_FILE

from .conftest import CHAT, House, Start

KEY = rsa.generate_private_key(65537, 2048)
MODULUS = KEY.public_key().public_numbers().n.to_bytes(256, "big")


@dataclass
class Client:
    socket: ClientConnection
    channel_id: int
    cipher: AESGCM

    def encrypted(self, payload: bytes, nonce: bytes | None = None) -> bytes:
        nonce = nonce or os.urandom(12)
        return self.cipher.encrypt(nonce, payload, None) + nonce

    async def receive(self) -> bytes:
        message = await self.socket.recv()
        assert isinstance(message, bytes)
        return self.cipher.decrypt(message[-12:], message[:-12], None)


async def exchange(house: House, channel_id: int, modulus: str = MODULUS.hex()) -> httpx.Response:
    async with house.http() as client:
        return await client.post(
            "/encryptor:distro:sys", json={"channel_id": channel_id, "public_key_hex": modulus}
        )


@asynccontextmanager
async def registered(house: House) -> AsyncIterator[tuple[ClientConnection, int]]:
    async with connect(house.ws_url + "/", ping_interval=None, proxy=None, compression=None) as socket:
        await socket.send(json.dumps({**house.register, "encrypted": True}))
        yield socket, json.loads(await socket.recv())["channel_id"]


@asynccontextmanager
async def encrypted(house: House) -> AsyncIterator[Client]:
    async with registered(house) as (socket, channel_id):
        answer = (await exchange(house, channel_id)).json()
        oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
        secret = KEY.decrypt(bytes.fromhex(answer["encrypted_secret"]), oaep)
        assert len(secret) == 32
        yield Client(socket, channel_id, AESGCM(secret))


async def closed(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as end:
        await socket.recv()
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason


async def test_messages_go_both_ways_and_the_process_sees_only_what_was_said(house: House) -> None:
    async with encrypted(house) as client:
        assert (await house.chat.opened()).channel_id == client.channel_id
        await client.socket.send(client.encrypted(b"hello"))
        assert await house.chat.next() == ("push", client.channel_id, 1, b"hello")
        house.server.push(CHAT, client.channel_id, 0, b"text")
        house.server.push_many(CHAT, [client.channel_id], 1, b"x" * 5000)
        assert await client.receive() == b"text"
        assert await client.receive() == b"x" * 5000
    assert await house.chat.next() == ("close", client.channel_id)


async def test_the_node_signs_the_clients_key_with_its_own(house: House) -> None:
    async with registered(house) as (_, channel_id), house.http() as client:
        answer = await exchange(house, channel_id)
        assert answer.status_code == 201
        public = (await client.get("/encryptor:distro:sys")).json()["public_key_hex"]
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(answer.json()["signed_public_key"]), MODULUS)
    assert (house.home / NODE_KEY_FILE).stat().st_mode & 0o777 == 0o600


async def test_the_process_hears_nothing_before_there_is_a_secret(house: House) -> None:
    async with registered(house) as (socket, channel_id):
        assert house.chat.quiet
        house.server.push(CHAT, channel_id, 0, b"in the open")
        await socket.send(b"in the open")
        assert await closed(socket) == (1008, "not encrypted as agreed: there is no secret yet")
    assert house.chat.quiet


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda encrypted: encrypted[:5] + bytes([encrypted[5] ^ 1]) + encrypted[6:], "its tag is wrong"),
        (lambda encrypted: encrypted[:-1] + bytes([encrypted[-1] ^ 1]), "its tag is wrong"),
        (lambda encrypted: encrypted[-27:], "it is shorter than a tag and a nonce"),
        (lambda encrypted: b"", "it is shorter than a tag and a nonce"),
        (lambda encrypted: "text", "it is text"),
    ],
)
async def test_what_is_not_encrypted_right_ends_the_channel_and_is_not_delivered(
    house: House, spoil: object, reason: str
) -> None:
    assert callable(spoil)
    async with encrypted(house) as client:
        await house.chat.opened()
        await client.socket.send(spoil(client.encrypted(b"hello there")))
        assert await closed(client.socket) == (1008, f"not encrypted as agreed: {reason}")
    assert await house.chat.next() == ("close", client.channel_id)


async def test_a_message_of_tag_and_nonce_alone_is_an_empty_one(house: House) -> None:
    async with encrypted(house) as client:
        await house.chat.opened()
        await client.socket.send(client.encrypted(b""))
        assert await house.chat.next() == ("push", client.channel_id, 1, b"")


async def test_a_replay_ends_the_channel(house: House) -> None:
    async with encrypted(house) as client:
        await house.chat.opened()
        message = client.encrypted(b"pay")
        await client.socket.send(message)
        await client.socket.send(message)
        assert (await closed(client.socket))[1] == "not encrypted as agreed: its nonce was used before"
    assert (await house.chat.next())[0] == "push"
    assert (await house.chat.next())[0] == "close"


async def test_what_the_node_said_cannot_be_sent_back_to_it(house: House) -> None:
    async with encrypted(house) as client:
        await house.chat.opened()
        house.server.push(CHAT, client.channel_id, 1, b"mine")
        await client.socket.send(await client.socket.recv())
        assert (await closed(client.socket))[0] == 1008
    assert (await house.chat.next())[0] == "close"


async def test_a_secret_is_for_so_many_messages(start: Start) -> None:
    house = await start(ConnectionLimits(encrypted_messages=3))
    async with encrypted(house) as client:
        await house.chat.opened()
        for _ in range(3):
            await client.socket.send(client.encrypted(b"x"))
            assert (await house.chat.next())[0] == "push"
        await client.socket.send(client.encrypted(b"x"))
        assert await closed(client.socket) == (1008, "the secret is used up: open a new channel")


@pytest.mark.parametrize(("over", "code"), [(-1, None), (0, None), (1, 1009)])
async def test_the_limit_is_of_what_is_said_not_of_what_is_encrypted(
    start: Start, over: int, code: int | None
) -> None:
    house = await start(ConnectionLimits(message_bytes=1000))
    async with encrypted(house) as client:
        await house.chat.opened()
        await client.socket.send(client.encrypted(b"x" * (1000 + over)))
        if code is None:
            assert len((await house.chat.next())[3]) == 1000 + over
        else:
            assert (await closed(client.socket))[0] == code


@pytest.mark.slow
async def test_a_key_is_brought_once_and_in_time(start: Start) -> None:
    house = await start(ConnectionLimits(register_seconds=1.0))
    async with encrypted(house) as client:
        assert (await exchange(house, client.channel_id)).status_code == 404
    async with registered(house) as (socket, channel_id):
        assert await closed(socket) == (4007, "no public key within the deadline")
        assert (await exchange(house, channel_id)).status_code == 404
    assert house.server._context.awaiting_key == {}


@pytest.mark.parametrize(
    "modulus", ["", "00" * 256, "ff" * 255, "ff" * 257, "zz" * 256, "7f" + "ff" * 255, "ff" * 255 + "fe"]
)
async def test_what_is_no_key_is_refused_and_the_channel_waits_on(house: House, modulus: str) -> None:
    async with registered(house) as (_, channel_id):
        assert (await exchange(house, channel_id, modulus)).status_code == 400
        assert (await exchange(house, channel_id)).status_code == 201


async def test_no_foreign_page_brings_a_key(house: House) -> None:
    async with registered(house) as (_, channel_id), house.http() as client:
        body = {"channel_id": channel_id, "public_key_hex": MODULUS.hex()}
        answer = await client.post(
            "/encryptor:distro:sys", json=body, headers={"Origin": "http://evil.example"}
        )
        assert answer.status_code == 403
