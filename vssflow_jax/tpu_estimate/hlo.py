"""The text of a compiled program (XLA's HLO): its computations, and how often each runs.

The compiler counts the body of a loop once, however often it runs, and the layers of the network
are such a body. So costs are summed here, times the number of iterations.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re

BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128, "bf16": 16}
MAIN = 0  # the memory space of a TPU's HBM; 1 is its vector memory, and there are others

_SHAPE = re.compile(r"([a-z][a-z0-9]*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"(ENTRY )?%?([\w.-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.-]+) = (.*)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array: its type, its size, and the memory that it lies in."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def bytes(self) -> int:
        """Size without the padding of tiles."""
        bits = BITS.get(self.dtype) or int(re.match(r"[a-z]+(\d+)|", self.dtype)[1] or 0)
        return math.prod(self.dims) * bits // 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
    """A line of a computation; `shapes` are its result's, several for a tuple."""

    name: str
    op: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    attributes: str
    root: bool

    def called(self, key: str) -> str | None:
        """The computation that the attribute `key` names."""
        match = re.search(rf"\b{key}=\{{?%?([\w.-]+)", self.attributes)
        return match and match[1]


Computation = dict[str, Instruction]  # by name, in order


@dataclasses.dataclass(frozen=True, kw_only=True)
class Module:
    """A program.

    Attributes:
      computations: by name.
      times: how often each runs in one call of the program; 0: as part of an instruction
        (what a reduction does with two numbers).
      fused: those that run as one instruction, with nothing written to memory between.
    """

    computations: dict[str, Computation]
    times: dict[str, int]
    fused: frozenset[str]


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """The arrays of a type: "(bf16[2,3]{1,0:S(1)}, s32[])" -> two shapes."""
    parsed = []
    for dtype, dims, layout in _SHAPE.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(int(size.lstrip("<=")) for size in dims.split(",") if size)
        parsed.append(Shape(dtype, sizes, int(space[1]) if space else 0))
    return tuple(parsed)


def _closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"not HLO: {text[:80]!r}")


def _instruction(root: bool, name: str, text: str) -> Instruction:
    end = _closing(text, 0) + 1 if text[0] == "(" else text.index(" ")
    rest = text[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    inside = re.sub(r"/\*.*?\*/", "", rest[opening + 1 : closing])
    op = rest[:opening]
    literal = op in ("constant", "parameter")
    return Instruction(
        name=name,
        op=op,
        shapes=parse_shapes(text[:end]),
        operands=(inside,) if literal else tuple(re.findall(r"%([\w.-]+)", inside)),
        attributes=rest[closing + 1 :],
        root=root,
    )


def parse_hlo(text: str) -> Module:
    """Reads the text of an optimised program, as `compiled.as_text()` gives it."""
    computations: dict[str, Computation] = {}
    entry = current = None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            instruction = _instruction(bool(match[1]), match[2], match[3])
            current[instruction.name] = instruction
    if entry is None:
        raise ValueError("not HLO: no ENTRY computation")
    times: dict[str, int] = collections.Counter()
    fused: set[str] = set()
    _run(computations, entry, 1, False, times, fused)
    return Module(computations=computations, times=times, fused=frozenset(fused))


def _run(computations, name, count, inside, times, fused) -> None:
    """Adds `count` runs of a computation and of all that it calls."""
    times[name] += count
    if inside:
        fused.add(name)
    for instruction in computations[name].values():
        fuses = inside or instruction.op == "fusion"
        trips = count_trips(computations, instruction) if instruction.op == "while" else 1
        for key in ("calls", "called_computations", "body", "condition"):
            if called := instruction.called(key):
                _run(computations, called, count * trips, fuses, times, fused)
        if instruction.op == "call":
            _run(computations, instruction.called("to_apply"), count, fuses, times, fused)
        if branches := re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes):
            names = re.findall(r"%?([\w.-]+)", branches[1])  # of which one runs: the longest
            longest = max(names, key=lambda name: len(computations[name]))
            _run(computations, longest, count, fuses, times, fused)


def count_trips(computations: dict[str, Computation], loop: Instruction) -> int:
    """Turns of a while loop: what the compiler knows, or the bound that its condition has.

    A bound is read as that of a counter from 0, as scans have it. A loop without one (such
    as one that waits for a result) counts as one turn.
    """
    if known := re.search(r'known_trip_count"?:?\{"?n"?:"?(\d+)', loop.attributes):
        return int(known[1])
    inside = computations[loop.called("condition")]
    for instruction in inside.values():
        if instruction.op == "compare" and "direction=LT" in instruction.attributes:
            counter, bound = (inside.get(name) for name in instruction.operands)
            if bound and counter and _literal(bound) and counter.op == "get-tuple-element":
                step = _step(computations[loop.called("body")], _index(counter))
                return -(-_literal(bound) // step)
    return 1


def _literal(instruction: Instruction) -> int:
    """The number that a constant is; 0 for all else."""
    number = instruction.operands[0] if instruction.op == "constant" else ""
    return int(number) if number.isdigit() else 0


def _index(element: Instruction) -> str:
    return re.search(r"index=(\d+)", element.attributes)[1]


def _step(body: Computation, index: str) -> int:
    """What a turn adds to the number at a place of the loop's tuple; 1 if that is not plain."""
    result = next(instruction for instruction in body.values() if instruction.root)
    current, step = body[result.operands[int(index)]], 0
    while current.op in ("add", "copy"):
        operands = [body[name] for name in current.operands]
        step += sum(_literal(operand) for operand in operands)
        current = next((operand for operand in operands if not _literal(operand)), operands[0])
    return step if step and current.op == "get-tuple-element" and _index(current) == index else 1
