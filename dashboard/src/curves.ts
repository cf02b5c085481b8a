// What rounds are drawn over.

import type { Column, Rounds } from "./api";
import { bytes, seconds } from "./format";

export interface Over {
  label: string;
  values: (rounds: Rounds) => Column;
  format: (value: number) => string;
}

export const OVER: Record<string, Over> = {
  round: {
    label: "round",
    values: (rounds) => rounds.round ?? [],
    format: (value) => String(Number(value.toFixed(1))),
  },
  bytes: {
    label: "bytes of messages, down and up",
    values: (rounds) => rounds.bytes_total ?? [],
    format: bytes,
  },
  host: {
    label: "host time in rounds",
    values: (rounds) => rounds.host_seconds_total ?? [],
    format: seconds,
  },
};
