"""Folders of class folders, folders of videos, mixed folders and globs as sources."""

import os

import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.registry import open_source


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        factories.write_picture(folder / name, factories.picture())
    return folder


def items(spec):
    source = open_source(spec)
    read = []
    while (item := source.read()) is not None:
        read.append(item)
    source.close()
    assert [item.index for item in read] == list(range(len(read)))
    return read


def names(spec):
    return [item.name for item in items(spec) if isinstance(item, Frame)]


def test_a_folder_of_class_folders_is_read_in_natural_order(tmp_path):
    write(tmp_path, "cat/10.png", "cat/9.png", "dog/1.png", "top2.png", "Top10.png", ".hidden/1.png", "cat/.1.png")
    (tmp_path / "cat" / "notes.txt").write_text("x")
    assert names(tmp_path) == ["cat/9.png", "cat/10.png", "dog/1.png", "top2.png", "Top10.png"]


def test_a_glob_selects_files_and_folders(tmp_path):
    write(tmp_path, "a/1.png", "a/b/2.png", "c/3.jpg", "c/[4].png")
    assert names(tmp_path / "*" / "*.png") == ["a/1.png", "c/[4].png"]
    assert names(tmp_path / "**" / "*.png") == ["a/1.png", "a/b/2.png", "c/[4].png"]
    assert names(tmp_path / "?") == ["a/1.png", "a/b/2.png", "c/3.jpg", "c/[4].png"]
    assert names(tmp_path / "c" / "[4].png") == ["[4].png"], "an existing file is not a pattern"


def test_the_times_of_a_folder_of_videos_continue(tmp_path):
    factories.video(tmp_path / "clip2.avi", 3)
    factories.video(tmp_path / "clip10.avi", 2)
    source = open_source(tmp_path)
    assert source.rate_hz == pytest.approx(10, rel=2)
    source.close()
    frames = items(tmp_path)
    assert [frame.name for frame in frames] == [f"clip2.avi/{n}" for n in range(3)] + [
        f"clip10.avi/{n}" for n in (0, 1)
    ]
    period_ns = frames[1].time_ns
    assert [frame.time_ns for frame in frames] == [pytest.approx(n * period_ns, abs=1e6) for n in range(5)]


def test_images_and_videos_can_be_mixed(tmp_path):
    write(tmp_path, "1.png", "3.png")
    factories.video(tmp_path / "2.avi", 2)
    read = items(tmp_path)
    assert [frame.name for frame in read] == ["1.png", "2.avi/0", "2.avi/1", "3.png"]
    assert {frame.time_ns for frame in read} == {None}
    assert open_source(tmp_path).rate_hz is None


@pytest.mark.parametrize("bad", ["0.avi", "2.avi", "2.png"])
def test_an_unreadable_file_costs_only_itself(tmp_path, bad):
    factories.video(tmp_path / "1.avi", 1)
    write(tmp_path, "3.png")
    (tmp_path / bad).write_bytes(b"\0" * 5000)
    read = items(tmp_path)
    assert [item.kind for item in read if isinstance(item, Event)] == ["corrupt"]
    assert [item.name for item in read if isinstance(item, Frame)] == ["1.avi/0", "3.png"]


def test_a_pipe_in_a_folder_is_reported(tmp_path):
    os.mkfifo(tmp_path / "1.mp4")
    write(tmp_path, "2.png")
    event, frame = items(tmp_path)
    assert "pipe" in event.detail
    assert frame.name == "2.png"


def test_an_unreadable_first_video_does_not_change_the_order(tmp_path):
    (tmp_path / "0.avi").write_bytes(b"\0" * 5000)
    factories.video(tmp_path / "1.avi", 1)
    first, second = items(tmp_path)
    assert (first.kind, second.name, second.time_ns) == ("corrupt", "1.avi/0", 0)


def test_a_link_back_is_not_followed_for_ever(tmp_path):
    write(tmp_path, "a/1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/1.png"]


def test_a_folder_and_a_link_to_it_are_read_once_under_the_name_of_the_folder(tmp_path):
    write(tmp_path, "in/new/1.png", "in/old/2.png", "elsewhere/3.png")
    for name, target in (("in/latest", "new"), ("in/a", "old"), ("in/more", "../elsewhere"), ("in/again", "more")):
        (tmp_path / name).symlink_to(target)
    assert names(tmp_path / "in") == ["again/3.png", "new/1.png", "old/2.png"]


def test_the_name_of_an_existing_folder_is_not_a_pattern(tmp_path):
    write(tmp_path, "photos [2020]/1.png", "photos [2020]/b1/2.png", "photos 2/3.png", "wow ! clip.png")
    assert names(tmp_path / "photos [2020]" / "*.png") == ["1.png"]
    assert names(tmp_path / "photos [2020]" / "**" / "*.png") == ["1.png", "b1/2.png"]
    assert names(tmp_path / "photos [2020]" / "b[0-9]" / "*") == ["b1/2.png"]
    assert names(tmp_path / "wow ! clip.png") == ["wow ! clip.png"], "an existing file is not a pipeline"


def test_numbered_images_may_begin_with_any_number_and_have_gaps(tmp_path):
    """FFmpeg would stop at the first gap, and would not turn the images."""
    write(tmp_path, "f0098.png", "f0099.png", "f0101.png", "f102.png", "f0103.jpg", "g5.png", "g10.png", "g011.png")
    read = items(tmp_path / "f%04d.png")
    assert [frame.name for frame in read] == ["f0098.png", "f0099.png", "f0101.png"]
    assert [frame.time_ns for frame in read] == [0, 40_000_000, 80_000_000]
    assert open_source(tmp_path / "f%04d.png").rate_hz == 25
    assert names(tmp_path / "g%d.png") == ["g5.png", "g10.png"]
    factories.video(tmp_path / "clip1.avi", 2)
    factories.video(tmp_path / "clip3.avi", 1)
    assert names(tmp_path / "clip%d.avi") == ["clip1.avi/0", "clip1.avi/1", "clip3.avi/0"]
    assert open_source(tmp_path / "clip%d.avi").rate_hz == open_source(tmp_path / "clip1.avi").rate_hz


@pytest.mark.parametrize("suffix", [".JPE", ".dib", ".apng", ".pam"])
def test_images_with_rare_suffixes_are_not_omitted(tmp_path, suffix):
    write(tmp_path, "1.png")
    (tmp_path / "1.png").rename(tmp_path / f"1{suffix}")
    assert names(tmp_path) == [f"1{suffix}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_listed_is_reported(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a").chmod(0)
    try:
        event, frame = items(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)
    assert "Permission denied" in event.detail
    assert frame.name == "b/2.png"


def test_an_empty_folder_or_glob_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for spec, message in [
        (tmp_path, "no images or videos in"),
        (tmp_path / "*.jpg", r"no file matches .*\*\.jpg"),
        (tmp_path / "*", "none of the 1 files that match"),
        ("drive.mp4?fps=3", r"no file matches drive\.mp4\?fps=3"),
    ]:
        with pytest.raises((SourceError, ConfigError), match=message) as caught:
            open_source(spec)
        assert "\n" not in str(caught.value)


def test_the_names_of_images_in_folders_stay_distinct(tmp_path, tiny_bundle):
    from orilla.runtime.cli import main

    write(tmp_path / "in", "cat/1.png", "dog/1.png")
    factories.video(tmp_path / "in" / "clip.avi", 2)
    code = main(["run", str(tiny_bundle), "--source", str(tmp_path / "in"), "--sink", f"frames:{tmp_path / 'out'}"])
    assert code == 0
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["cat-1.jpg", "clip.avi-0.jpg", "clip.avi-1.jpg", "dog-1.jpg"]
