"""The step compiled ahead: chips, HLO, costs, collectives, the search, the command's errors."""

import importlib.util
import math

import jax
import jax.numpy as jnp
import pytest
from helpers import in_process, meshes, tiny_configs

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.models import matmul
from vssflow_jax.tpu_estimate import (
    collectives,
    costs,
    fit,
    hlo,
    program,
    report,
    topology,
    traffic,
)
from vssflow_jax.tpu_estimate.fit import as_flags
from vssflow_jax.tpu_estimate.program import with_fields
from vssflow_jax.training import chips, sharding
from vssflow_jax.training.flops import count_traced_flops

# ---- chips --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"), [("v5e:2x4", 8), ("v5e:16x16", 256), ("v5p:4x4x4", 64), ("tpu7x:2x2x1", 4)]
)
def test_a_topology_is_a_chip_and_a_grid(name, count):
    assert chips.parse_topology(name) == (name.split(":")[0], count)


@pytest.mark.parametrize("name", ["v5e", "v5e-8", "v9:2x2", "v5e:8", "v5e:2x", "", "v5e:2x4 "])
def test_another_topology_is_refused(name):
    with pytest.raises(InputError, match=r"--topology: found .* expected .*v5e:2x4"):
        chips.parse_topology(name)


def test_two_devices_on_a_chip_have_half_of_it_each():
    full, half = chips.CHIPS["tpu7x"], chips.CHIPS["tpu7x"].share(2)
    assert (half.flops, half.memory) == (full.flops / 2, full.memory / 2)


def test_without_the_compiler_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "vssflow_jax\[tpu\]"'):
        topology.require_compiler()


# ---- programs -----------------------------------------------------------------------------

# A program as the compiler for TPUs writes them: a product as a convolution in a fusion, in a
# loop of five iterations, in which a counter goes to ten in steps of two.
LOOP = """
HloModule jit_step, is_scheduled=true

%part (p0: bf16[4,8,16], p1: s32[]) -> bf16[8,16] {
  %p0 = bf16[4,8,16]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %cut = bf16[1,8,16]{2,1,0:T(8,128)(2,1)} dynamic-slice(%p0, %p1, %zero, %zero)
  ROOT %cut.flat = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} bitcast(%cut)
}

%product (q0: bf16[32,8], q1: bf16[8,16]) -> bf16[32,16] {
  %q0 = bf16[32,8]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %q1 = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %gathered = bf16[8,16]{1,0} all-gather(%q1), channel_id=7, replica_groups=[2,4]<=[8], dimensions={0}
  ROOT %conv = bf16[32,16]{1,0:T(8,128)(2,1)} convolution(%q0, %q1), dim_labels=bf_io->bf
}

%again (r1: bf16[8,16]) -> bf16[8,16] {
  %r1 = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %gathered.2 = bf16[8,16]{1,0} all-gather(%r1), channel_id=7, replica_groups=[2,4]<=[8], dimensions={0}
}

%all-reduce-scatter.1 (s0: f32[64,16]) -> f32[16,16] {
  %s0 = f32[64,16]{1,0} parameter(0)
  %sum = f32[64,16]{1,0} all-reduce(%s0), channel_id=9, replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%add
  %o = s32[] constant(0)
  ROOT %mine = f32[16,16]{1,0} dynamic-slice(%sum, %o, %o), dynamic_slice_sizes={16,16}
}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %z = f32[] add(%x, %y)
}

%body (b: (s32[], bf16[32,8], bf16[4,8,16], /*index=3*/bf16[32,16])) -> (s32[], bf16[32,8]) {
  %b = (s32[]{:T(128)}, bf16[32,8]{1,0:S(1)}, bf16[4,8,16]{2,1,0}, /*index=3*/bf16[32,16]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%b), index=0
  %left = bf16[32,8]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%b), index=1
  %stack = bf16[4,8,16]{2,1,0:T(8,128)(2,1)} get-tuple-element(%b), index=2
  %layer = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} fusion(%stack, %i), kind=kLoop, calls=%part
  %out = bf16[32,16]{1,0:T(8,128)(2,1)} fusion(%left, %layer), kind=kOutput, calls=%product
  %late = bf16[8,16]{1,0:S(1)} fusion(%layer), kind=kCustom, calls=%again
  %two = s32[]{:T(128)} constant(2)
  %next = s32[]{:T(128)} add(%i, %two)
  ROOT %state = (s32[]{:T(128)}, bf16[32,8]{1,0:S(1)}, bf16[4,8,16]{2,1,0}, /*index=3*/bf16[32,16]{1,0}) tuple(%next, %left, %stack, %out)
}

%cond (c: (s32[], bf16[32,8], bf16[4,8,16], bf16[32,16])) -> pred[] {
  %ten = s32[]{:T(128)} constant(10)
  %c = (s32[]{:T(128)}, bf16[32,8]{1,0:S(1)}, bf16[4,8,16]{2,1,0}, bf16[32,16]{1,0}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.2, %ten), direction=LT
}

ENTRY %main (a: (s32[], bf16[32,8], bf16[4,8,16], bf16[32,16]), g: f32[64,16]) -> f32[16,16] {
  %a = (s32[]{:T(128)}, bf16[32,8]{1,0:S(1)}, bf16[4,8,16]{2,1,0}, bf16[32,16]{1,0}) parameter(0)
  %g = f32[64,16]{1,0} parameter(1)
  %loop = (s32[]{:T(128)}, bf16[32,8]{1,0:S(1)}, bf16[4,8,16]{2,1,0}, bf16[32,16]{1,0}) while(%a), condition=%cond, body=%body
  %move = (f32[64,16]{1,0}, f32[64,16]{1,0}, u32[]) collective-permute-start(%g), channel_id=3, source_target_pairs={{0,1},{1,0}}
  %moved = f32[64,16]{1,0} collective-permute-done(%move)
  ROOT %scattered = f32[16,16]{1,0} fusion(%moved), kind=kCustom, calls=%all-reduce-scatter.1
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def loop():
    return hlo.parse_hlo(LOOP)


def test_loops_run_as_often_as_their_counters_say(loop):
    assert {name: loop.times[name] for name in ("main", "body", "part", "product")} == {
        "main": 1, "body": 5, "part": 5, "product": 5,
    }  # fmt: skip
    assert loop.times["add"] == 0 and loop.fused >= {"part", "product"} and "body" not in loop.fused


def test_of_the_branches_of_a_condition_one_runs():
    """The one with the most to do, whatever their order."""
    text = """
HloModule jit_step, is_scheduled=true

%keep (p: f32[8]) -> f32[8] {
  ROOT %p = f32[8]{0} parameter(0)
}

%change (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  ROOT %negated = f32[8]{0} negate(%q)
}

ENTRY %main (which: s32[], x: f32[8]) -> f32[8] {
  %which = s32[] parameter(0)
  %x = f32[8]{0} parameter(1)
  ROOT %out = f32[8]{0} conditional(%which, %x, %x), branch_computations={%BRANCHES}
}
"""
    for order in ("keep, %change", "change, %keep"):
        times = hlo.parse_hlo(text.replace("BRANCHES", order)).times
        assert (times["change"], times["keep"]) == (1, 0)


def test_products_count_once_a_turn(loop):
    assert costs.count_flops(loop) == 5 * 2 * 32 * 8 * 16


def test_traffic_leaves_out_fast_memory_and_what_is_not_cut(loop):
    turn = 8 * 16 * 2 + 32 * 16 * 2  # a layer is read, the product written
    permuted = 2 * 64 * 16 * 4
    scattered = 64 * 16 * 4 + 16 * 16 * 4
    assert costs.count_bytes(costs.list_transfers(loop)) == 5 * turn + permuted + scattered


# A kernel that reads one array twice, and declares what the HLO does not show.
KERNEL = """
HloModule jit_step, is_scheduled=true

ENTRY %main (x: bf16[64,128], w: bf16[128,128]) -> bf16[64,128] {
  %x = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %w = bf16[128,128]{1,0:T(8,128)(2,1)} parameter(1)
  %w.again = bf16[128,128]{1,0:T(8,128)(2,1)} bitcast(%w)
  %buffer = bf16[64,128]{1,0:T(8,128)(2,1)} custom-call(), custom_call_target="AllocateBuffer"
  ROOT %y = bf16[64,128]{1,0:T(8,128)(2,1)} custom-call(%x, %w, %w.again), custom_call_target="tpu_custom_call", metadata={op_name="jit(step)/jvp(Net)/dit/blocks/while/body/feed_forward/shard_map/feed_forward"}, backend_config={"custom_call_config":{"body":"TUzv",COST"serialization_format":"1"}}
}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("cost", "flops", "moved"),
    [
        ("", 0, 65_536),
        ('"cost_estimate":{"flops":"2097152","transcendentals":"0","bytes_accessed":"98304"},',
         2_097_152, 98_304),
        ('"cost_estimate":{"flops":2097152,"transcendentals":0,"bytes_accessed":16},',
         2_097_152, 65_536),
    ],
)  # fmt: skip
def test_a_kernel_moves_what_it_declares_and_at_least_its_operands_and_results(cost, flops, moved):
    module = hlo.parse_hlo(KERNEL.replace("COST", cost))
    (transfer,) = costs.list_transfers(module)
    assert (transfer.name, transfer.kind, transfer.bytes) == ("y", "kernel", moved)
    assert costs.count_flops(module) == flops
    assert traffic.find_part(transfer.path) == "dit/blocks/feed_forward"
    text = KERNEL.replace("COST", cost)
    for op in ("parameter", "bitcast"):
        text = text.replace(f"(2,1)}} {op}", f"(2,1)S(1)}} {op}")
    fast = hlo.parse_hlo(text)
    operands = (64 + 128) * 128 * 2
    assert costs.count_bytes(costs.list_transfers(fast)) == moved - operands


def test_transfers_are_grouped_by_part_pass_and_kind_and_their_sum_is_the_total():
    net = "jit(step)/jvp(Net)/dit/blocks/while/body/checkpoint/attention/query/dot_general"
    back = "jit(step)/transpose(jvp(Net))/dit/blocks/while/body/checkpoint"
    transfers = [
        make_transfer(net, 5 * 2**30),
        make_transfer(net.replace("query", "key"), 2**30),
        make_transfer(f"{back}/rematted_computation/attention/query/add", 2**29),
        make_transfer(f"{back}/attention/query/dot_general", 2**31, "copy"),
        make_transfer("jit(step)/cond/branch_1_fun/mul", 2**28),
        make_transfer("", 2**27),
    ]
    groups = traffic.group_transfers(transfers)
    assert list(groups) == [
        ("dit/blocks/attention", "forward", "fusion"),
        ("dit/blocks/attention", "backward", "copy"),
        ("dit/blocks/attention", "recomputed", "fusion"),
        ("-", "update", "fusion"),
        ("-", "-", "fusion"),
    ]
    assert [len(group) for group in groups.values()] == [2, 1, 1, 1, 1]
    assert sum(map(costs.count_bytes, groups.values())) == costs.count_bytes(transfers)
    first, *rows, last = traffic.describe_traffic(transfers).splitlines()
    assert first.split()[0] == "GiB" and len(rows) == len(groups)
    assert sum(float(row.split()[0]) for row in rows) == pytest.approx(8.875, abs=0.002)
    assert last.split()[:2] == ["8.875", "sum"]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("jit(f)/jvp(VSSFlow)/VSSFlow.velocity/dit/while/body/closed_call/blocks/cross/out/cond/"
         "branch_0_fun/xyab,abc->xyc/dot_general", "dit/blocks/cross"),
        ("jit(f)/transpose(jvp(VSSFlow))/VSSFlow.condition/dit.context_kv/key/add",
         "dit.context_kv/key"),
        ("jit(f)/make_step.<locals>.step/xor", "-"),
        ("state.params['dit']['kernel']", "-"),
        ("", "-"),
    ],
)  # fmt: skip
def test_a_part_of_the_network_is_named_by_its_modules(path, part):
    assert traffic.find_part(path) == part


def test_a_copy_belongs_to_what_it_is_made_for():
    text = """
HloModule jit_step, is_scheduled=true

ENTRY %main (x: bf16[64,128]) -> bf16[64,128] {
  %x = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(0)
  %move = (bf16[64,128]{1,0:T(8,128)(2,1)S(1)}, bf16[64,128]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%x)
  %moved = bf16[64,128]{1,0:T(8,128)(2,1)S(1)} copy-done(%move)
  ROOT %y = bf16[64,128]{1,0:T(8,128)(2,1)} negate(%moved), metadata={op_name="jit(step)/jvp(Net)/dit/neg"}
}
"""  # noqa: E501
    listed = {one.name: one for one in costs.list_transfers(hlo.parse_hlo(text))}
    assert listed["move"].kind == "copy" and listed["move"].bytes == 64 * 128 * 2
    assert listed["move"].path == listed["y"].path == "jit(step)/jvp(Net)/dit/neg"


def test_what_moves_bytes_in_a_loop_is_listed_with_its_runs(loop):
    listed = {one.name: (one.kind, one.times) for one in costs.list_transfers(loop)}
    assert listed == {
        "layer": ("fusion", 5),
        "out": ("fusion", 5),
        "move": ("collective", 1),
        "scattered": ("fusion", 1),
    }


def test_collectives_are_found_in_fusions_and_loops_each_once(loop):
    result = {one.kind: one for one in collectives.list_collectives(loop)}
    assert len(collectives.list_collectives(loop)) == 3
    gather, scatter = result["all-gather"], result["reduce-scatter"]
    assert (gather.times, gather.group, gather.bytes) == (5, 4, 4 * 8 * 16 * 2)
    assert gather.sent == 5 * gather.bytes * 3 / 4
    assert (scatter.times, scatter.group, scatter.bytes) == (1, 4, 64 * 16 * 4)
    assert result["collective-permute"].sent == 64 * 16 * 4
    table = collectives.sum_by_kind(list(result.values()))
    assert table["all-gather"] == (5, 5 * gather.bytes, gather.sent)


def test_a_reduction_to_all_sends_twice_what_a_scattered_one_does():
    both = [
        collectives.Collective(kind=kind, bytes=1000, group=8, times=1)
        for kind in ("all-reduce", "reduce-scatter")
    ]
    assert both[0].sent == 2 * both[1].sent == 2 * 875


@pytest.mark.parametrize(
    ("attributes", "devices"),
    [
        (", replica_groups={{0,1,2,3},{4,5,6,7}}, use_global", 4),
        (", replica_groups=[2,4]<=[8], dimensions={0}", 4),
        (", replica_groups=[32,8]<=[8,32]T(1,0)", 8),
        (", replica_groups=mesh['axis_0'=1,'axis_1'=8] {'axis_1'}, use", 8),
        (", replica_groups=mesh['a'=4,'b'=8] {'a','b':(1)2}, use", 8),
        (", replica_groups=mesh['a'=1,'b'=8,'c'=8], device_ids=([8,8]T(1,0)) {'b'}, use", 8),
        (", source_target_pairs={{0,1},{1,0}}", 2),
    ],
)
def test_groups_are_read_in_every_way_of_writing(attributes, devices):
    assert collectives._group(attributes) == devices
    with pytest.raises(ValueError, match="not understood"):
        collectives._group(", replica_groups=some")


def product(left, right, out, attributes):
    """A program of one convolution."""
    return (
        f"ENTRY %main (a: f32[{left}]) -> f32[{out}] {{\n"
        f"  %a = bf16[{left}]{{0}} parameter(0)\n"
        f"  %b = bf16[{right}]{{0}} parameter(1)\n"
        f"  ROOT %c = bf16[{out}]{{0}} convolution(%a, %b), {attributes}\n}}\n"
    )


@pytest.mark.parametrize(
    ("left", "right", "out", "attributes", "flops"),
    [
        ("16,250,1536", "1536,768", "16,250,768", "window={size=1}, dim_labels=0bf_io0->0bf",
         2 * 16 * 250 * 1536 * 768),
        # heads as an axis that the reversed window meets in one place only
        ("16,251,1536,1", "1536,24,64,1", "16,251,24,64", "window={size=1x24 pad=0_0x23_23 "
         "rhs_reversal=0x1}, dim_labels=0bf1_i1o0->0b1f", 2 * 16 * 251 * 1536 * 24 * 64),
        # two parts of the contracted axis
        ("16,251,2,192", "2,192,1536,1", "16,251,1536,1", "window={size=2x1}, "
         "dim_labels=1b0f_0io1->1bf0", 2 * 16 * 251 * 384 * 1536),
    ],
)  # fmt: skip
def test_convolutions_that_are_products_cost_what_those_do(left, right, out, attributes, flops):
    if left.count(",") == 2:
        right += ",1"
    text = product(left, right, out, attributes)
    assert costs.count_flops(hlo.parse_hlo(text)) == flops


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_over_the_edge_count_what_they_meet(stride):
    """Against XLA's own count for a true convolution."""

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )

    shapes = jax.ShapeDtypeStruct((2, 37, 5), float), jax.ShapeDtypeStruct((4, 5, 3), float)
    lowered = jax.jit(convolve).lower(*shapes)
    window = f"window={{size=4 stride={stride} pad=1_2}}, dim_labels=b0f_0io->b0f"
    text = product("2,37,5", "4,5,3", f"2,{-(-37 // stride)},3", window)
    assert costs.count_flops(hlo.parse_hlo(text)) == lowered.cost_analysis()["flops"]


SHARDED = """
import jax, jax.numpy as jnp
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
def place(*spec): return jax.NamedSharding(mesh, jax.P(*spec))
def f(x, layers):
    def layer(x, w):
        w = jax.lax.with_sharding_constraint(w, place())
        return jax.lax.with_sharding_constraint(jnp.tanh(x @ w), place("x")), None
    return jax.lax.scan(layer, x, layers)[0].sum()
shapes = (jax.ShapeDtypeStruct((32, 16), "float32", sharding=place("x")),
          jax.ShapeDtypeStruct((6, 16, 16), "float32", sharding=place(None, "x")))
print(jax.jit(f).lower(*shapes).compile().as_text())
"""


def test_a_program_of_eight_simulated_devices():
    """Six layers: six gatherings of a layer's weights, six products of an eighth of the rows."""
    module = hlo.parse_hlo(meshes.run_code(SHARDED))
    assert costs.count_flops(module) == 6 * 2 * 4 * 16 * 16
    table = collectives.sum_by_kind(collectives.list_collectives(module))
    assert table["all-gather"][:2] == (6, 6 * 16 * 16 * 4)
    assert table["all-reduce"][0] == 1 and set(table) == {"all-gather", "all-reduce"}


def test_model_flops_count_scans_and_leave_out_what_remat_repeats():
    def model(x, layers):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, layers)[0].sum()

    shapes = jax.ShapeDtypeStruct((4, 8), float), jax.ShapeDtypeStruct((5, 8, 8), float)
    one = 5 * 2 * 4 * 8 * 8
    assert count_traced_flops(model, *shapes) == one
    assert count_traced_flops(jax.grad(model, argnums=(0, 1)), *shapes) == 3 * one


def test_model_flops_count_one_branch_of_several_and_no_gradient_that_nobody_asks_for():
    def product(x, w):
        return matmul.einsum("bi,io->bo", x, w)

    half = jax.ShapeDtypeStruct((4, 8), jnp.bfloat16), jax.ShapeDtypeStruct((8, 8), float)
    one = 2 * 4 * 8 * 8
    assert count_traced_flops(product, *half) == one
    slope = jax.jit(jax.grad(lambda w, x: product(x, w).astype(float).sum() ** 2))
    assert count_traced_flops(slope, *half[::-1]) == 2 * one


# ---- the training step without arrays -----------------------------------------------------


def narrow(**fields):
    """The joint recipe with two narrow layers."""
    sizes = {"model.layers": 2, "model.heads": 2, "model.kv_heads": 1, "model.head_dim": 16}
    return with_fields(load_recipe("joint"), sizes | {"data.batch_size": 2} | fields)


def one_device():
    return sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])


def test_the_paper_sized_step_has_shapes_alone():
    state, codec, batch = program.describe_step(load_recipe("joint"), one_device())[1]
    leaves = jax.tree.leaves((state, codec, batch))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == 463_565_184
    assert batch["wave"].shape == (72, 160_000) and batch["features"]["sync"].shape[:2] == (72, 240)
    held, gradient = program.count_fixed_bytes(load_recipe("joint"), one_device())
    codec_bytes = count_bytes(codec)
    assert gradient == 4 * 463_565_184
    assert held == pytest.approx(3 * gradient + codec_bytes, rel=1e-6)


def count_bytes(shapes):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


STUDENT = {"train.task": "distill", "dropout.all": 0.0, "optim.ema_decay": 0.99}


@pytest.mark.parametrize("stage", ["guided", "average"])
def test_a_student_is_described_with_its_teacher_whose_folder_need_not_be_there(stage):
    config = narrow(**STUDENT, **{"distill.teacher": stage})
    (state, frozen, batch), mesh = program.describe_step(config, one_device())[1], one_device()
    leaves = jax.tree.leaves((state, frozen, batch))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert "guidance" in state.params["dit"]
    flow = program.describe_step(narrow(), mesh)[1][0].params
    expected = {name: flow[name] for name in ("conditioner", "dit")} if stage == "guided" else None
    assert jax.tree.map(lambda leaf: leaf.shape, frozen.teacher) == jax.tree.map(
        lambda leaf: leaf.shape, expected
    )
    held, gradient = program.count_fixed_bytes(config, mesh)
    assert gradient == count_bytes(state.params)
    assert held == count_bytes(state) + count_bytes(frozen)


def test_a_student_needs_the_flops_of_each_evaluation_of_its_teacher():
    """By steps and stages of the solver, and by branches, one more than there are scales."""
    mesh = one_device()

    def count(steps, solver="euler", groups=1):
        sizes = {"distill.steps": steps, "distill.solver": solver, "distill.scale_groups": groups}
        config = narrow(**STUDENT, **sizes)
        return program.count_model_flops(config, program.describe_step(config, mesh)[1], mesh)

    evaluation = count(2) - count(1)
    assert evaluation > 0 and count(4) == count(1) + 3 * evaluation
    assert count(2, "heun") == count(4)
    branches = (count(2, groups=2) - count(1, groups=2)) / evaluation
    assert branches == pytest.approx(3 / 2, rel=0.01)


def test_halves_of_a_students_batch_are_whole():
    config = narrow(**STUDENT, **{"data.batch_size": 3})
    with pytest.raises(InputError, match=r"data.batch_size: found 3, expected a multiple of 2"):
        program.compile_step(config, one_device())
    assert program.clip_multiple(config) == 2 and program.clip_multiple(narrow()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, STUDENT])
def test_a_step_compiles_and_its_figures_agree_with_the_model(fields):
    result = program.compile_step(narrow(**fields), one_device())
    assert result.collectives == [] and result.memory > 0 and result.traffic > 0
    assert result.flops == pytest.approx(result.model_flops, rel=0.02)


def test_values_that_make_no_model_are_named():
    with pytest.raises(InputError, match=r"model.route: found 'joined', expected one of"):
        program.describe_step(with_fields(narrow(), {"model.route": "joined"}), one_device())
    with pytest.raises(InputError, match="remat"):
        program.describe_step(with_fields(narrow(), {"model.remat": "some"}), one_device())
    with pytest.raises(InputError, match=r"train.task: found 'codec', expected one of"):
        program.describe_step(narrow(**{"train.task": "codec"}), one_device())


@pytest.mark.parametrize(
    ("said", "used", "limit"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 26.50G of 15.75G hbm. "
         "Exceeded hbm capacity by 10.75G.", 26.5, 15.75),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
         "temporaries (1005.94G) exceeds available HBM (31.25G).", 1005.94, 31.25),
    ],
)  # fmt: skip
def test_what_the_compiler_says_of_memory_is_understood(said, used, limit):
    result = program.parse_out_of_memory(RuntimeError(said))
    assert (result.used, result.limit) == (round(used * 2**30), round(limit * 2**30))
    assert program.parse_out_of_memory(RuntimeError("INTERNAL: else")) is None


# ---- what fits ----------------------------------------------------------------------------


def make_program(memory, **fields):
    figures = {"flops": 0, "model_flops": 0, "transfers": [], "collectives": [], "seconds": 0.0}
    return program.Program(memory=memory, **figures | fields)


def make_transfer(path, moved, kind="fusion"):
    return costs.Transfer(name="some", path=path, kind=kind, bytes=moved, times=1)


def needed(fixed, slope, clips):
    return round(fixed + slope * clips + 3 * math.sqrt(clips))


def device(fixed, slope, limit, tried):
    """A pretended compiler: memory in a line, a little over it."""

    def compile_clips(clips):
        tried.append(clips)
        memory = needed(fixed, slope, clips)
        if memory > limit:
            raise program.OutOfMemory(memory, limit)
        return make_program(memory)

    return compile_clips


@pytest.mark.parametrize(
    ("fixed", "slope", "limit"), [(100, 10, 1000), (5, 1, 400), (900, 7, 1000)]
)
@pytest.mark.parametrize("first", [4, 60, 500])
def test_the_search_ends_at_the_most_clips_that_fit(fixed, slope, limit, first):
    tried, start = [], fit.Search()
    compile_clips = device(fixed, slope, limit, tried)
    start.add(first, compile_clips)
    fit.search_largest(start, compile_clips, fixed=fixed, limit=limit, compiles=4)
    best = max(n for n in range(600) if needed(fixed, slope, n) <= limit)
    assert 0.94 * best <= start.largest <= best and len(tried) <= 5


def test_the_search_keeps_to_multiples_and_admits_that_nothing_fits():
    tried, start = [], fit.Search()
    compile_clips = device(100, 10, 1000, tried)
    start.add(8, compile_clips)
    fit.search_largest(start, compile_clips, fixed=100, limit=1000, unit=4)
    assert all(clips % 4 == 0 for clips in tried) and start.largest >= 80
    nothing = fit.search_largest(
        fit.Search(fails={4: program.OutOfMemory(2000, 1000)}),
        device(1500, 10, 1000, []), fixed=1500, limit=1000,
    )  # fmt: skip
    assert nothing.largest == 0 and report.largest(nothing) == "not one clip a device fits"


def test_what_saves_memory_is_what_the_config_does_not_do_yet():
    config = load_recipe("joint")
    assert as_flags(fit.memory_saving_fields(config, devices=8)) == (
        "--config.precision.compute=bfloat16 --config.model.remat=layer "
        "--config.mesh.data=1 --config.mesh.fsdp=-1"
    )
    done = with_fields(config, {"precision.compute": "bfloat16", "model.remat": "layer"})
    assert set(fit.memory_saving_fields(done, devices=8)) == {"mesh.data", "mesh.fsdp"}
    assert fit.memory_saving_fields(with_fields(done, {"mesh.fsdp": 4}), devices=8) == {}
    assert config.precision.compute == "float32", "the recipe itself stays as it is"


# ---- bounds and text ----------------------------------------------------------------------


def test_bounds_are_work_over_rate_and_the_largest_counts():
    chip = chips.Chip(memory=16 * 2**30, flops=200e12, bandwidth=800e9, interconnect=200e9)
    gather = collectives.Collective(kind="all-gather", bytes=8 * 10**9, group=8, times=1)
    moved = [make_transfer("", 30 * 10**9), make_transfer("", 10 * 10**9)]
    result = make_program(
        2**33, flops=20e12, model_flops=15e12, transfers=moved, collectives=[gather]
    )
    bounds = report.Bounds.of(result, chip)
    assert (bounds.compute, bounds.memory, bounds.interconnect) == pytest.approx((0.1, 0.05, 0.035))
    assert bounds.step == bounds.compute and bounds.reason == "compute"
    assert report.mfu(result, chip) == pytest.approx(0.75)
    text = report.describe(result, chip, 128, 16)
    for words in ("8.00 GiB of 16.00 GiB (50%)", "all-gather", "100.0 ms", "1,280 clips", "0.75"):
        assert words in text
    row = report.row("v5e:2x4", (1, 8, 1), 16, chip, result, 40)
    assert len(row) == len(report.heading()) and "1x8x1" in row and "8.00 of 16 GiB" in row


# ---- the command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--config=joint", "--topology=v9:2x2"), ("--topology", "v9:2x2", "v5e")),
        (("--config=joint", "--topology=v5e:2x4", "--config.model.layer=3"), ("layer",)),
        (("--config=joint",), ("--topology",)),
    ],
)
def test_mistakes_are_one_line(flags, words):
    done = in_process.run("compile", *flags)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)


NARROW = (
    "--config=configs/joint.py",
    "--config.model.layers=2",
    "--config.model.heads=2",
    "--config.model.kv_heads=1",
    "--config.model.head_dim=16",
    "--config.data.duration=2.0",
)
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


@pytest.mark.slow
@needs_libtpu
def test_a_narrow_step_compiles_for_a_tpu():
    flags = ("--topology=v5e:2x2", "--clips=2", "--nolargest")
    done = tiny_configs.run("compile", *NARROW, *flags, timeout=1200)
    assert done.returncode == 0 and done.stderr == ""
    for words in ("mesh data 4", "2 a device", "of 16.00 GiB", "all-reduce", "MFU at most"):
        assert words in done.stdout


@pytest.mark.slow
@needs_libtpu
def test_a_step_compiles_with_kernels_for_a_tpu():
    flags = (
        "--config.model.kv_heads=2",
        "--config.model.head_dim=64",
        "--config.precision.compute=bfloat16",
        "--config.mesh.fsdp=4",
        "--topology=v5e:2x2",
        "--clips=2",
        "--nolargest",
        "--traffic",
    )
    done = tiny_configs.run("compile", *NARROW, *flags, timeout=2400)
    assert done.returncode == 0 and done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines() if " dit/blocks/" in line]
    assert any(row[3:5] == ["backward", "kernel"] for row in rows)


@needs_libtpu
def test_grids_and_batches_that_cannot_be_are_one_line():
    for flags, words in (
        (("--topology=v5e:3x5",), ("v5e:3x5", "cannot be")),
        (("--topology=v5e:16x16",), ("data.batch_size", "72", "256")),
    ):
        done = tiny_configs.run("compile", "--config=joint", *flags)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert all(word in done.stderr for word in words)


@pytest.mark.slow
@needs_libtpu
def test_a_step_that_does_not_fit_says_what_would():
    flags = ("--topology=v5e:2x2", "--clips=3000")
    done = tiny_configs.run("compile", *NARROW, *flags, timeout=2400)
    assert done.returncode == 1 and "does not fit: a device needs" in done.stdout
    assert "would fit: --config" in done.stdout
