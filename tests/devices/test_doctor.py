from orilla.devices.doctor import engine, examine, opencv


def test_one_opencv_is_right():
    assert opencv({"opencv-python-headless": "5.0.0"}).passed


def test_two_opencv_wheels_are_explained_with_the_command_that_mends_it():
    finding = opencv({"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"})
    assert not finding.passed
    assert "the last one installed wins" in finding.detail
    assert finding.mend == "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"


def test_what_is_missing_is_named():
    assert opencv({}).mend == "pip install opencv-python-headless"
    assert engine({}).mend == "pip install ai-edge-litert"


def test_this_installation_is_sound():
    assert [finding.name for finding in examine() if not finding.passed] == []
