// What trials of a sweep are measured by, for people.

import type { Objective } from "./api";
import { bytes, count, energy, figure, seconds, share } from "./format";

/** A value of an objective, with its unit. */
export function show({ name, unit }: Objective, value: number | null | undefined): string {
  if (value == null) return "–";
  if (unit === "bytes") return bytes(Number(value.toPrecision(6)));
  if (unit === "rounds") return count(value);
  if (unit === "s of device time") return seconds(value);
  if (unit === "mJ") return energy(value);
  return /^(accuracy|loss)/.test(name) ? share(value) : figure(value);
}

/** An objective in words. */
export function title({ name }: Objective): string {
  if (name === "rounds_used") return "rounds";
  if (name === "bytes") return "bytes of messages";
  return name
    .replace("device_seconds", "device time")
    .replace("energy_mj", "energy")
    .replaceAll("_", " ");
}

/** The same on an axis: with its unit, and the clock of a time. */
export function axis(objective: Objective): string {
  const { name, unit } = objective;
  if (unit === "bytes") return `${title(objective)}, down and up`;
  const of = /^accuracy/.test(name)
    ? "share of the test set"
    : /^rmse/.test(name)
      ? "unit of the target"
      : unit === "s of device time"
        ? "device clock"
        : unit;
  return of && of !== title(objective) ? `${title(objective)} (${of})` : title(objective);
}
