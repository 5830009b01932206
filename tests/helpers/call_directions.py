"""Which calls climb from a lower floor of the package to a higher one."""

import functools
import sys
import tomllib

from helpers.paths import ROOT

PACKAGE = "vssflow_jax."


def read_floors() -> dict[str, int]:
    """The floor of each room, from the layers of the import contract; the lowest is 0."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return {
        room.strip(): floor
        for floor, layer in enumerate(reversed(layers))
        for room in layer.split("|")
    }


def record_climbs(function) -> set[tuple[str, str]]:
    """Calls (caller, callee) during `function()` into a room above the caller's."""
    floors, climbs = read_floors(), set()
    floor_of_module = functools.cache(lambda name: floors.get(".".join(name.split(".")[:2])))

    def find_floor(frame) -> int | None:
        return floor_of_module(frame.f_globals.get("__name__", ""))

    def describe(frame) -> str:
        module = frame.f_globals["__name__"].removeprefix(PACKAGE)
        return f"{module}.{frame.f_code.co_qualname}"

    def profile(frame, event, argument):
        floor = find_floor(frame) if event == "call" else None
        if floor is None:
            return
        caller = frame.f_back
        while caller is not None and find_floor(caller) is None:
            caller = caller.f_back
        if caller is not None and find_floor(caller) < floor:
            climbs.add((describe(caller), describe(frame)))

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return climbs
