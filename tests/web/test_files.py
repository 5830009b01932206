"""Files of visitors: deleted when no page shows them."""

import os
import time

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.web.files import VisitorFiles


@pytest.fixture
def files(tmp_path):
    return VisitorFiles(tmp_path)


def upload(folder, name):
    """A file as Gradio keeps uploads: in a folder named by its content."""
    path = folder / f"hash of {name}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
    return path


def test_a_replaced_upload_is_deleted_with_its_folder(files, tmp_path):
    first, second = upload(tmp_path, "a.mp4"), upload(tmp_path, "b.mp4")
    files.show("visitor", "video", [first])
    files.show("visitor", "video", [first])
    assert first.exists()
    files.show("visitor", "video", [second])
    assert not first.parent.exists() and second.exists()
    files.show("visitor", "video", [])
    assert list(tmp_path.iterdir()) == []


def test_other_files_beside_an_upload_stay(files, tmp_path):
    first, second = upload(tmp_path, "a.mp4"), tmp_path / "hash of a.mp4" / "copy.mp4"
    second.touch()
    files.show("visitor", "video", [first])
    files.show("visitor", "video", [])
    assert not first.exists() and second.exists()


def test_leaving_a_result_that_is_gone_leaves_the_folder_of_all(files, tmp_path):
    with files.open_result() as result:
        files.show("visitor", "result", [result])
        result.rmdir()  # its request failed
    files.leave("visitor")
    with files.open_result() as result:
        assert result.parent == tmp_path


def test_leaving_deletes_uploads_and_results(files, tmp_path):
    with files.open_result() as result:
        (result / "result.mp4").touch()
    for slot, path in (("video", upload(tmp_path, "a.mp4")), ("result", result)):
        files.show("visitor", slot, [path])
    files.leave("visitor")
    files.leave("visitor")
    files.leave("somebody who showed nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_two_pages_show_stays_until_both_have_left(files, tmp_path):
    path = upload(tmp_path, "a.mp4")
    files.show("first", "video", [path])
    files.show("second", "voice 1", [path])
    files.show("second", "voice 2", [path])
    files.leave("first")
    files.show("second", "voice 1", [])
    assert path.exists()
    files.leave("second")
    assert not path.exists()


def test_only_uploads_are_files_of_a_visitor(files, tmp_path, tmp_path_factory):
    """Visitors say themselves where their uploads are; all else on the disk is none."""
    other = tmp_path_factory.mktemp("other") / "private.wav"
    other.touch()
    (tmp_path / "link.wav").symlink_to(other)
    assert files.find_upload(None) is None
    path = str(upload(tmp_path, "a.mp4"))
    assert files.find_upload({"path": path}) == path
    with files.open_result() as result:
        pass
    for wrong in (str(other), f"{tmp_path}/../{other.parent.name}/private.wav", "", None,
                  str(tmp_path / "link.wav"), "private.wav", str(tmp_path),
                  str(result)):  # fmt: skip
        with pytest.raises(InputError, match="was not uploaded to this page"):
            files.find_upload({"path": wrong})
    assert other.exists()


def test_a_visitor_who_left_has_no_result(files):
    with files.open_result() as folder:
        files.show_result("visitor", folder, "a result")
    assert files.find_result("visitor") == "a result"
    files.leave("visitor")
    with pytest.raises(InputError, match="no result yet"):
        files.find_result("visitor")
    assert not folder.exists()


def test_results_expire_but_not_those_that_are_being_made(files):
    """However long a request lasts, nobody deletes what it writes before its page shows it."""
    with files.open_result() as folder:
        (folder / "result.wav").touch()
        os.utime(folder, (0, 0))
        files.delete_expired(60)
        assert folder.exists()
    files.delete_expired(60)
    assert folder.exists(), "its age counts from the end of its request"
    os.utime(folder, (0, 0))
    with files.expire_files(0.04):
        while folder.exists():
            time.sleep(0.01)


def test_uploads_that_no_page_shows_expire(files, tmp_path):
    """A caller may leave during an upload, of which then a part is left, or before its request."""
    uploaded, part = upload(tmp_path, "a.mp4"), tmp_path / "tmp1234"
    part.touch()
    files.delete_expired(60)
    assert uploaded.exists() and part.exists()
    recent = upload(tmp_path, "b.mp4")
    for path in (uploaded, part, recent.parent):
        os.utime(path, (0, 0))
    files.delete_expired(60)
    assert [*tmp_path.iterdir()] == [recent.parent] and recent.exists()
