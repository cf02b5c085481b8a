// What the server says. Times are host time unless a name says otherwise.

export interface Listed {
  id: string;
  name: string;
  standing: string;
  rounds: number;
  rounds_planned: number;
  accuracy: number | null;
  /** In place of the accuracy where a number is learnt, in its unit. */
  rmse: number | null;
  loss: number | null;
  bytes_down: number;
  bytes_up: number;
  retransmissions: number | null;
  host_seconds: number;
  clients: number;
  seed: number | null;
  changed: number;
  fault: string;
}

/** What a trial is measured by. */
export interface Objective {
  name: string;
  unit: string;
  is_maximised: boolean;
}

export interface Best {
  trial: number;
  rounds: number;
  parameters: Record<string, string>;
  objectives: Record<string, number | null>;
}

export interface TrialCounts {
  all: number;
  /** At most; 0 where nobody says. */
  planned: number;
  completed: number;
  stopped: number;
  failed: number;
  impossible: number;
}

export interface ListedSweep {
  id: string;
  changed: number;
  overview: {
    name: string;
    standing: string;
    trials: TrialCounts;
    objectives: Objective[];
    best: Best | null;
    host_seconds: number | null;
  } | null;
  fault: string;
}

export interface List {
  folder: string;
  now: number;
  runs: Listed[];
  sweeps: ListedSweep[];
}

/**
 * A trial, or a point of the front: number, status, rounds (on the front the round), parameters,
 * objectives, their intervals, processor time, folder from the sweep's, why it failed.
 */
export type SweepRow = [
  trial: number,
  status: string,
  rounds: number,
  parameters: string[],
  objectives: (number | null)[],
  intervals: ([number, number] | null)[] | null,
  cpu_seconds: number | null,
  folder: string,
  detail: string,
];

export interface Confirmed {
  trial: number;
  rounds: number;
  folder: string;
  outcome: string;
  /** `null`: the emulated run did not come so far to tell. */
  is_identical: boolean | null;
}

export interface SweepSummary {
  search: string;
  seed: number;
  repeats: number;
  rounds: number;
  early_stopping: { reduction_factor: number; rungs: number[] } | null;
  trials: TrialCounts;
  importance: {
    objective: string;
    rounds: number;
    trials: number;
    parameters: { parameter: string; share: number }[];
  };
  confirmed: Confirmed[];
  host_seconds: number;
  workers: number;
}

export interface Sweep {
  version: string;
  name: string;
  standing: string;
  reason: string;
  searched: { key: string; values: string; when: string }[];
  summary: SweepSummary | null;
  parameters: string[];
  objectives: Objective[];
  trials: SweepRow[];
  front: SweepRow[];
  is_front_cut: boolean;
  text: string;
}

export interface Group {
  first: number;
  count: number;
  board: string;
  mcu: string;
  fidelity: string;
  link: string;
}

export interface Run {
  name: string;
  /** Of a sweep, whose folder is two above. */
  is_trial: boolean;
  standing: string;
  outcome: string;
  rounds_planned: number;
  rounds: number;
  clients: number;
  groups: Group[];
  round: number;
  selected: number;
  finished: number;
  host_seconds: number;
  is_reading: boolean;
  fault: string;
}

export type Column = (number | null)[];
export type Rounds = Record<string, Column>;

/** Number, condition, outcome, its round, updates used, updates not used, last line. */
export type ClientRow = [number, string, string, number, number, number, string];

export interface RunEvent {
  number: number;
  host_seconds: number;
  event: string;
  client: number | null;
  round: number | null;
  text: string;
}

export interface Update {
  reset?: boolean;
  run: Run | null;
  rounds?: Rounds;
  clients?: ClientRow[];
  events?: RunEvent[];
}

export interface Part {
  client: number;
  outcome: string;
  finished_host_seconds: number | null;
  host_seconds: number | null;
  device_clock_seconds: number | null;
  device_seconds: number | null;
  link_seconds_down: number | null;
  link_seconds_up: number | null;
  bytes_down: number | null;
  bytes_up: number | null;
  retransmissions: number | null;
  drops: number | null;
  faults: string;
  detail: string;
}

export interface RoundDetail {
  round: number;
  began_host_seconds: number | null;
  host_seconds: number | null;
  parts: Part[];
  is_cut: boolean;
}

export interface ClientDetail {
  client: number;
  device: number | null;
  consoles: string[];
  crashes: { name: string; text: string }[];
  row: Record<string, string>;
}

export interface ConsolePiece {
  from: number;
  to: number;
  text: string;
}

export interface RunInfo {
  settings: Record<string, string>;
  summary: Record<string, unknown> | null;
}

/** Asks the server; rejects with what it says where that is no success. */
export async function ask<T>(what: string, of: Record<string, string | number> = {}): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(of)) query.set(name, String(value));
  const text = query.toString();
  const response = await fetch(`/api/${what}${text && `?${text}`}`);
  if (!response.ok) throw new Error((await response.text()).trim());
  return (await response.json()) as T;
}
