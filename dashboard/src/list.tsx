// All runs: find, sort, choose some to compare.

import { useEffect, useState } from "preact/hooks";

import { ask, type List, type Listed, type ListedSweep } from "./api";
import { ago, bytes, count, figure, seconds, share } from "./format";
import { show, title } from "./objective";
import { SearchField } from "./parts";

/** The list is read again so often. */
const EVERY_MS = 2000;

/** A run, or a sweep as one. */
type Entry = Listed & { sweep?: ListedSweep };

interface Heading {
  label: string;
  order: (entry: Entry) => number | string;
  /** The largest first. */
  isDown?: boolean;
}

const HEADINGS: Heading[] = [
  { label: "run", order: (run) => run.id },
  { label: "standing", order: (run) => run.standing },
  { label: "changed", order: (run) => run.changed, isDown: true },
  { label: "rounds", order: (run) => run.rounds, isDown: true },
  { label: "accuracy", order: (run) => run.accuracy ?? -1, isDown: true },
  { label: "RMSE", order: (run) => run.rmse ?? Infinity },
  { label: "loss", order: (run) => run.loss ?? Infinity },
  { label: "clients", order: (run) => run.clients, isDown: true },
  { label: "messages", order: (run) => run.bytes_down + run.bytes_up },
  { label: "host time in rounds", order: (run) => run.host_seconds },
  { label: "seed", order: (run) => run.seed ?? 0 },
];

/** A sweep among runs: what its best trial came to. */
function entryOf(sweep: ListedSweep): Entry {
  const { overview } = sweep;
  const best = overview?.best?.objectives ?? {};
  const trials = overview?.trials;
  const over = trials
    ? trials.completed + trials.stopped + trials.failed + trials.impossible
    : 0;
  return {
    id: sweep.id,
    name: overview?.name ?? "",
    standing: overview?.standing ?? "",
    rounds: over,
    rounds_planned: Math.max(trials?.planned ?? 0, trials?.all ?? 0),
    accuracy: best.accuracy ?? null,
    rmse: best.rmse ?? null,
    loss: best.loss ?? null,
    bytes_down: 0,
    bytes_up: 0,
    retransmissions: null,
    host_seconds: 0,
    clients: 0,
    seed: null,
    changed: sweep.changed,
    fault: sweep.fault,
    sweep,
  };
}

/** All objectives of the best trial, in words. */
function bestOf({ overview }: ListedSweep): string {
  const best = overview?.best;
  if (!overview || !best) return "–";
  const values = overview.objectives.map(
    (objective) => `${title(objective)} ${show(objective, best.objectives[objective.name])}`,
  );
  return `best: ${values.join(", ")}`;
}

export function ListPage() {
  const [list, setList] = useState<List | null>(null);
  const [fault, setFault] = useState("");
  const [wanted, setWanted] = useState("");
  const [standing, setStanding] = useState("");
  const [sort, setSort] = useState({ by: 2, isTurned: false });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    document.title = "runs – zfl";
    let isOver = false;
    let timer = 0;
    const load = async () => {
      try {
        const answer = await ask<List>("runs");
        if (isOver) return;
        setList(answer);
        setFault("");
      } catch {
        if (!isOver) setFault("the server is gone – trying again");
      }
      if (!isOver) timer = window.setTimeout(() => void load(), EVERY_MS);
    };
    void load();
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, []);
  useEffect(() => {
    // The dashboard of one run, or one sweep: there is nothing to choose.
    if (list?.runs.some(({ id }) => id === ".")) location.replace("#/run/.");
    if (list?.sweeps.some(({ id }) => id === ".")) location.replace("#/sweep/.");
  }, [list]);
  const heading = HEADINGS[sort.by] ?? HEADINGS[0]!;
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const all: Entry[] = [...(list?.runs ?? []), ...(list?.sweeps ?? []).map(entryOf)];
  const runs = all
    .filter((run) => standing === "" || run.standing === standing)
    .filter((run) => {
      const kind = run.sweep ? "sweep" : `seed ${run.seed}`;
      const text = `${run.id} ${run.name} ${run.standing} ${kind}`.toLowerCase();
      return words.every((word) => text.includes(word));
    })
    .sort((one, other) => {
      const [a, b] = [heading.order(one), heading.order(other)];
      const order = a < b ? -1 : a > b ? 1 : 0;
      return (heading.isDown ?? false) !== sort.isTurned ? -order : order;
    });
  const standings = [...new Set(all.map((run) => run.standing))].sort();
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  return (
    <main>
      <header class="top">
        <h1>Runs</h1>
        <span class="hint">{list?.folder}</span>
        {fault && <span class="badge link-gone">{fault}</span>}
      </header>
      <div class="tools">
        <SearchField value={wanted} set={setWanted} />
        <label>
          standing{" "}
          <select value={standing} onChange={(event) => setStanding(event.currentTarget.value)}>
            <option value="">any</option>
            {standings.map((standing) => (
              <option key={standing}>{standing}</option>
            ))}
          </select>
        </label>
        <span role="status">
          {runs.length} of {all.length} runs
        </span>
        <a
          class="button"
          role="button"
          aria-disabled={chosen.size < 2}
          href={
            chosen.size < 2
              ? undefined
              : `#/compare/${[...chosen].map(encodeURIComponent).join("/")}`
          }
        >
          compare {chosen.size < 2 ? "two or more" : `these ${chosen.size}`}
        </a>
      </div>
      {list && all.length === 0 && (
        <p>There is no run here yet. `zfl run FILE` makes one in runs/; it shows up by itself.</p>
      )}
      {runs.length > 0 && (
        <div class="scroll">
          <table class="runs">
            <thead>
              <tr>
                <th scope="col">compare</th>
                {HEADINGS.map(({ label, isDown }, index) => (
                  <th
                    key={label}
                    scope="col"
                    aria-sort={
                      index !== sort.by
                        ? "none"
                        : (isDown ?? false) !== sort.isTurned
                          ? "descending"
                          : "ascending"
                    }
                  >
                    <button
                      type="button"
                      class="plain"
                      onClick={() =>
                        setSort({ by: index, isTurned: index === sort.by && !sort.isTurned })
                      }
                    >
                      {label}
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {runs.slice(0, 500).map((run) => (
                <tr key={run.id}>
                  <td>
                    {!run.sweep && (
                      <input
                        type="checkbox"
                        aria-label={`compare ${run.id}`}
                        checked={chosen.has(run.id)}
                        onChange={() => toggle(run.id)}
                      />
                    )}
                  </td>
                  <td>
                    <a href={`#/${run.sweep ? "sweep" : "run"}/${encodeURIComponent(run.id)}`}>
                      {run.id === "." ? run.name : run.id}
                    </a>
                    {run.sweep && <span class="hint"> sweep</span>}
                    {run.fault && <span class="fault"> {run.fault}</span>}
                  </td>
                  <td>
                    <span class={`badge ${run.standing.replace(" ", "-")}`}>{run.standing}</span>
                  </td>
                  <td>{ago(run.changed, list?.now ?? run.changed)}</td>
                  <td>
                    {run.rounds} of {run.rounds_planned}
                    {run.sweep && " trials"}
                  </td>
                  <td>{share(run.accuracy)}</td>
                  <td>{figure(run.rmse)}</td>
                  <td>{share(run.loss)}</td>
                  {run.sweep ? (
                    <td colSpan={4}>{bestOf(run.sweep)}</td>
                  ) : (
                    <>
                      <td>{count(run.clients)}</td>
                      <td>{bytes(run.bytes_down + run.bytes_up)}</td>
                      <td>{seconds(run.host_seconds)}</td>
                      <td>{run.seed}</td>
                    </>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {runs.length > 500 && <p class="hint">The first 500 are shown; look for the others above.</p>}
    </main>
  );
}
