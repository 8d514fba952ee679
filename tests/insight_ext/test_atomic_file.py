from __future__ import annotations

import os

import pytest

from insight_ext.atomic_file import write_atomically


def test_a_file_gets_its_content_and_nothing_is_left_beside(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        write_atomically(path, lambda beside, text=text: beside.write_text(text))
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_whole(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(beside):
        beside.write_text("half of the n")
        assert path.read_text() == "old"
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_beside_has_the_files_ending(tmp_path):
    seen = []
    write_atomically(tmp_path / "file.csv", lambda p: (seen.append(p.suffix), p.touch()))
    assert seen == [".csv"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_atomically(link, lambda beside: beside.write_text("new"))
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.csv").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file and stays"):
        write_atomically(tmp_path / "link.csv", lambda beside: beside.write_text("new"))
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2
