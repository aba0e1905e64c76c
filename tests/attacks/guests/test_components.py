"""Components that are an attack before they run, and a compile cache that somebody else wrote to."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.examples import examples
from tests.patience import Disturbed, tried_again
from tests.tiers import thorough_after, thorough_but

from guesthouse.control.control_client import CommandRefused
from guesthouse.core.config import MIB

from ...unit.worker.guests import data
from ..figures import Allowance
from ..harness import Scene
from . import components
from .attackers import SUITE, Attacker, installed

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPILE_SECONDS: Final = 3
CODE: Final = "*.1.core"
"""The module that says the word. The one before it allocates, and is the same in all guests."""
ROOM: Final = Allowance(node_peak_bytes=256 * MIB)


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {
        "package_compile_seconds": COMPILE_SECONDS,
        "package_compile_memory_bytes": 2048 * MIB,
        "package_unpack_ratio": 100_000,  # or most of these come no further than that
    }


@pytest.fixture(scope="module")
def samples() -> dict[str, str]:
    """None that takes long to compile."""
    return dict.fromkeys(("c-one", "c-two", "c-three", "c-four"), "echo-c")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a compile cache of its own."""
    home = tmp_path_factory.mktemp("components") / "home"
    home.mkdir(mode=0o700)
    return home


async def outcome(scene: Scene, wasm: bytes) -> str:
    """What comes of installing a component: `installed`, or why it is refused."""
    try:
        async with installed(scene, "component", wasm):
            return "installed"
    except (CommandRefused, Disturbed) as refusal:
        text = str(refusal)
        assert "\n" not in text
        return text.replace(str(scene.daemon.home.parent), "…")


BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "minutes to compile": components.slow,
    "functions of minutes": components.giant_functions,
}


@pytest.mark.parametrize("name", thorough_but(BOMBS, "minutes to compile"))
@tried_again
async def test_a_component_that_takes_too_long_to_compile_is_given_up(scene: Scene, name: str) -> None:
    wasm = BOMBS[name]()
    async with scene.attack(SUITE, name, allowed=ROOM) as attack:
        attack.log = await outcome(scene, wasm)
    attack.gets = "a refusal"
    assert f"did not compile within {COMPILE_SECONDS} s" in attack.log or "bytes of memory" in attack.log


@pytest.mark.parametrize(
    "name",
    thorough_but(components.GIANTS, "types that unfold to 2^60", "components 5,000 deep"),
)
@tried_again
async def test_a_component_of_very_many_parts_is_refused_or_runs(scene: Scene, name: str) -> None:
    wasm = components.GIANTS[name]()
    async with scene.attack(SUITE, name, allowed=ROOM) as attack:
        attack.log = await outcome(scene, wasm)
        attack.gets = "what it asks for" if attack.log == "installed" else "a refusal"


@pytest.mark.parametrize("damage", [components.truncated, components.flipped])
@tried_again
async def test_a_damaged_component_is_refused_or_runs(
    scene: Scene, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    whole, outcomes = components.GUEST.wasm(), set()
    async with scene.attack(SUITE, f"{damage.__name__} components") as attack:
        for seed in range(examples(12)):
            outcomes.add(await outcome(scene, damage(whole, random.Random(seed))))
        refusals = outcomes - {"installed"}
        assert refusals
        attack.gets = "a refusal, or what is left of it runs"
        attack.log = min(refusals, key=len)


def speaker(word: str) -> bytes:
    """A guest that says a word when it starts."""
    body = f"(call $print (i32.const 2) (i32.const 700) (i32.const {len(word)}))"
    return Attacker("", "", calls=("system.print",), more=data(word, 700), locals=body).wasm()


def stem(path: Path) -> str:
    """What the files of a compiled component have in common."""
    return path.name.partition(".")[0]


def poison(how: str, good: Path, evil: Path) -> None:
    """Do to a compiled component what somebody might who can write to the cache: here to its module's code."""
    content = good.read_bytes()
    match how:
        case "flipped bytes":
            good.write_bytes(content[:-64] + bytes(byte ^ 1 for byte in content[-64:]))
        case "another component's code":
            shutil.copyfile(evil, good)
        case "another component's code and note":
            shutil.copyfile(evil, good)
            shutil.copyfile(evil.with_name(f"{stem(evil)}.json"), good.with_name(f"{stem(good)}.json"))
        case "open to all":
            good.chmod(0o666)
        case "a link":
            good.unlink()
            good.symlink_to(evil)
        case _:
            raise AssertionError(how)


async def said_by_good(scene: Scene) -> list[str]:
    """What the good guest printed so far."""
    lines = await scene.ask("logs", lines=1000)
    return [line["text"] for line in lines if line["source"].startswith("good:")]


@pytest.mark.parametrize(
    "how",
    thorough_after(
        2,
        [
            "another component's code and note",
            "a link",
            "flipped bytes",
            "another component's code",
            "open to all",
        ],
    ),
)
@tried_again
async def test_a_poisoned_compile_cache_is_not_believed(scene: Scene, how: str) -> None:
    cache, word = scene.daemon.home / "compiled", how.replace(" ", "-")
    before, heard = set(cache.glob(CODE)), (await said_by_good(scene)).count(word)
    try:
        async with installed(scene, "evil", speaker("evil")):
            (evil,) = set(cache.glob(CODE)) - before
            async with installed(scene, "good", speaker(word)):
                (good,) = set(cache.glob(CODE)) - before - {evil}
            async with scene.attack(SUITE, f"a poisoned compile cache: {how}") as attack:
                poison(how, good, evil)
                async with installed(scene, "good", speaker(word)):
                    attack.gets = "its file is deleted, and the component compiled anew"
                    attack.log = await scene.log_line("compiler", stem(good), "was not what was stored")
    finally:  # the next time they are compiled again
        for left in set(cache.glob(CODE)) - before:
            left.unlink()
    said = await said_by_good(scene)
    assert said.count(word) == heard + 2
    assert "evil" not in said
