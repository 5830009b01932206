"""Reports: of a run, of the conditions of a clip, of the face in a video.

    python -m vssflow_jax.report --workdir=RUN
    python -m vssflow_jax.report --workdir=RUN --clip=ID
    python -m vssflow_jax.report --video=in.mp4 --out=faces.png

The first writes RUN/report.html again, or --out=FILE. The second plots the effect of each condition
on the velocity over the time of a clip, into RUN/eval/attribution. The third writes a contact sheet
of the mouth that the face tracker follows in a video.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import check_writable, to_path
from vssflow_jax.config import command_line

REPORTS = {  # by the flag that asks for one: the flags that it takes
    "video": ("video", "face", "out"),
    "clip": ("clip", "workdir", "split", "shards", "out"),
    "workdir": ("workdir", "out"),
}


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string("clip", None, "Id of a clip whose conditions are compared.")
    flags.DEFINE_string("split", "test", "Split of the shards, for --clip.")
    command_line.define_path("shards", "", "Prepared shards, for --clip; default: the run's.")
    command_line.define_path("video", None, "Video whose face is tracked.")
    flags.DEFINE_string("face", None, "Which face: x,y or x0,y0,x1,y1 in pixels; default: largest.")
    command_line.define_path("out", "", "Picture (.png) for --video; folder for --clip; or page.")


def find_report() -> str:
    """The one of REPORTS that the flags ask for.

    Raises:
      InputError: they ask for none, or hold one that it does not take.
    """
    values = flags.FLAGS
    report = next((name for name in REPORTS if values[name].value is not None), None)
    if report is None or (report == "clip" and values.workdir is None):
        raise InputError("expected --workdir=RUN or --video=in.mp4")
    others = {name for names in REPORTS.values() for name in names} - {*REPORTS[report]}
    for name in sorted(others):
        if values[name].present:
            takes = ", ".join(f"--{flag}" for flag in REPORTS[report])
            raise InputError(f"--{name}: found beside --{report}, expected some of {takes}")
    return report


def main() -> None:
    """Writes the report that the flags ask for."""
    values, report = flags.FLAGS, find_report()
    if report == "video":
        from vssflow_jax.reports import face_tracking

        if not values.out:
            raise InputError("--out: found nothing, expected a .png name")
        face = face_tracking.parse_face(values.face)
        print(face_tracking.write_contact_sheet(values.video, to_path(values.out), face))
    elif report == "clip":
        from vssflow_jax.reports import attribution

        print(
            attribution.write_attribution(
                values.workdir, values.clip, values.split, values.shards, values.out
            )
        )
    else:
        from vssflow_jax.reports.run import write_report

        if values.out:
            check_writable(values.out)
        print(f"report: {write_report(values.workdir, values.out)}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
