"""The properties of a drive: camera, road, weather, light and traffic. The seed of the drive determines them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
"""Colour as blue, green and red, each 0–255."""

VERGE_COLORS = ((60, 115, 85), (95, 120, 140), (120, 125, 125), (70, 90, 100))


@dataclass(frozen=True, slots=True)
class Drive:
    """All properties of one drive. Colours are BGR 0–255."""

    seed: int
    focal: float
    """Focal length as a multiple of the image width."""
    horizon: float
    """Distance of the horizon from the upper edge of the image, as a share of the image's height."""
    camera_m: float
    """Height of the camera above the ground in metres."""
    speed_mps: float
    """Speed in metres per second."""
    half_width_m: float
    """Half the width of the road in metres."""
    offset_m: float
    """Mean distance of the camera from the centre of the road in metres, positive to the right."""
    curvature: float
    """Mean curvature of the road in 1/m."""
    swing: float
    """Amplitude of the curvature changes in 1/m."""
    lanes: int
    pavement_m: float
    """Width of the pavement in metres, or 0 if there is none."""
    asphalt: Color
    verge: Color
    sky: Color
    shadow: float
    """Darkness of shadows, from 0 (none) to 0.7."""
    visibility_m: float
    exposure: float
    """Factor by which the brightness is multiplied."""
    night: bool
    rain: float
    """Strength of the rain, 0–1."""
    noise: float
    """Standard deviation of the sensor's noise, in units of the pixel values 0–255."""
    traffic: float
    """Mean number of vehicles per 100 metres of a lane."""

    @classmethod
    def from_seed(cls, seed: int) -> Drive:
        """Return the drive that belongs to a seed. It is the same on every machine."""
        rng = np.random.default_rng([seed, 0x0A111A])
        night = rng.random() < 0.15
        fog = rng.random() < 0.2
        grey = rng.uniform(60, 150)
        return cls(
            seed=seed,
            focal=rng.uniform(0.75, 1.15),
            horizon=rng.uniform(0.38, 0.52),
            camera_m=rng.uniform(1.1, 1.8),
            speed_mps=rng.uniform(6, 22),
            half_width_m=rng.uniform(3.0, 7.5),
            offset_m=rng.uniform(-1.8, 1.8),
            curvature=rng.normal(0, 0.004),
            swing=rng.uniform(0, 0.004),
            lanes=int(rng.integers(1, 4)),
            pavement_m=rng.choice([0.0, rng.uniform(1.2, 3.0)]),
            asphalt=tint(rng, grey),
            verge=tint(rng, VERGE_COLORS[rng.integers(len(VERGE_COLORS))]),
            sky=tint(rng, (225, 200, 170) if not fog else (205, 205, 205)),
            shadow=rng.choice([0.0, rng.uniform(0.3, 0.7)]),
            visibility_m=rng.uniform(35, 120) if fog else rng.uniform(300, 900),
            exposure=rng.uniform(0.45, 0.8) if night else rng.uniform(0.7, 1.25),
            night=night,
            rain=rng.uniform(0.2, 1.0) if rng.random() < 0.2 else 0.0,
            noise=rng.uniform(1, 9),
            traffic=rng.uniform(0.5, 4.0),
        )


def tint(rng: np.random.Generator, color: float | tuple[int, ...]) -> Color:
    """Return a random colour near `color`. A single number specifies a grey."""
    b, g, r = np.asarray(color, np.float64) * rng.uniform(0.85, 1.15) + rng.normal(0, 5, 3)
    return float(b), float(g), float(r)
