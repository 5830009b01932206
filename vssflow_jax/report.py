"""Reports: of a run, of the conditions of a clip, of the face in a video.

    python -m vssflow_jax.report --workdir=RUN
    python -m vssflow_jax.report --workdir=RUN --clip=ID
    python -m vssflow_jax.report --video=in.mp4 --out=faces.png

The first writes RUN/report.html again. The second plots the effect of each condition on the
velocity over the time of a clip, into RUN/eval/attribution. The third writes a contact sheet of
the mouth that the face tracker follows in a video.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path
from vssflow_jax.config import command_line


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string("clip", None, "Id of a clip whose conditions are compared.")
    flags.DEFINE_string("split", "test", "Split of the shards, for --clip.")
    command_line.define_path("shards", "", "Prepared shards, for --clip; default: the run's.")
    command_line.define_path("video", None, "Video whose face is tracked.")
    flags.DEFINE_string("face", None, "Which face: x,y or x0,y0,x1,y1 in pixels; default: largest.")
    command_line.define_path("out", "", "Picture (.png) for --video; folder for --clip.")


def main() -> None:
    """Writes the report that the flags ask for."""
    values = flags.FLAGS
    if values.video is not None:
        from vssflow_jax.reports import face_tracking

        if not values.out:
            raise InputError("--out: found nothing, expected a .png name")
        face = face_tracking.parse_face(values.face)
        print(face_tracking.write_contact_sheet(values.video, to_path(values.out), face))
    elif values.workdir is None:
        raise InputError("expected --workdir=RUN or --video=in.mp4")
    elif values.clip is not None:
        from vssflow_jax.reports import attribution

        print(
            attribution.write_attribution(
                values.workdir, values.clip, values.split, values.shards, values.out
            )
        )
    else:
        from vssflow_jax.reports.run import write_report

        print(f"report: {write_report(values.workdir)}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
