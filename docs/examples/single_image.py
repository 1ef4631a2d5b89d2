"""Classify one image file: `python docs/examples/single_image.py IMAGE`."""

import sys

import cv2

import orilla.runtime

image = cv2.imread(sys.argv[1])
with orilla.runtime.open("mobilenet") as model:
    for candidate in model(image).result.top_k(2):
        print(f"{candidate.label} {candidate.score:.2f}")
