"""The number format of sampling: the run's, one's own, or the processor's fastest."""

import types

import numpy as np
import pytest

from vssflow_jax import Generator
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import default_config
from vssflow_jax.generation import precision

X86 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f {}\nbogomips\t: 1\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize("text", [X86, ARM])
def test_the_flags_of_a_processor_are_read(text, tmp_path):
    (tmp_path / "cpuinfo").write_text(text.format("bf16 avx512_bf16"))
    read = precision.read_cpu_flags(tmp_path / "cpuinfo")
    assert read >= {"bf16", "avx512_bf16"} and "processor" not in read
    assert precision.read_cpu_flags(tmp_path / "nowhere") == set()


@pytest.mark.parametrize(
    ("flag", "dtype"),
    [("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx512_vnni", "float32")],
)
def test_auto_follows_the_processor_alone(flag, dtype, monkeypatch):
    monkeypatch.setattr(precision, "read_cpu_flags", lambda: {"avx2", flag})
    config = default_config()
    assert precision.resolve_precision(config.precision) == "float32"
    assert precision.resolve_precision(config.precision, "auto") == dtype
    config.precision.sampling = "auto"
    assert precision.resolve_precision(config.precision) == dtype
    config.precision.compute = "bfloat16"
    assert precision.resolve_precision(config.precision) == dtype


def device(platform, version="", capability=""):
    client = types.SimpleNamespace(platform_version=version)
    return types.SimpleNamespace(platform=platform, client=client, compute_capability=capability)


def test_accelerators_that_multiply_bfloat16():
    assert precision.multiplies_bfloat16(device("tpu"))
    assert precision.multiplies_bfloat16(device("gpu", "cuda 12080", "9.0"))
    assert not precision.multiplies_bfloat16(device("gpu", "cuda 12080", "7.5"))
    assert not precision.multiplies_bfloat16(device("gpu", "rocm 6", "gfx90a"))


def test_the_format_of_training_is_the_default():
    config = default_config()
    config.precision.compute = "bfloat16"
    assert precision.resolve_precision(config.precision) == "bfloat16"
    assert precision.resolve_precision(config.precision, "float32") == "float32"
    with pytest.raises(InputError, match="--precision: found 'float99', expected"):
        precision.resolve_precision(config.precision, "float99")


def test_half_precision_sounds_alike_and_is_said_in_the_report(generator, tiny_run):
    single = generator(text="set blue at g nine now")
    half = Generator.from_workdir(tiny_run, precision="bfloat16")(text="set blue at g nine now")
    assert (single.report["precision"], half.report["precision"]) == ("float32", "bfloat16")
    assert np.abs(half.wave - single.wave).max() > 0
    spectra = [np.log(np.abs(np.fft.rfft(out.wave[:16_000])) + 1) for out in (single, half)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9
