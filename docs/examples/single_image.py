"""Classify one image file: `python docs/examples/single_image.py IMAGE`."""

import sys

import orilla.runtime

with orilla.runtime.open("mobilenet") as model:
    for candidate in model(sys.argv[1]).result.top_k(2):
        print(f"{candidate.label} {candidate.score:.2f}")
