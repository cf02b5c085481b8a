// What happened, the last first.

import { useEffect, useState } from "preact/hooks";

import type { RunEvent } from "./api";
import { forget, soon } from "./draw";
import { short } from "./format";
import { SearchField } from "./parts";
import type { RunState } from "./state";
import { LongTable } from "./table";

/** What somebody may have to look at. */
const TROUBLE =
  /client-finished|client-lost|failed|panic|fault|hung|refused|ended|unaccounted|late|interrupted/;

export function Events({ state, choose }: { state: RunState; choose: (client: number) => void }) {
  const [wanted, setWanted] = useState("");
  const [isTrouble, setIsTrouble] = useState(false);
  const [, redraw] = useState(0);
  useEffect(() => {
    const job = {};
    const end = state.on("events", () => soon(job, () => redraw((count) => count + 1)));
    return () => {
      end();
      forget(job);
    };
  }, [state]);
  const words = wanted.toLowerCase();
  const isWanted = (event: RunEvent) =>
    (!isTrouble || TROUBLE.test(event.event)) &&
    (words === "" ||
      `${event.event} client ${event.client} ${event.text}`.toLowerCase().includes(words));
  const shown = state.events.filter(isWanted).reverse();
  return (
    <section class="panel wide" aria-labelledby="events-title">
      <header>
        <h2 id="events-title">Events</h2>
        <SearchField value={wanted} set={setWanted} />
        <label class="switch">
          <input
            type="checkbox"
            checked={isTrouble}
            onChange={(event) => setIsTrouble(event.currentTarget.checked)}
          />{" "}
          trouble only
        </label>
        <span class="hint">
          {shown.length} of the last {state.events.length}; all are in events.jsonl
        </span>
      </header>
      <LongTable
        label="events"
        head={["client", "host time / s", "round", "event", "what"]}
        columns="4.5rem 7rem 4rem 12rem 1fr"
        count={shown.length}
        height={260}
        choose={(index) => {
          const client = shown[index]?.client;
          if (client != null) choose(client);
        }}
        row={(index) => {
          const event = shown[index];
          if (!event) return [];
          return [
            event.client ?? "",
            short(event.host_seconds),
            event.round ?? "",
            event.event,
            <span title={event.text}>{event.text}</span>,
          ];
        }}
      />
    </section>
  );
}
