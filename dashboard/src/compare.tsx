// Several runs: their curves over each other, and what is different in them.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { ask, type Rounds, type Run, type RunInfo } from "./api";
import { Chart, type Curve } from "./chart";
import { has, OVER, valuesOf } from "./curves";
import { bytes, energy, figure, seconds, share } from "./format";
import { OverChoice } from "./over";
import { last } from "./state";

/** Runs whose curves can be told apart. */
const RUNS_MAX = 8;
const EVERY_MS = 2000;

interface Compared {
  id: string;
  run: Run;
  rounds: Rounds;
  settings: Record<string, string>;
}

export function ComparePage({ ids }: { ids: string[] }) {
  const wanted = ids.slice(0, RUNS_MAX);
  const key = JSON.stringify(wanted);
  const [runs, setRuns] = useState<Compared[]>([]);
  const [fault, setFault] = useState("");
  const [over, setOver] = useState("round");
  const listeners = useMemo(() => new Set<() => void>(), []);
  const latest = useRef(runs);
  latest.current = runs;
  useEffect(() => {
    document.title = "compared runs – zfl";
    let isOver = false;
    let timer = 0;
    const load = async () => {
      try {
        const answers = await Promise.all(
          wanted.map(async (id) => {
            const known = latest.current.find((run) => run.id === id);
            // What is over stays as it is.
            if (known && known.run.standing !== "running" && !known.run.is_reading) return known;
            const [{ run, rounds }, { settings }] = await Promise.all([
              ask<{ run: Run; rounds: Rounds }>("rounds", { run: id }),
              ask<RunInfo>("run", { run: id }),
            ]);
            return { id, run, rounds, settings };
          }),
        );
        if (isOver) return;
        latest.current = answers;
        setRuns(answers);
        setFault("");
        for (const listener of listeners) listener();
      } catch (error) {
        if (!isOver) setFault((error as Error).message);
      }
      if (!isOver) timer = window.setTimeout(() => void load(), EVERY_MS);
    };
    void load();
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [key]);
  const onData = useCallback((listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  const axis = OVER[over] ?? OVER.round!;
  const name = (run: Compared) => (run.id === "." ? run.run.name : run.id);
  const chart = (column: string, title: string, y: string, format: (value: number) => string) => {
    const isDrawn = ({ rounds }: Compared) => rounds[column] && has(rounds, over);
    const drawn = runs.filter(isDrawn);
    if (drawn.length === 0) return null;
    const curves: Curve[] = drawn.map((run) => {
      const index = runs.indexOf(run);
      return {
        label: name(run),
        colour: `--curve-${(index % 4) + 1}`,
        dash: index < 4 ? undefined : [6, 4],
        format,
      };
    });
    return (
      <Overlay
        key={column}
        title={title}
        y={y}
        curves={curves}
        over={over}
        data={() =>
          uPlot.join(
            latest.current
              .filter(isDrawn)
              .map(({ rounds }) => [
                valuesOf(rounds, axis) as number[],
                rounds[column] as (number | null)[],
              ]),
          )
        }
        onData={onData}
      />
    );
  };
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))].sort();
  const different = keys.filter(
    (key) => new Set(runs.map((run) => run.settings[key] ?? "–")).size > 1,
  );
  const results: [string, (run: Compared) => string][] = [
    ["standing", ({ run }) => run.standing],
    ["rounds", ({ run }) => `${run.rounds} of ${run.rounds_planned}`],
    ["accuracy", ({ rounds }) => share(last(rounds.accuracy))],
    [
      "best accuracy",
      ({ rounds }) =>
        share(rounds.accuracy ? rounds.accuracy.reduce((a, b) => ((b ?? -1) > (a ?? -1) ? b : a)) : null),
    ],
    ["loss", ({ rounds }) => share(last(rounds.loss))],
    ["messages", ({ rounds }) => bytes(last(rounds.bytes_total) ?? 0)],
    ["host time in rounds", ({ rounds }) => seconds(last(rounds.host_seconds_total) ?? 0)],
  ];
  if (runs.some((run) => run.rounds.rmse)) {
    results.splice(2, 0, ["RMSE", ({ rounds }) => figure(last(rounds.rmse))]);
  }
  for (const [label, column, format] of [
    ["device time", "device_seconds_total", seconds],
    ["energy", "energy_mj_total", energy],
  ] as const) {
    if (!runs.some((run) => run.rounds[column])) continue;
    results.push([
      label,
      ({ rounds }) => {
        const value = last(rounds[column]);
        return value == null ? "–" : format(value);
      },
    ]);
  }
  const without = runs.filter((run) => !has(run.rounds, over)).length;
  return (
    <main>
      <header class="top">
        <h1>
          <a href="#/">runs</a> / compared
        </h1>
        {fault && <span class="badge link-gone">{fault}</span>}
        {ids.length > RUNS_MAX && <span class="hint">the first {RUNS_MAX} are shown</span>}
      </header>
      <div class="panels">
        <section class="panel wide" aria-labelledby="curves-title">
          <header>
            <h2 id="curves-title">Curves</h2>
            <OverChoice over={over} choose={setOver} runs={runs.map(({ rounds }) => rounds)} />
            {without > 0 && <span class="hint">no such numbers in {without} of {runs.length} runs</span>}
          </header>
          <div class="charts">
            {chart("accuracy", "accuracy on the test set", "share", share)}
            {chart("rmse", "error on the test set", "RMSE, unit of the target", figure)}
            {chart("loss", "loss on the test set", "loss", share)}
          </div>
        </section>
        <section class="panel wide" aria-labelledby="results-title">
          <h2 id="results-title">Results</h2>
          <Matrix runs={runs} name={name} rows={results} />
        </section>
        <section class="panel wide" aria-labelledby="differences-title">
          <h2 id="differences-title">Differences of configuration</h2>
          {different.length === 0 && runs.length > 0 && <p>All keys are equal.</p>}
          <Matrix
            runs={runs}
            name={name}
            rows={different.map((key) => [key, (run) => run.settings[key] ?? "–"])}
          />
        </section>
      </div>
    </main>
  );
}

function Matrix(props: {
  runs: Compared[];
  name: (run: Compared) => string;
  rows: [string, (run: Compared) => string][];
}) {
  if (props.rows.length === 0) return null;
  return (
    <div class="scroll">
      <table class="runs">
        <thead>
          <tr>
            <td />
            {props.runs.map((run) => (
              <th scope="col" key={run.id}>
                <a href={`#/run/${encodeURIComponent(run.id)}`}>{props.name(run)}</a>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map(([label, value]) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {props.runs.map((run) => (
                <td key={run.id}>{value(run)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface OverlayProps {
  title: string;
  y: string;
  curves: Curve[];
  over: string;
  data: () => uPlot.AlignedData;
  onData: (listener: () => void) => () => void;
}

function Overlay({ title, y, curves, over, data, onData }: OverlayProps) {
  const axis = OVER[over] ?? OVER.round!;
  const current = useRef(data);
  current.current = data;
  const read = useCallback(() => current.current(), [over]);
  return (
    <Chart
      title={title}
      x={axis.label}
      y={y}
      curves={curves}
      data={read}
      formatX={axis.format}
      onData={onData}
      height={260}
      sync={`compare ${over}`}
    />
  );
}
