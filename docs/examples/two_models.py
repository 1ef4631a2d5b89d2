"""Run two models on one source: `python docs/examples/two_models.py [SOURCE]`."""

import sys

import orilla.runtime

source = sys.argv[1] if len(sys.argv) > 1 else "scenes"
with orilla.runtime.open("road") as road, orilla.runtime.open("mobilenet") as pets:
    for tick in orilla.runtime.together(road=road, pets=pets).stream(source):
        print(tick.index, f"{tick.result['road'].fraction:.2f}", tick.result["pets"].top.label)
        if tick.index >= 10:
            break
