"""Contract tests that every sink must pass."""

import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.registry import SINKS, sink_opener
from orilla.runtime.tasks.segment import decode


@pytest.fixture(params=SINKS)
def open_sink(request, tmp_path):
    """Return a function that opens the sink on a file. The sink `window` is skipped if it cannot be opened here."""

    def opened():
        try:
            return sink_opener(f"{request.param}:{tmp_path / 'out.avi'}")(25.0)
        except (ConfigError, MissingExtraError) as error:
            if request.param != "window":
                raise
            pytest.skip(str(error))

    return opened


def test_a_sink_takes_ticks_of_changing_size_and_leaves_one_whole_file(open_sink, tmp_path):
    path = tmp_path / "out.avi"
    sink = open_sink()
    for index, size in enumerate([(48, 64), (30, 50), (480, 640)]):
        frame = factories.ListSource([factories.picture(*size)]).read()
        result = decode(np.full((4, 4, 1), 0.7, np.float32), size, "road")
        assert sink.write(Tick(frame, result, {"infer": 1.0}, 1000 + index)) is True
        assert not path.exists()
    sink.close(complete=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out.avi"]
    assert path.stat().st_size > 0
