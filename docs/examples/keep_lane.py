"""Let a model steer a simulated car: `python docs/examples/keep_lane.py [BUNDLE]`.

Without a bundle, the steering is exact.

orilla train regress --data scene_steering --out runs/lane
orilla export runs/lane --out lane.orilla
python docs/examples/keep_lane.py lane.orilla
"""

import sys

import orilla.runtime
from orilla.runtime.scenes.car import LANE_M, Car, lane_drive, lane_figures
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.sources.simulated_car import SimulatedCar

start = Pose(LANE_M + 0.6, 0.0)  # 0.6 m to the right of the lane's centre
road = SimulatedCar(Car(lane_drive(seed=700_000_001), start), frames=400)  # 20 seconds
if len(sys.argv) > 1:
    with orilla.runtime.open(sys.argv[1]) as model:
        for tick in model.stream(road):
            road.steer(tick.result["steering"])  # The angle is in degrees. The next frame shows its effect.
            if tick.index % 20 == 0:
                print(f"{tick.index / 20:3.0f} s  {tick.result['steering']:+.2f} deg  {road.lane_offsets_m[-1]:+.2f} m")
else:
    while road.read() is not None:
        road.steer(road.car.exact_steering_deg())
print("rms {:.2f} m, at most {:.2f} m from the lane's centre, {} departures".format(*lane_figures(road.lane_offsets_m)))
