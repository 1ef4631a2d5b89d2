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

import tf_keras
from helpers.keras_archives import ARCHIVES, StoredModel, archive_names, max_difference, unpack

DIFFERS = {
    "2.3.0-tf": {},
}
"""Models of which tf_keras computes something else than the Keras that wrote them, and the reason."""


def main(pattern=""):
    """Compare all models of Keras 2 whose file name contains the pattern, and return the exit status."""
    failures = []
    for archive in archive_names():
        if not archive.startswith("2.") or "-theano" in archive:
            continue
        with tempfile.TemporaryDirectory() as folder:
            models = unpack(ARCHIVES / f"{archive}.tar.xz", Path(folder)).models.values()
            results = [compare(archive, stored, file) for stored in models for file in stored.files]
        results = [result for result in results if re.search(pattern, result[0])]
        equal = sum(text == "equal" for _, text in results)
        print(f"{archive}: {equal} of {len(results)} files give the stored answers in tf_keras {tf_keras.__version__}")
        for name, text in results:
            if text != "equal":
                print(f"  {name}: {text}")
        failures += [name for name, text in results if text.startswith("differs")]
    return 1 if failures else 0


def compare(archive: str, stored: StoredModel, file: Path) -> tuple[str, str]:
    """Return the name of a file, and `equal`, the difference, or why tf_keras cannot read it."""
    tf_keras.backend.clear_session()
    try:
        model = tf_keras.models.load_model(file, compile=False)
        answers = model.predict(list(stored.inputs), batch_size=len(stored.inputs[0]), verbose=0)
    except Exception as error:  # noqa: BLE001 - every file is listed.
        return file.name, "not read: " + (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
    if isinstance(answers, dict):
        answers = [answers[key] for key in sorted(answers)]
    found = max_difference(answers if isinstance(answers, list) else [answers], stored.outputs)
    if found <= stored.tolerance:
        return file.name, "equal"
    known = DIFFERS.get(archive, {}).get(stored.name)
    return file.name, f"known to differ: {known}" if known else f"differs by {found:.1e}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
