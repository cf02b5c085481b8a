// A run as far as it is known here, kept up by server-sent events.

import type { Group, Rounds, Run, RunEvent, Update } from "./api";
import { figure } from "./format";

/** Events that are kept: as many as the server keeps. */
const EVENTS_MAX = 1000;

/** How things stand with the server. */
export type Link = "connecting" | "live" | "gone" | "ended";

export interface Client {
  condition: string;
  outcome: string;
  round: number;
  used: number;
  unused: number;
  line: string;
}

/** What a client is shown as: its condition, or how its last round ended for it. */
export const LOOKS = [
  "waiting",
  "booted",
  "ready",
  "playing",
  "ok",
  "surplus",
  "late",
  "rejected",
  "unreachable",
  "lost",
  "hung",
  "crashed",
] as const;
export type Look = (typeof LOOKS)[number];

export function lookOf(client: Client): Look {
  if (client.condition !== "ready" || client.outcome === "") return client.condition as Look;
  return (LOOKS as readonly string[]).includes(client.outcome)
    ? (client.outcome as Look)
    : "rejected";
}

/** What a part of the page wants to hear of. */
export type Topic = "run" | "rounds" | "clients" | "events" | "link";

export class RunState {
  run: Run | null = null;
  rounds: Rounds = {};
  clients: Client[] = [];
  events: RunEvent[] = [];
  link: Link = "connecting";
  /** Text for the live region. */
  news = "";
  #listeners = new Map<Topic, Set<() => void>>();
  #source: EventSource | null = null;
  #retry = 0;
  #spoken = 0;
  #round = 0;

  constructor(readonly id: string) {}

  /** Calls back when something of the topic has changed; the answer ends that. */
  on(topic: Topic, listener: () => void): () => void {
    let listeners = this.#listeners.get(topic);
    if (!listeners) this.#listeners.set(topic, (listeners = new Set()));
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  #tell(topic: Topic) {
    for (const listener of this.#listeners.get(topic) ?? []) listener();
  }

  #setLink(link: Link) {
    if (this.link === link) return;
    const was = this.link;
    this.link = link;
    if (link === "gone") this.#say("The server is gone. The page tries again every second.", true);
    if (link === "ended") this.#say("zfl has ended. This is how the run stood.", true);
    if (link === "live" && was !== "connecting") this.#say("The server is back.", true);
    this.#tell("link");
  }

  /** For those who hear the page: not more than a sentence every five seconds. */
  #say(text: string, isUrgent = false) {
    const now = Date.now();
    if (!isUrgent && now - this.#spoken < 5000) return;
    this.#spoken = now;
    this.news = text;
    this.#tell("link");
  }

  open() {
    const source = new EventSource(`/api/stream?run=${encodeURIComponent(this.id)}`);
    this.#source = source;
    source.addEventListener("update", (message) => {
      this.#setLink("live");
      this.apply(JSON.parse(message.data as string) as Update);
    });
    source.addEventListener("bye", () => this.#setLink("ended"));
    source.addEventListener("error", () => {
      if (this.link !== "ended") this.#setLink("gone");
      // The browser tries again by itself, with the last id, unless it was refused.
      if (source.readyState === EventSource.CLOSED && this.#source === source) {
        this.#retry = window.setTimeout(() => this.open(), 1000);
      }
    });
  }

  close() {
    window.clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
    this.#listeners.clear();
  }

  apply(update: Update) {
    if (update.reset) {
      this.rounds = {};
      this.clients = [];
      this.events = [];
      this.#round = 0;
    }
    if (update.run) {
      this.run = update.run;
      this.#tell("run");
    }
    if (update.rounds || update.reset) {
      this.#appendRounds(update.rounds ?? {});
      this.#tell("rounds");
    }
    if (update.clients || update.reset) {
      for (const [number, condition, outcome, round, used, unused, line] of update.clients ?? []) {
        while (this.clients.length < number) {
          this.clients.push({
            condition: "waiting",
            outcome: "",
            round: 0,
            used: 0,
            unused: 0,
            line: "",
          });
        }
        this.clients[number] = { condition, outcome, round, used, unused, line };
      }
      this.#tell("clients");
    }
    if (update.events || update.reset) {
      this.events.push(...(update.events ?? []));
      if (this.events.length > EVENTS_MAX) {
        this.events.splice(0, this.events.length - EVENTS_MAX);
      }
      this.#tell("events");
    }
    const round = this.run?.rounds ?? 0;
    if (round > this.#round && this.run?.standing === "running") {
      this.#round = round;
      const accuracy = last(this.rounds.accuracy);
      const rmse = last(this.rounds.rmse);
      this.#say(
        `Round ${round} of ${this.run.rounds_planned} is over` +
          (accuracy != null
            ? `: accuracy ${accuracy.toFixed(3)}.`
            : rmse != null
              ? `: RMSE ${figure(rmse)}.`
              : "."),
      );
    }
  }

  /** A column that has been empty so far has had no values, not none. */
  #appendRounds(more: Rounds) {
    const known = this.rounds.round?.length ?? 0;
    const count = more.round?.length ?? 0;
    for (const [name, values] of Object.entries(more)) {
      const column = (this.rounds[name] ??= new Array<null>(known).fill(null));
      for (const value of values) column.push(value);
    }
    for (const column of Object.values(this.rounds)) {
      while (column.length < known + count) column.push(null);
    }
  }

  group(client: number): Group | undefined {
    return this.run?.groups.find(
      (group) => client >= group.first && client < group.first + group.count,
    );
  }
}

export function last(column: (number | null)[] | undefined): number | null {
  for (let index = (column?.length ?? 0) - 1; index >= 0; index--) {
    const value = column?.[index];
    if (value != null) return value;
  }
  return null;
}
