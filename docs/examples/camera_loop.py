"""Run the road model on a source and print the position of the road: `python docs/examples/camera_loop.py [SOURCE]`."""

import sys

import orilla.runtime

source = sys.argv[1] if len(sys.argv) > 1 else "scenes"
with orilla.runtime.open("road") as model:
    for tick in model.stream(source):
        ahead = tick.result.mask()[-100:]
        columns = ahead.nonzero()[1]
        print(tick.index, round(columns.mean()) if columns.size else "no road ahead", f"{tick.age_ms:.0f} ms")
        if tick.index >= 20:
            break
