"""A request descends through the floors of the package: it climbs back up in two places."""

from helpers import fixtures
from helpers.call_directions import record_climbs

from vssflow_jax import Generator

CLIMBS = {  # functions that are passed down to a loop
    ("flow.guidance", "models.windowed"),  # the velocity, to the solver
    ("common.chunking", "codecs.chunked"),  # the decoding of a chunk
}


def test_a_request_climbs_in_two_places(tiny_run, tmp_path):
    generator = Generator.from_workdir(tiny_run)
    video, text = fixtures.write_video(tmp_path / "in.mp4", seconds=2), "set blue at g nine now"
    climbs = record_climbs(
        lambda: generator(video=video, text=text, stems=True, steps=1, progress=lambda _: None)
    )
    modules = {tuple(".".join(name.split(".")[:2]) for name in pair) for pair in climbs}
    assert modules <= CLIMBS
