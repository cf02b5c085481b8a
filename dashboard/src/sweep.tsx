// A sweep, live or over: what is searched, what was found, what mattered.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";

import { ask, type Sweep as Answer, type SweepRow } from "./api";
import { Chart, type Curve } from "./chart";
import { count, seconds } from "./format";
import { axis, show, title } from "./objective";
import { FigureList, SearchField } from "./parts";
import { LongTable } from "./table";

/** The sweep is asked for again so often. */
const EVERY_MS = 2000;
/** Whoever hears the page is told not more often. */
const NEWS_MS = 10_000;
/** Trials that can be compared at a time. */
const COMPARED_MAX = 8;
/** Where values of an axis differ by more than this, the axis is logarithmic. */
const WIDE = 30;

/** A trial, or a point of the front, where `rounds` is the round. */
interface Trial {
  trial: number;
  status: string;
  rounds: number;
  parameters: string[];
  objectives: (number | null)[];
  intervals: ([number, number] | null)[] | null;
  cpu_seconds: number | null;
  folder: string;
  detail: string;
}

interface Sweep extends Omit<Answer, "trials" | "front"> {
  trials: Trial[];
  front: Trial[];
}

function trialOf(row: SweepRow): Trial {
  const [trial, status, rounds, parameters, objectives, intervals, cpu_seconds, folder, detail] = row;
  return { trial, status, rounds, parameters, objectives, intervals, cpu_seconds, folder, detail };
}

/** Parameters by the last words of their keys, where those are distinct. */
function shortNames(keys: string[]): string[] {
  const short = keys.map((key) => key.split(".").at(-1) ?? key);
  return new Set(short).size === short.length ? short : keys;
}

/** Where the folder of a trial is, for the page of its run. */
function runLink(sweep: string, folder: string): string {
  const id = sweep === "." ? folder : `${sweep}/${folder}`;
  return `#/run/${encodeURIComponent(id)}`;
}

export function SweepPage({ id }: { id: string }) {
  const [sweep, setSweep] = useState<Sweep | null>(null);
  const [fault, setFault] = useState("");
  const [news, setNews] = useState("");
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    let [version, told, standing] = ["", 0, ""];
    const load = async () => {
      try {
        const answer = await ask<Answer | null>("sweep", { sweep: id, version });
        if (isOver) return;
        setFault("");
        if (answer) {
          const sweep = {
            ...answer,
            trials: answer.trials.map(trialOf),
            front: answer.front.map(trialOf),
          };
          version = sweep.version;
          setSweep(sweep);
          document.title = `${sweep.name} – zfl`;
          if (Date.now() - told > NEWS_MS || standing !== sweep.standing) {
            [told, standing] = [Date.now(), sweep.standing];
            setNews(`The sweep is ${standing}: ${progress(sweep)}.`);
          }
        }
      } catch (error) {
        const isGone = error instanceof TypeError;
        if (!isOver) {
          setFault(isGone ? "the server is gone – trying again" : (error as Error).message);
        }
      }
      if (!isOver) timer = window.setTimeout(() => void load(), EVERY_MS);
    };
    void load();
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [id]);
  return (
    <main>
      <header class="top">
        <h1>
          <a href="#/">runs</a> / {id === "." ? sweep?.name : id}
        </h1>
        <span class="hint">sweep</span>
        {sweep && <span class={`badge ${sweep.standing.replace(" ", "-")}`}>{sweep.standing}</span>}
        {fault && <span class="badge link-gone">{fault}</span>}
        <span class="unseen" role="status" aria-live="polite">
          {news}
        </span>
      </header>
      {sweep?.reason && <p class="fault">{sweep.reason}</p>}
      {!sweep && !fault && <p>reading…</p>}
      {sweep && (
        <>
          <Figures sweep={sweep} />
          <div class="panels">
            <Searched sweep={sweep} />
            <Front id={id} sweep={sweep} />
            <Importance sweep={sweep} />
            <Trials id={id} sweep={sweep} />
            <ConfirmedTrials id={id} sweep={sweep} />
            <section class="panel wide" aria-labelledby="file-title">
              <details>
                <summary>
                  <h2 id="file-title">sweep.toml</h2>
                </summary>
                <pre>{sweep.text}</pre>
              </details>
            </section>
          </div>
        </>
      )}
    </main>
  );
}

/** How many trials there are, are over, and will be. */
function counts({ summary, trials }: Sweep) {
  const begun = trials.length;
  const over = trials.filter(({ status }) => status !== "running").length;
  return { begun, over, planned: Math.max(summary?.trials.planned ?? 0, begun) };
}

function progress(sweep: Sweep): string {
  const { begun, over, planned } = counts(sweep);
  return begun === over
    ? `${over} of ${planned} trials are over`
    : `${over} of ${planned} trials are over, ${begun - over} begun`;
}

function Figures({ sweep }: { sweep: Sweep }) {
  const { summary, trials, front, objectives } = sweep;
  const [first] = objectives;
  const { over, planned } = counts(sweep);
  const of = (status: string) => trials.filter((trial) => trial.status === status).length;
  const best = bestOf(sweep);
  const figures: [string, string][] = [
    ["trials over", `${count(over)} of ${count(planned)}`],
    ["completed", count(of("completed"))],
    ["stopped early", count(of("stopped"))],
    ["failed", count(of("failed") + of("impossible"))],
  ];
  if (first && best) {
    figures.push([`best ${title(first)}`, `${show(first, best.objectives[0])}, trial ${best.trial}`]);
  }
  figures.push(
    ["points on the front", `${count(front.length)}${sweep.is_front_cut ? " and more" : ""}`],
    [
      "processor time (host clock)",
      seconds(trials.reduce((sum, trial) => sum + (trial.cpu_seconds ?? 0), 0)),
    ],
  );
  if (summary) figures.push(["wall time (host clock)", seconds(summary.host_seconds)]);
  return (
    <>
      <FigureList figures={figures} />
      <div class="progress">
        <progress aria-label="trials" value={over} max={Math.max(1, planned)} />
        <span>{progress(sweep)}</span>
      </div>
    </>
  );
}

/** The best trial by the first objective. */
function bestOf({ trials, objectives }: Sweep): Trial | undefined {
  const sign = objectives[0]?.is_maximised ? 1 : -1;
  const merit = (trial: Trial) => sign * (trial.objectives[0] ?? -sign * Infinity);
  return trials
    .filter((trial) => trial.objectives[0] != null)
    .reduce<Trial | undefined>(
      (best, trial) => (!best || merit(trial) > merit(best) ? trial : best),
      undefined,
    );
}

function Searched({ sweep }: { sweep: Sweep }) {
  const { summary, objectives, searched } = sweep;
  const asha = summary?.early_stopping;
  return (
    <section class="panel wide" aria-labelledby="searched-title">
      <h2 id="searched-title">What is searched</h2>
      {summary && (
        <p>
          {summary.search} search, seed {summary.seed}; {summary.rounds} rounds of each trial
          {asha && `, unless stopped early (ASHA) after ${asha.rungs.slice(0, -1).join(", ")}`}
          {summary.repeats > 1 && `; ${summary.repeats} repeats`}. Objectives:{" "}
          {objectives
            .map((objective) => `${title(objective)} (${objective.is_maximised ? "more" : "less"} is better)`)
            .join(", ")}
          .
        </p>
      )}
      <div class="scroll">
        <table class="runs">
          <thead>
            <tr>
              <th scope="col">parameter</th>
              <th scope="col">values</th>
              <th scope="col">only if</th>
            </tr>
          </thead>
          <tbody>
            {searched.map(({ key, values, when }) => (
              <tr key={key}>
                <th scope="row">{key}</th>
                <td>{values}</td>
                <td>{when || "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** A trial with its parameters. */
function describe({ parameters }: Sweep, row: Trial): string {
  const names = shortNames(parameters);
  const set = row.parameters
    .map((value, index) => value && `${names[index]} ${value}`)
    .filter(Boolean);
  return [`trial ${row.trial} after round ${row.rounds}`, ...set].join(", ");
}

function Front({ id, sweep }: { id: string; sweep: Sweep }) {
  const { objectives, trials, front, parameters } = sweep;
  const [first, ...others] = objectives;
  const folders = useMemo(
    () => new Map(trials.map(({ trial, folder }) => [trial, folder])),
    [trials],
  );
  if (!first) return null;
  const head = ["trial", "round", ...objectives.map(title), ...shortNames(parameters)];
  return (
    <section class="panel wide" aria-labelledby="front-title">
      <header>
        <h2 id="front-title">Pareto front</h2>
        <span class="hint">
          faint: a trial as far as it came; strong: a trial after a round that nothing beats in all
          objectives at once
        </span>
      </header>
      {others.length === 0 && <p>There is one objective, so that the front is its best trial.</p>}
      <div class="charts">
        {others.map((_, index) => (
          <FrontChart key={index} sweep={sweep} other={index + 1} />
        ))}
      </div>
      <Wide columns={head.length}>
        <LongTable
          label="points of the front, the best in the first objective first"
          head={head}
          columns={columnsOf(head.length)}
          height={180}
          count={front.length}
          row={(index) => {
            const point = front[index];
            if (!point) return [];
            return [
              <TrialLink id={id} trial={point.trial} folder={folders.get(point.trial) ?? ""} />,
              point.rounds,
              ...objectives.map((objective, place) => show(objective, point.objectives[place])),
              ...point.parameters.map((value) => value || "–"),
            ];
          }}
        />
      </Wide>
      {sweep.is_front_cut && (
        <p class="hint">The first {count(front.length)} points are shown; front.csv has all.</p>
      )}
    </section>
  );
}

function TrialLink({ id, trial, folder }: { id: string; trial: number; folder: string }) {
  if (!folder) return <>{trial}</>;
  return (
    <a href={runLink(id, folder)} aria-label={`trial ${trial}`}>
      {trial}
    </a>
  );
}

/** Room for so many columns: a narrow page scrolls by itself. */
function Wide({ columns, children }: { columns: number; children: preact.ComponentChildren }) {
  return (
    <div class="scroll">
      <div style={{ minWidth: `${columns * 88}px` }}>{children}</div>
    </div>
  );
}

const columnsOf = (count: number) => `repeat(${count}, minmax(0, 1fr))`;

/** The first objective against another: trials as they stand, and the front. */
function FrontChart({ sweep, other }: { sweep: Sweep; other: number }) {
  const listeners = useMemo(() => new Set<() => void>(), []);
  const { objectives, trials, front } = sweep;
  const [y, x] = [objectives[0]!, objectives[other]!];
  const points = useMemo(() => {
    const of = (rows: Trial[], isFront: boolean) =>
      rows
        .filter((row) => row.objectives[other] != null && row.objectives[0] != null)
        .map((row) => ({ x: row.objectives[other]!, y: row.objectives[0]!, row, isFront }));
    return [...of(trials, false), ...of(front, true)].sort((one, next) => one.x - next.x);
  }, [trials, front, other]);
  const latest = useRef({ sweep, points });
  latest.current = { sweep, points };
  useEffect(() => {
    for (const listener of listeners) listener();
  }, [points]);
  const data = useCallback((): uPlot.AlignedData => {
    const { points } = latest.current;
    const of = (isFront: boolean) =>
      points.map((point) => (point.isFront === isFront ? point.y : null));
    return [points.map((point) => point.x), of(false), of(true)];
  }, []);
  const onData = useCallback((listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  const name = (index: number) => {
    const { sweep, points } = latest.current;
    const point = points[index];
    return point ? describe(sweep, point.row) : "";
  };
  const format = (value: number) => show(y, value);
  const curves: Curve[] = [
    { label: "trials", colour: "--soft", format, points: 4, name },
    {
      label: "on the front",
      colour: "--curve-2",
      format,
      points: 7,
      name,
      // Between points of the front of two objectives nothing is better.
      isStepped: objectives.length === 2 && y.is_maximised && !x.is_maximised,
    },
  ];
  const [low, high] = [points[0]?.x ?? 0, points.at(-1)?.x ?? 0];
  const words = () => {
    const { points } = latest.current;
    const all = points.filter((point) => point.isFront);
    const ends = [all[0], all.at(-1)].filter((end) => end !== undefined);
    const of = (end: (typeof all)[number]) =>
      `${show(y, end.y)} at ${show(x, end.x)} (${describe(latest.current.sweep, end.row)})`;
    return (
      `${title(y)} over ${title(x)}: ${points.length - all.length} trials, ` +
      `${all.length} points on the front${ends.length > 0 ? `, from ${ends.map(of).join(" to ")}` : ""}`
    );
  };
  return (
    <Chart
      title={`${title(y)} against ${title(x)}`}
      x={axis(x)}
      y={axis(y)}
      curves={curves}
      data={data}
      formatX={(value) => show(x, value)}
      onData={onData}
      height={320}
      isWide={low > 0 && high / low > WIDE}
      describe={words}
    />
  );
}

function Importance({ sweep }: { sweep: Sweep }) {
  const importance = sweep.summary?.importance;
  return (
    <section class="panel wide" aria-labelledby="importance-title">
      <h2 id="importance-title">Which parameter mattered</h2>
      {!importance || importance.trials === 0 ? (
        <p>It is not known: no trial has come to a value yet.</p>
      ) : (
        <>
          <p class="hint">
            Part of the variance of {importance.objective.replaceAll("_", " ")} over{" "}
            {importance.trials} trials, all after round {importance.rounds}, that the means of a
            parameter’s values explain. What parameters do together is in no bar.
          </p>
          <table class="runs importance">
            <tbody>
              {importance.parameters.map(({ parameter, share }) => (
                <tr key={parameter}>
                  <th scope="row">{parameter}</th>
                  <td>{(share * 100).toFixed(share < 0.1 ? 1 : 0)} %</td>
                  <td class="bar">
                    <progress aria-label={`share of ${parameter}`} value={share} max={1} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  );
}

/** The column of the first objective. */
const FIRST_OBJECTIVE = 3;

interface TrialColumn {
  label: string;
  value: (trial: Trial) => number | string | null;
  show?: (trial: Trial) => preact.ComponentChildren;
}

/** As numbers where both are. */
function order(one: number | string, other: number | string): number {
  const [a, b] = [Number(one), Number(other)];
  if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
  return String(one) < String(other) ? -1 : String(one) > String(other) ? 1 : 0;
}

function Trials({ id, sweep }: { id: string; sweep: Sweep }) {
  const { trials, parameters, objectives } = sweep;
  const [sort, setSort] = useState<{ by: number; isDown: boolean } | null>(null);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [wanted, setWanted] = useState("");
  const names = shortNames(parameters);
  const columns: TrialColumn[] = [
    {
      label: "trial",
      value: ({ trial }) => trial,
      show: ({ trial, folder, status }) => (
        <TrialLink id={id} trial={trial} folder={status === "impossible" ? "" : folder} />
      ),
    },
    {
      label: "state",
      value: ({ status }) => status,
      show: ({ status, detail }) => <span title={detail}>{status}</span>,
    },
    { label: "rounds", value: ({ rounds }) => rounds },
    ...objectives.map((objective, index) => ({
      label: title(objective),
      value: (trial: Trial) => trial.objectives[index] ?? null,
      show: (trial: Trial) => {
        const [value, interval] = [trial.objectives[index], trial.intervals?.[index]];
        const text = show(objective, value);
        if (!interval) return text;
        const range = `${text} [${interval.map((end) => show(objective, end)).join(", ")}]`;
        return <span title={range}>{range}</span>;
      },
    })),
    ...names.map((label, index) => ({
      label,
      value: (trial: Trial) => trial.parameters[index] ?? "",
    })),
    { label: "processor time", value: ({ cpu_seconds }) => cpu_seconds },
  ];
  columns.at(-1)!.show = ({ cpu_seconds }) => (cpu_seconds == null ? "–" : seconds(cpu_seconds));
  // The best first, until somebody wants another order.
  const first = objectives[0];
  const { by, isDown } = sort ?? { by: first ? FIRST_OBJECTIVE : 0, isDown: first?.is_maximised ?? false };
  const column = columns[by] ?? columns[0]!;
  const rows = useMemo(() => {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const found = trials.filter((trial) => {
      if (words.length === 0) return true;
      const text = `${describe(sweep, trial)} ${trial.status} ${trial.detail}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const keyed = found.map((trial) => ({ trial, key: column.value(trial) }));
    const sign = isDown ? -1 : 1;
    // What has no value comes last, whichever way it is sorted.
    const hasKey = (one: (typeof keyed)[number]) => one.key !== null && one.key !== "";
    return [
      ...keyed.filter(hasKey).sort((one, other) => sign * order(one.key!, other.key!)),
      ...keyed.filter((one) => !hasKey(one)),
    ].map(({ trial }) => trial);
  }, [trials, by, isDown, wanted]);
  const toggle = (folder: string) => {
    const next = new Set(chosen);
    if (!next.delete(folder)) next.add(folder);
    setChosen(next);
  };
  const canCompare = chosen.size >= 2 && chosen.size <= COMPARED_MAX;
  const compared = [...chosen].map((folder) =>
    encodeURIComponent(id === "." ? folder : `${id}/${folder}`),
  );
  const head = ["compare", ...columns.map(({ label }) => label)];
  return (
    <section class="panel wide" aria-labelledby="trials-title">
      <header>
        <h2 id="trials-title">Trials</h2>
        <SearchField value={wanted} set={setWanted} />
        <span role="status">
          {count(rows.length)} of {count(trials.length)} trials
        </span>
        <a
          class="button"
          role="button"
          aria-disabled={!canCompare}
          href={canCompare ? `#/compare/${compared.join("/")}` : undefined}
        >
          compare {canCompare ? `these ${chosen.size}` : `two to ${COMPARED_MAX}`}
        </a>
      </header>
      <Wide columns={head.length}>
        <LongTable
          label="trials"
          head={head}
          columns={columnsOf(head.length)}
          height={400}
          count={rows.length}
          sort={{
            by: by + 1,
            isDown,
            first: 1,
            choose: (place) => setSort({ by: place - 1, isDown: place - 1 === by && !isDown }),
          }}
          row={(index) => {
            const trial = rows[index];
            if (!trial) return [];
            return [
              <input
                type="checkbox"
                aria-label={`compare trial ${trial.trial}`}
                disabled={trial.status === "impossible"}
                checked={chosen.has(trial.folder)}
                onChange={() => toggle(trial.folder)}
              />,
              ...columns.map(({ value, show }) => {
                const shown = show ? show(trial) : value(trial);
                return shown === "" || shown === null ? "–" : shown;
              }),
            ];
          }}
        />
      </Wide>
    </section>
  );
}

function ConfirmedTrials({ id, sweep }: { id: string; sweep: Sweep }) {
  const confirmed = sweep.summary?.confirmed ?? [];
  if (confirmed.length === 0) return null;
  return (
    <section class="panel wide" aria-labelledby="confirmed-title">
      <h2 id="confirmed-title">Confirmed on emulated devices</h2>
      <table class="runs">
        <thead>
          <tr>
            <th scope="col">trial</th>
            <th scope="col">rounds</th>
            <th scope="col">models</th>
            <th scope="col">outcome</th>
          </tr>
        </thead>
        <tbody>
          {confirmed.map((one) => (
            <tr key={one.trial}>
              <th scope="row">
                <a href={runLink(id, one.folder)}>trial {one.trial}, emulated</a>
              </th>
              <td>{one.rounds}</td>
              <td>{one.is_identical === null ? "–" : one.is_identical ? "identical" : "differ"}</td>
              <td>{one.outcome}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
