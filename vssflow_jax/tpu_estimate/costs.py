"""What a compiled program does in one call: products and sums, and memory traffic.

Both are of one device, read from its program (`hlo.py`), and least figures: what is not a
matrix product costs nothing, and traffic within the fast memory of the chip is free.
"""

from __future__ import annotations

import math
import re

from vssflow_jax.tpu_estimate.hlo import MAIN, Computation, Instruction, Module

# Instructions that move nothing by themselves: names for other arrays, or costs counted inside.
FREE = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota"),
    *("while", "conditional", "call", "after-all", "optimization-barrier"),
    *("partition-id", "replica-id", "custom-call"),  # on TPUs: buffers, asynchronous collectives
)
SLICES = ("dynamic-slice", "slice", "gather")


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
    return total


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


def count_traffic(module: Module) -> int:
    """Bytes read from and written to the memory of the device (a TPU's HBM)."""
    total = 0
    for name, times in module.times.items():
        if times and name not in module.fused:
            computation = module.computations[name]
            moved = sum(_moved(i, computation, module) for i in computation.values())
            total += times * moved
    return total


def _slow(shapes) -> int:
    """Bytes of the arrays that lie in the main memory, where single numbers do not."""
    return sum(shape.bytes for shape in shapes if shape.space == MAIN and shape.dims)


def _moved(instruction: Instruction, computation: Computation, module: Module) -> int:
    """Bytes that one run of an instruction of an unfused computation moves."""
    op = instruction.op
    operands = [computation[name] for name in instruction.operands if name in computation]
    if op in FREE or op.endswith(("-done", "-update")):
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


def _fusion(instruction: Instruction, operands: list[Instruction], module: Module) -> int:
    """Reads and writes of a fusion: of what it only cuts from or writes into, that part."""
    inside = module.computations[instruction.called("calls")]
    users: dict[str, list[Instruction]] = {name: [] for name in inside}
    for inner in inside.values():
        if inner.op not in ("parameter", "constant"):
            for name in inner.operands:
                users[name].append(inner)
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
