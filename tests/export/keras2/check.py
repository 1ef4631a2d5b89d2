"""Compare the stored answers with those of tf_keras: `python check.py`, in an environment with tf_keras.

tf_keras continues Keras 2 and reads the files of most of its versions. A model that it cannot read is listed with the
reason. The command fails if an answer differs.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import tf_keras
from helpers.keras_archives import ARCHIVES, StoredModel, archive_names, max_difference, unpack

REPEATED = "this version repeats the last output at masked time steps, tf_keras writes zeros"

DIFFERS = {
    "2.0.8": {"masking-bidirectional-sequences": REPEATED},
    "2.2.4": {
        "masking-bidirectional-sequences": REPEATED,
        "up-sampling-2d-bilinear": "TensorFlow 1 interpolates between the corners of the pixels, not their centres",
    },
    "2.3.0-tf": {"masking-bidirectional-sequences": REPEATED},
}
"""Models for which tf_keras computes different answers from the Keras that wrote them, and the reason."""


def main(pattern=""):
    """Compare all models of Keras 2 whose file name contains the pattern, and return the exit status."""
    failed = False
    for archive in archive_names():
        if not archive.startswith("2.") or "-theano" in archive:
            continue
        with tempfile.TemporaryDirectory() as folder:
            models = unpack(ARCHIVES / f"{archive}.tar.xz", Path(folder)).models.values()
            files = [(stored, file) for stored in models for file in stored.files if re.search(pattern, file.name)]
            results = {file.name: compare(archive, stored, file) for stored, file in files}
        equal = sum(text == "equal" for text in results.values())
        print(f"{archive}: tf_keras {tf_keras.__version__} gives the stored answers of {equal} of {len(files)} files")
        for name, text in results.items():
            if text != "equal":
                print(f"  {name}: {text}", flush=True)
        failed = failed or any(text.startswith("differs") for text in results.values())
    return int(failed)


def compare(archive: str, stored: StoredModel, file: Path) -> str:
    """Return `equal`, the difference, or the reason why tf_keras cannot read a file."""
    tf_keras.backend.clear_session()
    try:
        model = tf_keras.models.load_model(file, compile=False)
        given = [tf_keras.backend.constant(x, dtype=x.dtype) for x in stored.inputs]
        answers = model(given if len(given) > 1 else given[0], training=False)
    except Exception as error:  # noqa: BLE001 - every file is listed.
        return "not read: " + (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
    if isinstance(answers, dict):
        answers = [answers[key] for key in sorted(answers)]
    answers = answers if isinstance(answers, list | tuple) else [answers]
    found = max_difference([np.asarray(answer) for answer in answers], stored.outputs)
    if found <= stored.tolerance:
        return "equal"
    known = DIFFERS.get(archive, {}).get(stored.name)
    return f"known to differ: {known}" if known else f"differs by {found:.1e}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
