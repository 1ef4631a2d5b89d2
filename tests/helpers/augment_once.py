"""Apply every augmentation layer once with the backend in `KERAS_BACKEND`, and check what it returns."""

import keras
import numpy as np

from orilla.train.data import augment


def main() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (8, 32, 48, 3)).astype(np.float32)
    for layer in (augment.RandomAffine(), augment.RandomColour(), augment.RandomLight()):
        changed = augment.apply(layer, images, 1)
        assert changed.shape == images.shape, layer
        assert np.isfinite(changed).all(), layer
        assert not np.allclose(changed, images), layer
    truths = images[:, ::2, ::2, :1]
    mirrored = augment.RandomMirror()((images, truths), seed=1)
    both = [np.asarray(keras.ops.convert_to_numpy(array)) for array in mirrored]
    flipped = [np.array_equal(one, image[:, ::-1]) for one, image in zip(both[0], images, strict=True)]
    assert 0 < sum(flipped) < len(images)
    for index, flip in enumerate(flipped):
        for one, original in zip(both, (images, truths), strict=True):
            assert np.array_equal(one[index], original[index][:, ::-1] if flip else original[index])


main()
