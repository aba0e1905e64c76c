"""The register form: what is refused, with which code and reason, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import time

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from websockets.frames import Opcode

from .clients import ECHO_C, FrameClient, bare, close_of, register_message
from .conftest import StartNode
from .daemon import NODE, Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def daemon(shared: StartNode) -> Daemon:
    return await shared("echo-c")


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(shared: StartNode) -> Daemon:
    """A node that gives clients half a second to register."""
    return await shared("echo-c", settings={"connections_register_seconds": 0.5})


def signed(daemon: Daemon, **claims: object) -> str:
    """A token with the node's own signature and claims of one's own."""
    secret = (daemon.home / "token.secret").read_bytes()
    whole = {"username": NODE, "subdomain": None, "expiration": int(time.time()) + 60}
    return jwt.encode(whole | claims, secret, algorithm="HS256")


async def refusal(daemon: Daemon, message: str | bytes) -> tuple[int, str]:
    async with bare(daemon) as socket:
        await socket.send(message)
        return await close_of(socket)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("hello", "it is not JSON"),
        (b"\x00\xff", "it is not JSON"),
        ("", "it is not JSON"),
        ("[" * 5000, "it is not JSON"),
        ("[1, 2]", "it is not a JSON object"),
        ("{}", "auth_token and target_process are strings"),
        ('{"auth_token": "x"}', "auth_token and target_process are strings"),
        ('{"target_process": "a:b:c.os"}', "auth_token and target_process are strings"),
        ('{"auth_token": 1, "target_process": "a:b:c.os"}', "auth_token and target_process are strings"),
        ('{"auth_token": "x", "target_process": "a:b:c.os", "encrypted": 1}', "encrypted is a boolean"),
    ],
)
async def test_a_first_message_that_does_not_register_is_refused_with_4000(
    daemon: Daemon, message: str | bytes, reason: str
) -> None:
    code, said = await refusal(daemon, message)
    assert code == 4000
    assert said.startswith("the first message is not a register message: ")
    assert reason in said
    assert await daemon.channels() == []


async def test_tokens_that_this_node_does_not_believe_are_refused_with_4002(daemon: Daemon) -> None:
    now = int(time.time())
    stranger = {"username": NODE, "subdomain": None, "expiration": now + 60}
    for token, reason in (
        ("", "was not issued by this node"),
        ("not.a.token", "was not issued by this node"),
        (jwt.encode(stranger, b"k" * 32, algorithm="HS256"), "was not issued by this node"),
        (jwt.encode(stranger, "", algorithm="none"), "was not issued by this node"),
        (signed(daemon, username="other-node.os"), "is for another node"),
        (signed(daemon, expiration=now - 1), "has expired"),
        (signed(daemon, expiration=None), "is for another node"),
        (signed(daemon, subdomain="chat"), "is for a subdomain"),
        ("x" * 5000, "is too long"),
    ):
        code, said = await refusal(daemon, register_message(token, ECHO_C))
        assert code == 4002, (token, said)
        assert said.startswith("auth_token is not valid on this node: ")
        assert reason in said
    assert await daemon.channels() == []


async def test_a_token_of_the_command_line_expires(daemon: Daemon) -> None:
    token = await daemon.token(ttl=1)
    expires = jwt.decode(token, options={"verify_signature": False})["expiration"]
    assert expires <= time.time() + 1


@pytest.mark.parametrize("target", ["", "echo-c", "a:b", "a:b:c:d", "a b:c:d", "../x:y:z", ":b:c", "é:b:c"])
async def test_what_is_no_process_id_is_refused_with_4003(daemon: Daemon, target: str) -> None:
    code, said = await refusal(daemon, register_message(await daemon.token(), target))
    assert (code, said) == (
        4003,
        "target_process is not a process id: write process:package:publisher",
    )
    assert await daemon.channels() == []


@pytest.mark.parametrize(
    "target", ["nobody:echo-c:guesthouse.os", "http-server:distro:sys", "kernel:distro:sys"]
)
async def test_a_process_that_does_not_exist_is_refused_with_4004(daemon: Daemon, target: str) -> None:
    assert await refusal(daemon, register_message(await daemon.token(), target)) == (4004, "no such process")


async def test_an_encrypted_channel_without_a_key_is_refused_with_4007(hasty: Daemon) -> None:
    message = register_message(await hasty.token(), ECHO_C, encrypted=True)
    async with bare(hasty) as socket:
        await socket.send(message)
        assert set(json.loads(await socket.recv())) == {"channel_id"}
        assert await close_of(socket) == (4007, "no public key within the deadline")


async def test_an_encrypted_channel_carries_what_only_its_two_ends_can_read(daemon: Daemon) -> None:
    key = rsa.generate_private_key(65537, 2048)
    modulus = key.public_key().public_numbers().n.to_bytes(256, "big").hex()
    async with bare(daemon) as socket:
        await socket.send(register_message(await daemon.token(), ECHO_C, encrypted=True))
        channel = json.loads(await socket.recv())
        async with httpx.AsyncClient(
            base_url=daemon.url, verify=TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE
        ) as http:
            answer = await http.post("/encryptor:distro:sys", json={**channel, "public_key_hex": modulus})
        assert answer.status_code == 201
        oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
        cipher = AESGCM(key.decrypt(bytes.fromhex(answer.json()["encrypted_secret"]), oaep))
        nonce = os.urandom(12)
        await socket.send(cipher.encrypt(nonce, b"between us", None) + nonce)
        got = await socket.recv()
        assert isinstance(got, bytes)
        assert cipher.decrypt(got[-12:], got[:-12], None) == b"between us"


async def test_silence_is_refused_with_4001(hasty: Daemon) -> None:
    async with bare(hasty) as socket:
        assert await close_of(socket) == (4001, "no register message within the deadline")
    assert await hasty.channels() == []


async def test_a_register_message_that_is_too_big_is_refused_with_1009(daemon: Daemon) -> None:
    message = register_message(await daemon.token(), ECHO_C, padding="x" * 8192)
    assert await refusal(daemon, message) == (1009, "register message too big")


async def test_the_register_form_can_be_turned_off(shared: StartNode) -> None:
    daemon = await shared("echo-c", settings={"http_register_form": "false"})
    async with bare(daemon) as socket:
        assert await close_of(socket) == (4006, "the register form is turned off on this node")


async def test_pings_before_registering_are_answered_and_register_nothing(daemon: Daemon) -> None:
    token = await daemon.token()
    async with FrameClient(daemon) as client:
        await client.send(Opcode.PING, b"?")
        assert (await client.next()).data == b"?"
        channel_id = await client.register(ECHO_C, token)
        await client.send(Opcode.TEXT, b"hello")
        assert (await client.next()).data == b"hello"
        assert [item["channel_id"] for item in await daemon.channels()] == [channel_id]


async def test_messages_may_follow_the_register_message_at_once(daemon: Daemon) -> None:
    token = await daemon.token()
    async with bare(daemon) as socket:
        await socket.send(register_message(token, ECHO_C))
        await socket.send("first")
        await socket.send("second")
        assert set(json.loads(await socket.recv())) == {"channel_id"}
        assert [await socket.recv(), await socket.recv()] == ["first", "second"]


async def test_channel_ids_are_never_those_of_another_open_channel(daemon: Daemon) -> None:
    token = await daemon.token()
    ids = set()
    for _ in range(20):
        async with FrameClient(daemon) as client:
            ids.add(await client.register(ECHO_C, token))
    assert len(ids) == 20
