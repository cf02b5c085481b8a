#!/usr/bin/env python3
"""Makes sensors.csv: synthetic readings of twelve electric motors.

No motor was measured. Each row stands for one minute of a vibration sensor with
a thermometer and a current clamp: speed and load, amplitudes of the vibration
at one, two and three times the speed, its energy in a high band, its kurtosis.
The state is one of four. What tells them apart follows what condition
monitoring looks for (unbalance shows at once the speed, misalignment at twice,
a worn bearing in the high band and the kurtosis), but every figure is made up.

It is meant to be learnable and not easy: faults begin mildly, sensors are noisy,
each motor has its own level, and each has mostly one kind of fault, so that a
client that holds one motor's rows does not see what the others see.

    python3 examples/sensors/make.py > examples/sensors/sensors.csv
"""

import math
import random
import sys

MOTORS = 12
ROWS_PER_MOTOR = 300
STATES = ["normal", "unbalance", "misalignment", "bearing-wear"]
COLUMNS = [
    "motor", "speed_rpm", "load", "temperature_c", "current_a", "velocity_rms_mm_s",
    "amplitude_1x", "amplitude_2x", "amplitude_3x", "high_band_g", "kurtosis", "state",
]


def main():
    draw = random.Random(1)
    rows = []
    for motor in range(MOTORS):
        # A motor's own level: mounting, age, place of the sensor.
        level = math.exp(draw.gauss(0.0, 0.22))
        warmth = draw.gauss(0.0, 3.0)
        ambient_c = draw.uniform(16.0, 26.0)
        # Half of its time it is sound, and most of its faults are of one kind.
        weights = [0.5, 0.06, 0.06, 0.06]
        weights[1 + motor % 3] += 0.32
        for _ in range(ROWS_PER_MOTOR):
            state = draw.choices(range(len(STATES)), weights)[0]
            severity = draw.betavariate(2.0, 1.6) if state else 0.0
            speed = draw.choice([1000.0, 1500.0, 3000.0]) * draw.uniform(0.96, 1.0)
            load = draw.betavariate(3.0, 2.0)
            quick = speed / 1500.0

            def noisy(value, part):
                return value * level * math.exp(draw.gauss(0.0, part))

            unbalance = severity if state == 1 else 0.0
            misalignment = severity if state == 2 else 0.0
            wear = severity if state == 3 else 0.0
            # Unbalance grows with the square of the speed.
            first = noisy(0.6 + 1.5 * unbalance * quick**1.3 + 0.5 * misalignment + 0.25 * load, 0.22)
            second = noisy(0.3 + 1.1 * misalignment * (0.5 + load) + 0.15 * unbalance, 0.25)
            third = noisy(0.15 + 0.45 * misalignment * load + 0.12 * wear, 0.3)
            high = noisy(0.25 + 0.2 * quick + 0.9 * wear * math.sqrt(quick), 0.28)
            # Impacts are lost in the noise once the bearing is far gone.
            kurtosis = 3.0 + 4.0 * wear * (1.3 - wear) + abs(draw.gauss(0.0, 0.45))
            rms = math.sqrt(first**2 + second**2 + third**2 + (0.4 * high) ** 2) * draw.gauss(1.0, 0.03)
            temperature = (
                ambient_c + warmth + 24.0 * load + 4.0 * quick + 8.0 * wear + 4.0 * misalignment
                + draw.gauss(0.0, 2.0)
            )
            current = 2.0 + 6.5 * load + 0.5 * misalignment + draw.gauss(0.0, 0.25)
            rows.append([
                f"motor-{motor + 1:02}", f"{speed:.0f}", f"{load:.2f}", f"{temperature:.1f}",
                f"{current:.2f}", f"{rms:.3f}", f"{first:.3f}", f"{second:.3f}", f"{third:.3f}",
                f"{high:.3f}", f"{kurtosis:.2f}", STATES[state],
            ])
    print(",".join(COLUMNS))
    for row in rows:
        print(",".join(row))


if __name__ == "__main__":
    sys.exit(main())
