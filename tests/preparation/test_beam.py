"""Apache Beam writes the same shards as local processes, byte for byte."""

import importlib.util
import sys

import pytest
from helpers import fixtures, in_process, tiny_configs
from helpers.manifests import read_files

from vssflow_jax import media
from vssflow_jax.preparation.prepare import prepare

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs the extra `beam`"
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beam")
    for number in range(3):
        fixtures.write_video(folder / f"{number}.mp4", 5.0 if number == 2 else 2.0, seed=number)
    media.write_wav(folder / "voice.wav", fixtures.make_tone(2.0, 150.0))
    (folder / "annotations.jsonl").write_text('{"id": "a", "mouth": [10, 10, 30, 30]}\n')
    (folder / "clips.csv").write_text(
        "id,video,audio,text,speaker_audio,split\n"
        "a,0.mp4,,set blue,voice.wav,train\n"
        "b,1.mp4,,,,train\n"
        "c,2.mp4,,,,train\n"
        "d,,voice.wav,place red,,valid\n"
        "gone,gone.mp4,,,,test\n"
    )
    return folder / "clips.csv"


@needs_beam
@pytest.mark.parametrize(
    "options", ["", "--direct_num_workers=2 --direct_running_mode=multi_processing"]
)
def test_beam_and_the_processes_make_the_same_shards(manifest, tmp_path, options):
    flags = (f"--manifest={manifest}", "--max_seconds=2", "--clips_per_shard=2")
    done = tiny_configs.run("prepare", *flags, f"--out={tmp_path / 'beam'}", f"--beam={options}")
    assert done.returncode == 0, done.stderr
    assert "prepared 6 clips" in done.stdout
    prepare(manifest, tmp_path / "pool", workers=2, max_seconds=2, clips_per_shard=2,
            progress=False)  # fmt: skip
    files = read_files(tmp_path / "beam")
    assert files == read_files(tmp_path / "pool") and len(files) == 10
    done = tiny_configs.run(
        "prepare", *flags, f"--out={tmp_path / 'beam'}", "--beam=--runner=Nothing"
    )
    assert done.returncode == 0, "all is there: no runner is asked"


def test_without_beam_the_extra_is_named(manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # an import of it fails
    out = tmp_path / "out"
    done = in_process.run("prepare", f"--manifest={manifest}", f"--out={out}", "--beam=")
    assert done.returncode == 2
    assert "vssflow_jax[beam]" in done.stderr.splitlines()[-1]
    assert not list(out.glob("*.array_record"))
