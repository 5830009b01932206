"""What a compiled program does in one call: products and sums, and memory traffic.

Both are of one device, read from its program (`hlo.py`), and least figures: what is not a
matrix product costs nothing, and traffic within the fast memory of the chip is free.

Kernels written by hand are custom calls, whose text does not show what they do. Their FLOPs are
those that the kernel declares. Their traffic is every operand and every result once, and what the
kernel declares beyond that, for what it reads or writes again.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from vssflow_jax.tpu_estimate import collectives
from vssflow_jax.tpu_estimate.hlo import MAIN, Computation, Instruction, Module

# Instructions that move nothing by themselves: names for other arrays, or costs counted inside.
FREE = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota"),
    *("while", "conditional", "call", "after-all", "optimization-barrier"),
    *("partition-id", "replica-id"),
)
SLICES = ("dynamic-slice", "slice", "gather")
HOPS = 12  # instructions from one without a path to one that has one: transfers are made in parts
KERNEL = "tpu_custom_call"  # the compiler's own custom calls name buffers and wait for transfers


def count_flops(module: Module) -> int:
    """Products and sums of all matrix products and convolutions."""
    total = 0
    for name, times in module.times.items():
        computation = module.computations[name]
        for instruction in computation.values():
            if instruction.op == "convolution":
                total += times * _convolution(instruction, computation)
            elif instruction.op == "dot":
                total += times * _dot(instruction, computation)
            elif is_kernel(instruction):
                total += times * _declared(instruction, "flops")
    return total


def is_kernel(instruction: Instruction) -> bool:
    """Whether an instruction is a kernel written by hand."""
    return instruction.op == "custom-call" and f'"{KERNEL}"' in instruction.attributes


def _declared(kernel: Instruction, figure: str) -> int:
    """A figure of the cost that a kernel declares; 0: it declares none."""
    cost = re.search(r'cost_estimate\\?":\s*\{([^}]*)\}', kernel.attributes)
    number = cost and re.search(rf'{figure}\\?":\s*\\?"?(\d+)', cost[1])
    return int(number[1]) if number else 0


def _dot(instruction: Instruction, computation: Computation) -> int:
    left = computation[instruction.operands[0]].shapes[0]
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attributes)
    axes = [int(axis) for axis in contracted[1].split(",") if axis]
    return 2 * math.prod(instruction.shapes[0].dims) * math.prod(left.dims[a] for a in axes)


def _convolution(instruction: Instruction, computation: Computation) -> int:
    """A TPU writes every matrix product so, with batch axes as spatial ones that hardly meet.

    Along a spatial axis only the pairs of output and window places that meet an input count.
    """
    lhs, rhs = (computation[name].shapes[0].dims for name in instruction.operands[:2])
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.attributes)
    sizes = [dict(zip(labels[i + 1], dims, strict=True)) for i, dims in enumerate((lhs, rhs))]
    out = dict(zip(labels[3], instruction.shapes[0].dims, strict=True))
    axes = sorted(label for label in out if label.isdigit())
    groups = re.search(r"batch_group_count=(\d+)", instruction.attributes)
    window = _window(instruction.attributes, len(axes))
    pairs = math.prod(
        _pairs(out[axis], sizes[0][axis], **{key: window[key][i] for key in window})
        for i, axis in enumerate(axes)
    )
    batch = sizes[0]["b"] // int(groups[1] if groups else 1)
    return 2 * batch * out["f"] * sizes[1]["i"] * pairs


def _window(attributes: str, axes: int) -> dict[str, list]:
    """The fields of `window={size=3x1 pad=1_1x0_0 ..}`, a value for each axis."""
    text = re.search(r"window=\{([^}]*)\}", attributes)
    fields = dict(field.split("=") for field in text[1].split()) if text else {}

    def numbers(key):
        return [int(n) for n in fields[key].split("x")] if key in fields else [1] * axes

    pads = fields["pad"].split("x") if "pad" in fields else ["0_0"] * axes
    return {
        "size": numbers("size"),
        "stride": numbers("stride"),
        "spread": numbers("lhs_dilate"),
        "step": numbers("rhs_dilate"),
        "pad": [int(pad.split("_")[0]) for pad in pads],
    }


def _pairs(out: int, inputs: int, *, size: int, stride: int, spread: int, step: int, pad: int):
    """Pairs of an output place and a window place that meet an input along one axis."""
    last = (inputs - 1) * spread
    if size == 1 and stride == spread == 1 and pad == 0:
        return min(out, inputs)
    places = (o * stride + w * step - pad for o in range(out) for w in range(size))
    return sum(0 <= place <= last and place % spread == 0 for place in places)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer:
    """What one instruction moves between the chip and its main memory (a TPU's HBM).

    Attributes:
      name: of the instruction.
      path: of what it computes, or what it is moved for, in the traced step; empty: not known.
      kind: fusion, kernel, collective, copy, or the name of another operation.
      bytes: in all its runs.
      times: runs in one call of the program.
    """

    name: str
    path: str
    kind: str
    bytes: int
    times: int


def list_transfers(module: Module) -> list[Transfer]:
    """All that a program moves: of every instruction that moves anything."""
    transfers = []
    for name, times in module.times.items():
        if times and name not in module.fused:
            computation = module.computations[name]
            users = _users(computation)
            for instruction in computation.values():
                if moved := times * _moved(instruction, computation, module):
                    transfers.append(
                        Transfer(
                            name=instruction.name,
                            path=_path(instruction, users, computation, module),
                            kind=_kind(instruction),
                            bytes=moved,
                            times=times,
                        )
                    )
    return transfers


def count_bytes(transfers: Sequence[Transfer]) -> int:
    """Bytes of all runs."""
    return sum(transfer.bytes for transfer in transfers)


def _kind(instruction: Instruction) -> str:
    if is_kernel(instruction):
        return "kernel"
    op = instruction.op.removesuffix("-start")
    if op in collectives.KINDS:
        return "collective"
    return "copy" if op in ("copy", *SLICES, "dynamic-update-slice") else op


def _users(computation: Computation) -> dict[str, list[Instruction]]:
    """The instructions that take the result of each."""
    users: dict[str, list[Instruction]] = {name: [] for name in computation}
    for instruction in computation.values():
        if instruction.op not in ("parameter", "constant"):
            for name in instruction.operands:
                if name in users:
                    users[name].append(instruction)
    return users


def _path(
    instruction: Instruction,
    users: dict[str, list[Instruction]],
    computation: Computation,
    module: Module,
) -> str:
    """The path of an instruction; of one without, that of what takes its result, or made it."""

    def makers(name):
        return [computation[operand] for operand in computation[name].operands[:1]]

    for neighbors in (users.__getitem__, makers):
        current = instruction
        for _ in range(HOPS):
            if path := _own_path(current, module):
                return path
            if current.op == "parameter" or not neighbors(current.name):
                break
            current = neighbors(current.name)[0]
    return ""


def _own_path(instruction: Instruction, module: Module) -> str:
    """The path of an instruction, or that of the last one inside a fusion that has one."""
    fused = instruction.called("calls") if instruction.op == "fusion" else None
    for one in (instruction, *reversed(module.computations.get(fused, {}).values())):
        if name := re.search(r'op_name="([^"]*)"', one.attributes):
            return name[1]
    return ""


def _slow(shapes) -> int:
    """Bytes of the arrays that lie in the main memory, where single numbers do not."""
    return sum(shape.bytes for shape in shapes if shape.space == MAIN and shape.dims)


def _moved(instruction: Instruction, computation: Computation, module: Module) -> int:
    """Bytes that one run of an instruction of an unfused computation moves."""
    op = instruction.op
    operands = [computation[name] for name in instruction.operands if name in computation]
    if is_kernel(instruction):
        return _kernel(instruction, computation)
    if op in (*FREE, "custom-call") or op.endswith(("-done", "-update")):
        return 0
    if op in ("copy-start", "slice-start"):
        target = instruction.shapes[0] if op == "copy-start" else instruction.shapes[-2]
        places = (target.space, operands[0].shapes[0].space)
        return target.bytes * sum(space == MAIN for space in places)
    if op == "fusion":
        return _fusion(instruction, operands, module)
    if op in SLICES:
        return 2 * _slow(instruction.shapes)
    if op == "dynamic-update-slice":
        return 2 * _slow(operands[1].shapes)
    if op.endswith("-start"):  # a collective: its parts come in and go out once
        return 2 * _slow(shape for operand in operands for shape in operand.shapes)
    return _slow(instruction.shapes) + sum(_slow(operand.shapes) for operand in operands)


def _kernel(instruction: Instruction, computation: Computation) -> int:
    """Each operand and result in the main memory once, and what is declared beyond all of them.

    An array that is given twice, or under two names, counts once.
    """
    arrays = {}
    for name in instruction.operands:
        operand = source = computation[name]
        while source.op == "bitcast":
            source = computation[source.operands[0]]
        arrays[source.name] = operand.shapes
    shapes = [*instruction.shapes, *(shape for shapes in arrays.values() for shape in shapes)]
    again = _declared(instruction, "bytes_accessed") - sum(shape.bytes for shape in shapes)
    return _slow(shapes) + max(again, 0)


def _fusion(instruction: Instruction, operands: list[Instruction], module: Module) -> int:
    """Reads and writes of a fusion: of what it only cuts from or writes into, that part."""
    inside = module.computations[instruction.called("calls")]
    users = _users(inside)
    total = 0
    for inner in inside.values():
        if inner.op == "parameter":
            shape = operands[int(inner.operands[0])].shapes
            total += min(_slow(shape), sum(_read(inner, user) for user in users[inner.name]))
    root = next(inner for inner in inside.values() if inner.root)
    results = [inside[name] for name in root.operands] if root.op == "tuple" else [root]
    for shape, result in zip(instruction.shapes, results, strict=False):
        total += _slow([shape]) and _written(result, inside)
    return total


def _read(parameter: Instruction, user: Instruction) -> int:
    if user.op in SLICES and user.operands[0] == parameter.name:
        return user.shapes[0].bytes
    if user.op == "dynamic-update-slice" and user.operands[0] == parameter.name:
        return 0
    if user.op in ("tuple", "get-tuple-element", "custom-call"):  # passed on
        return 0
    return sum(shape.bytes for shape in parameter.shapes)


def _written(result: Instruction, inside: Computation) -> int:
    if result.op == "bitcast":
        return _written(inside[result.operands[0]], inside)
    if result.op == "dynamic-update-slice":
        return inside[result.operands[1]].shapes[0].bytes
    if result.op in ("parameter", "custom-call"):
        return 0
    return sum(shape.bytes for shape in result.shapes)
