// What rounds are drawn over.

import type { Column, Rounds } from "./api";
import { bytes, energy, seconds } from "./format";

export interface Over {
  /** With what it is counted in, and the clock of a time. */
  label: string;
  /** The column; a round before the first value has used nothing. */
  column: string;
  format: (value: number) => string;
}

export const OVER: Record<string, Over> = {
  round: {
    label: "round",
    column: "round",
    format: (value) => String(Number(value.toFixed(1))),
  },
  bytes: {
    label: "bytes of messages, down and up",
    column: "bytes_total",
    format: bytes,
  },
  device: {
    label: "device time, the slowest client of each round (device clock)",
    column: "device_seconds_total",
    format: seconds,
  },
  energy: {
    label: "energy of all clients (by their profiles)",
    column: "energy_mj_total",
    format: energy,
  },
  host: {
    label: "host time in rounds (host clock)",
    column: "host_seconds_total",
    format: seconds,
  },
};

/** Whether there is anything to draw over. */
export function has(rounds: Rounds, over: string): boolean {
  return over === "round" || rounds[OVER[over]?.column ?? ""] !== undefined;
}

export function valuesOf(rounds: Rounds, over: Over): Column {
  return (rounds[over.column] ?? []).map((value) => value ?? 0);
}
