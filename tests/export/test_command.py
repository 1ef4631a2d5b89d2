"""The commands that load Keras reject invalid input."""

from helpers import factories
from helpers.command import refuse


def test_bad_input_gets_one_line_and_exit_code_2(tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 12, (90, 120))
    refuse("train", "road", "--data", "scenes", "--out", tmp_path / "run", "--seed", -1, match="seed -1")
    refuse("train", "road", "--data", "scenes", "--out", tmp_path / "run", "--input", "\u00b2x64", match="--input")
    refuse("export", clip, "--out", tmp_path / "a.orilla", match="clip.avi is a video")
    refuse("export", tmp_path, "--out", tmp_path / "a.zip", match="the name of a bundle must end in .orilla")
    refuse("train", "road", "--data", "scnes", "--out", tmp_path / "run", match="did you mean scenes")
    refuse("export", tmp_path, "--out", tmp_path / "a.orilla", match="is a folder, not a Keras model")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
