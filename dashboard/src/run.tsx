// One run, live or over.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

import { ask, type RunInfo } from "./api";
import { Chart, type Curve } from "./chart";
import { ClientPanel } from "./client";
import { OVER, valuesOf } from "./curves";
import { forget, soon } from "./draw";
import { Events } from "./events";
import { Fleet } from "./fleet";
import { bytes, count, energy, figure, seconds, share } from "./format";
import { OverChoice } from "./over";
import { FigureList } from "./parts";
import { last, RunState } from "./state";
import { LongTable } from "./table";
import { Timeline } from "./timeline";

/** Rounds whose host time tells how long the rest takes. */
const PACE_ROUNDS = 10;

export function RunPage({ id }: { id: string }) {
  const state = useMemo(() => new RunState(id), [id]);
  const [, redraw] = useState(0);
  const [chosen, setChosen] = useState<number | null>(null);
  const [over, setOver] = useState("round");
  useEffect(() => {
    const job = {};
    const refresh = () => soon(job, () => redraw((count) => count + 1));
    const ends = [state.on("run", refresh), state.on("link", refresh), state.on("rounds", refresh)];
    state.open();
    return () => {
      ends.forEach((end) => end());
      forget(job);
      state.close();
    };
  }, [state]);
  useEffect(() => {
    document.title = `${state.run?.name ?? id} – zfl`;
  });
  const run = state.run;
  const has = (name: string) => state.rounds[name] !== undefined;
  return (
    <main>
      <header class="top">
        <h1>
          <a href="#/">runs</a> /{" "}
          {run?.is_trial && (
            <>
              <SweepLink id={id} /> /{" "}
            </>
          )}
          {run?.is_trial ? id.split("/").slice(-2).join("/") : run?.name || id}
        </h1>
        {run && <span class={`badge ${run.standing.replace(" ", "-")}`}>{run.standing}</span>}
        <LinkBadge state={state} />
      </header>
      {run?.fault && <p class="fault">{run.fault}</p>}
      {run?.outcome && <p class="fault">{run.outcome}</p>}
      {run ? <Figures state={state} /> : <p>{state.link === "gone" ? "" : "reading…"}</p>}
      <div class="panels">
        <section class="panel wide" aria-labelledby="curves-title">
          <header>
            <h2 id="curves-title">Curves</h2>
            <OverChoice over={over} choose={setOver} runs={[state.rounds]} />
            <span class="hint">drag to look closer, double-click to see all again</span>
          </header>
          <div class="charts">
            {(has("accuracy") || !has("rmse")) && (
              <Curves
                state={state}
                title="accuracy on the test set"
                y="share"
                over={over}
                names={[["accuracy", "accuracy", "--curve-1"]]}
                format={share}
              />
            )}
            {has("rmse") && (
              <Curves
                state={state}
                title="error on the test set"
                y="RMSE, unit of the target"
                over={over}
                names={[["rmse", "RMSE", "--curve-1"]]}
                format={figure}
              />
            )}
            <Curves
              state={state}
              title="loss on the test set"
              y={has("rmse") ? "half mean squared error" : "nats"}
              over={over}
              names={[["loss", "loss", "--curve-2"]]}
              format={share}
            />
            <Curves
              state={state}
              title="messages of each round"
              y="bytes"
              over={over}
              isCount
              names={[
                ["bytes_down", "down", "--down"],
                ["bytes_up", "up", "--up"],
              ]}
              format={bytes}
            />
            <Curves
              state={state}
              title="updates of each round"
              y="clients"
              over={over}
              isCount
              names={[
                ["clients_selected", "selected", "--soft"],
                ["clients_ok", "used", "--curve-3"],
                ["faults", "faults on purpose", "--bad"],
              ]}
              format={count}
            />
            {has("retransmissions_down") && (
              <Curves
                state={state}
                title="links: sent again and dropped, each round"
                y="segments, frames"
                over={over}
                isCount
                names={[
                  ["retransmissions_down", "sent again, down", "--down"],
                  ["retransmissions_up", "sent again, up", "--up"],
                  ["drops", "frames dropped", "--bad"],
                ]}
                format={count}
              />
            )}
            {has("nic_bytes_in") && (
              <Curves
                state={state}
                title="links: all frames of the fleet, each round"
                y="bytes"
                over={over}
                isCount
                names={[
                  ["nic_bytes_in", "to the devices", "--down"],
                  ["nic_bytes_out", "from the devices", "--up"],
                ]}
                format={bytes}
              />
            )}
          </div>
        </section>
        <Fleet state={state} chosen={chosen} choose={setChosen} />
        {chosen !== null && (
          <ClientPanel state={state} client={chosen} close={() => setChosen(null)} />
        )}
        <Timeline state={state} choose={setChosen} />
        <Events state={state} choose={setChosen} />
        <Rounds state={state} />
        <Configuration id={id} standing={run?.standing ?? ""} />
      </div>
    </main>
  );
}

/** To the sweep whose trial this is, unless that is above all that is served. */
function SweepLink({ id }: { id: string }) {
  const folders = id.split("/").filter((folder) => folder !== ".");
  if (folders.length < 2) return <>a trial</>;
  const sweep = folders.slice(0, -2).join("/") || ".";
  return (
    <a href={`#/sweep/${encodeURIComponent(sweep)}`}>{sweep === "." ? "the sweep" : sweep}</a>
  );
}

function LinkBadge({ state }: { state: RunState }) {
  const words = {
    connecting: "connecting",
    live: state.run?.is_reading ? "reading the records" : "up to date",
    gone: "the server is gone – trying again",
    ended: "zfl has ended – this is how the run stood",
  };
  return (
    <>
      <span class={`badge link-${state.link}`} data-link={state.link}>
        {words[state.link]}
      </span>
      <span class="unseen" role="status" aria-live="polite">
        {state.news}
      </span>
    </>
  );
}

function Figures({ state }: { state: RunState }) {
  const { run, rounds } = state;
  if (!run) return null;
  const sum = last(rounds.bytes_total);
  const [device, used] = [last(rounds.device_seconds_total), last(rounds.energy_mj_total)];
  const paces = (rounds.host_seconds ?? []).slice(-PACE_ROUNDS).filter((pace) => pace != null);
  const pace = paces.reduce((all, pace) => all + pace, 0) / Math.max(1, paces.length);
  const left = run.rounds_planned - run.rounds;
  const updates = last(rounds.clients_ok);
  const figures: [string, string][] = [
    ["rounds", `${run.rounds} of ${run.rounds_planned}`],
    rounds.rmse
      ? ["RMSE", figure(last(rounds.rmse))]
      : ["accuracy", share(last(rounds.accuracy))],
    ...(rounds.r_squared ? [["R²", share(last(rounds.r_squared))] as [string, string]] : []),
    ["loss", share(last(rounds.loss))],
    ["clients", count(run.clients)],
    [
      "updates, last round",
      updates == null ? "–" : `${updates} of ${last(rounds.clients_selected)}`,
    ],
    ["messages", sum == null ? "–" : bytes(sum)],
    ...(device == null ? [] : [["device time", seconds(device)] as [string, string]]),
    ...(used == null ? [] : [["energy", energy(used)] as [string, string]]),
    ["host time", seconds(run.host_seconds)],
  ];
  if (run.standing === "running") {
    figures.push(["left", paces.length > 0 && left > 0 ? `about ${seconds(pace * left)}` : "–"]);
  }
  const isPlaying = run.standing === "running" && run.round > 0;
  return (
    <>
      <FigureList figures={figures} />
      <div class="progress">
        <progress
          aria-label="rounds"
          value={run.rounds}
          max={Math.max(1, run.rounds_planned)}
        />
        <span>
          {isPlaying
            ? `round ${run.round}: ${run.finished} of ${run.selected} clients have answered`
            : run.standing}
        </span>
      </div>
    </>
  );
}

interface CurvesProps {
  state: RunState;
  title: string;
  y: string;
  over: string;
  /** Column, label, colour. */
  names: [string, string, string][];
  format: (value: number) => string;
  isCount?: boolean;
}

function Curves({ state, title, y, over, names, format, isCount }: CurvesProps) {
  const axis = OVER[over] ?? OVER.round!;
  const shown = names.filter(([name]) => state.rounds[name] !== undefined || names.length === 1);
  const key = shown.map(([name]) => name).join();
  const data = useCallback(() => {
    const { rounds } = state;
    const columns = shown.map(([name]) => rounds[name] ?? []);
    return [valuesOf(rounds, axis) as number[], ...columns] as [number[], ...(number | null)[][]];
  }, [state, over, key]);
  const onData = useCallback((listener: () => void) => state.on("rounds", listener), [state]);
  const curves: Curve[] = shown.map(([, label, colour]) => ({ label, colour, format }));
  return (
    <Chart
      title={title}
      x={axis.label}
      y={y}
      curves={curves}
      data={data}
      formatX={axis.format}
      onData={onData}
      isCount={isCount}
      sync={`${state.id} ${over}`}
    />
  );
}

function Rounds({ state }: { state: RunState }) {
  const names = [
    "round",
    "accuracy",
    "rmse",
    "r_squared",
    "loss",
    "clients_ok",
    "clients_selected",
    "faults",
    "bytes_down",
    "bytes_up",
    "retransmissions_down",
    "retransmissions_up",
    "drops",
    "device_seconds",
    "energy_mj",
    "host_seconds",
  ].filter((name) => state.rounds[name]);
  const count = state.rounds.round?.length ?? 0;
  return (
    <section class="panel wide" aria-labelledby="rounds-title">
      <details>
        <summary>
          <h2 id="rounds-title">Rounds</h2>
        </summary>
        <LongTable
          label="rounds, the last first"
          head={names}
          columns={`repeat(${Math.max(1, names.length)}, minmax(5rem, 1fr))`}
          count={count}
          row={(index) => names.map((name) => state.rounds[name]?.[count - 1 - index] ?? "")}
        />
      </details>
    </section>
  );
}

function Configuration({ id, standing }: { id: string; standing: string }) {
  const [info, setInfo] = useState<RunInfo | null>(null);
  const [fault, setFault] = useState("");
  useEffect(() => {
    let isOver = false;
    ask<RunInfo>("run", { run: id }).then(
      (answer) => !isOver && setInfo(answer),
      (error: Error) => !isOver && setFault(error.message),
    );
    return () => {
      isOver = true;
    };
  }, [id, standing]);
  const summary = Object.entries(info?.summary ?? {}).filter(
    ([, value]) => value !== null && typeof value !== "object",
  );
  return (
    <section class="panel wide" aria-labelledby="configuration-title">
      <details>
        <summary>
          <h2 id="configuration-title">Configuration and summary</h2>
        </summary>
        {fault && <p class="fault">{fault}</p>}
        <h3>experiment.toml</h3>
        <dl class="counters">
          {Object.entries(info?.settings ?? {}).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
        {summary.length > 0 && <h3>summary.json</h3>}
        <dl class="counters">
          {summary.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{String(value)}</dd>
            </div>
          ))}
        </dl>
      </details>
    </section>
  );
}
