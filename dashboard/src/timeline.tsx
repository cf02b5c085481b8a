// Who did what when in a round. One clock at a time: they are never mixed.

import { useEffect, useRef, useState } from "preact/hooks";

import { ask, type Part, type RoundDetail } from "./api";
import { colour, fit, forget, onScheme, soon } from "./draw";
import { seconds } from "./format";
import type { RunState } from "./state";

const CLOCKS = {
  host: "host time",
  device: "device time",
  link: "link time",
} as const;
type Clock = keyof typeof CLOCKS;

interface Bar {
  label: string;
  colour: string;
  from: number;
  to: number;
}

/** The bars of a client's part, by one clock. */
function barsOf(part: Part, clock: Clock, now: number): Bar[] {
  if (clock === "device") {
    const [whole, training] = [part.device_seconds, part.device_clock_seconds];
    if (whole != null) return [{ label: "round on the part", colour: "--train", from: 0, to: whole }];
    if (training == null) return [];
    return [{ label: "training, by its own clock", colour: "--train", from: 0, to: training }];
  }
  if (clock === "link") {
    const [down, up] = [part.link_seconds_down ?? 0, part.link_seconds_up ?? 0];
    return [
      { label: "down", colour: "--down", from: 0, to: down },
      { label: "up", colour: "--up", from: down, to: down + up },
    ];
  }
  const end = part.finished_host_seconds ?? (part.outcome === "" ? now : part.host_seconds);
  if (end == null) return [];
  const begin = part.host_seconds == null ? 0 : Math.max(0, end - part.host_seconds);
  const isOk = part.outcome === "ok";
  const look = part.outcome === "" ? "--look-playing" : isOk ? "--look-ok" : "--look-late";
  return [
    { label: "waits for its turn", colour: "--wait", from: 0, to: begin },
    {
      label: part.outcome === "" ? "in this round" : isOk ? "update used" : "not used",
      colour: look,
      from: begin,
      to: end,
    },
  ];
}

export function Timeline({ state, choose }: { state: RunState; choose: (client: number) => void }) {
  const [isFollowing, setIsFollowing] = useState(true);
  const [round, setRound] = useState(0);
  const [clock, setClock] = useState<Clock>("host");
  const [detail, setDetail] = useState<RoundDetail | null>(null);
  const [fault, setFault] = useState("");
  const [at, setAt] = useState<number | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef({ detail, clock, at });
  latest.current = { detail, clock, at };

  // The round that is shown, again while it goes on.
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    let asked = 0;
    const load = async () => {
      const run = state.run;
      const last = Math.max(run?.round ?? 0, state.rounds.round?.at(-1) ?? 0);
      const shown = isFollowing ? last : round;
      if (shown > 0) {
        try {
          const answer = await ask<RoundDetail>("round", { run: state.id, round: shown });
          if (isOver) return;
          setFault("");
          setDetail(answer);
          if (isFollowing) setRound(shown);
        } catch (error) {
          if (!isOver && state.link !== "gone") setFault((error as Error).message);
        }
      }
      asked = Date.now();
      timer = 0;
    };
    const plan = () => {
      if (timer === 0 && !isOver) {
        timer = window.setTimeout(() => void load(), Math.max(0, asked + 1000 - Date.now()));
      }
    };
    plan();
    const ends = [
      state.on("run", () => {
        if (isFollowing || state.run?.round === round) plan();
      }),
    ];
    return () => {
      isOver = true;
      window.clearTimeout(timer);
      ends.forEach((end) => end());
    };
  }, [state, isFollowing, isFollowing ? 0 : round]);

  const height = (count: number) => Math.max(1, Math.min(18, 620 / Math.max(1, count)));
  const draw = () => {
    const { detail, clock, at } = latest.current;
    if (!canvas.current || !box.current) return;
    const width = box.current.clientWidth;
    const parts = detail?.parts ?? [];
    const row = height(parts.length);
    const context = fit(canvas.current, width, Math.max(40, Math.ceil(row * parts.length)) + 34);
    if (context) paint(context, parts, clock, row, width, at, nowOf(state, detail));
  };
  useEffect(() => {
    const job = {};
    const refresh = () => soon(job, draw);
    const end = onScheme(refresh);
    const resize = new ResizeObserver(refresh);
    if (box.current) resize.observe(box.current);
    return () => {
      resize.disconnect();
      end();
      forget(job);
    };
  }, [state]);
  useEffect(() => soon(draw, draw), [detail, clock, at]);
  useEffect(() => () => forget(draw), []);

  const parts = detail?.parts ?? [];
  const now = nowOf(state, detail);
  const current = at === null ? undefined : parts[at];
  const told = (part: Part) => {
    const bars = barsOf(part, clock, now).filter((bar) => bar.to > bar.from);
    const words = bars.map((bar) => `${bar.label} ${seconds(bar.to - bar.from)}`);
    return `client ${part.client}: ${words.join(", ") || "nothing by this clock"}${
      part.faults && `; faults ${part.faults}`
    }${part.detail && `; ${part.detail}`}`;
  };
  const rounds = state.run?.rounds ?? 0;
  return (
    <section class="panel wide" aria-labelledby="timeline-title">
      <header>
        <h2 id="timeline-title">Round timeline</h2>
        <label>
          round{" "}
          <input
            type="number"
            min={1}
            max={Math.max(1, rounds, state.run?.round ?? 0)}
            value={round || ""}
            onInput={(event) => {
              const asked = event.currentTarget.valueAsNumber;
              if (Number.isInteger(asked) && asked > 0) {
                setIsFollowing(false);
                setRound(asked);
              }
            }}
          />
        </label>
        <label class="switch">
          <input
            type="checkbox"
            checked={isFollowing}
            onChange={(event) => setIsFollowing(event.currentTarget.checked)}
          />{" "}
          the latest
        </label>
        <label>
          clock{" "}
          <select
            value={clock}
            onChange={(event) => setClock(event.currentTarget.value as Clock)}
          >
            {Object.entries(CLOCKS).map(([name, label]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <ul class="legend">
          {legendOf(clock).map(([label, name]) => (
            <li key={label}>
              <span class="dot" style={{ background: `var(${name})` }} aria-hidden="true" />
              {label}
            </li>
          ))}
        </ul>
      </header>
      <div ref={box} class="canvas-box">
        <canvas
          ref={canvas}
          class="grid-canvas"
          tabIndex={0}
          role="application"
          aria-roledescription="timeline"
          aria-label={`round ${detail?.round ?? "none"}, ${CLOCKS[clock]}: ${parts.length} clients. Up and down move, Enter shows one.`}
          aria-describedby="timeline-at"
          onKeyDown={(event) => {
            const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
            if (step !== undefined) {
              event.preventDefault();
              setAt(Math.min(parts.length - 1, Math.max(0, (at ?? -1) + step)));
            } else if (event.key === "Enter" && current) {
              choose(current.client);
            }
          }}
          onMouseMove={(event) => {
            const top = event.currentTarget.getBoundingClientRect().top;
            const row = Math.floor((event.clientY - top) / height(parts.length));
            setAt(row >= 0 && row < parts.length ? row : null);
          }}
          onMouseLeave={() => setAt(null)}
          onClick={() => current && choose(current.client)}
        />
        <p id="timeline-at" class="at" aria-live="polite">
          {fault || (current && told(current))}
          {detail?.is_cut && " Only the first clients are shown."}
        </p>
      </div>
    </section>
  );
}

/** Host time since the round began. */
function nowOf(state: RunState, detail: RoundDetail | null): number {
  if (!detail) return 0;
  if (detail.host_seconds != null) return detail.host_seconds;
  return Math.max(0, (state.run?.host_seconds ?? 0) - (detail.began_host_seconds ?? 0));
}

function legendOf(clock: Clock): [string, string][] {
  switch (clock) {
    case "host":
      return [
        ["waits for its turn", "--wait"],
        ["in this round", "--look-playing"],
        ["update used", "--look-ok"],
        ["not used", "--look-late"],
      ];
    case "device":
      return [["training, or the round on the part", "--train"]];
    case "link":
      return [
        ["down", "--down"],
        ["up", "--up"],
      ];
  }
}

function paint(
  context: CanvasRenderingContext2D,
  parts: Part[],
  clock: Clock,
  row: number,
  width: number,
  at: number | null,
  now: number,
) {
  const left = 56;
  const bars = parts.map((part) => barsOf(part, clock, now));
  const most = Math.max(1e-6, ...bars.map((of) => of.at(-1)?.to ?? 0));
  const scale = (width - left - 16) / most;
  const bottom = Math.max(40, Math.ceil(row * parts.length));
  const [soft, grid] = [colour("--soft"), colour("--grid")];
  context.font = `11px ${colour("--font")}`;
  context.textBaseline = "top";
  context.textAlign = "center";
  const step = niceStep(most / 6);
  for (let value = 0; value <= most; value += step) {
    const x = left + value * scale;
    context.fillStyle = grid;
    context.fillRect(x, 0, 1, bottom);
    context.fillStyle = soft;
    context.fillText(String(Number(value.toPrecision(6))), x, bottom + 3);
  }
  context.fillText(`s, ${CLOCKS[clock]}`, left + (width - left) / 2, bottom + 18);
  context.textAlign = "right";
  const colours = new Map<string, string>();
  const every = Math.max(1, Math.ceil(13 / row));
  bars.forEach((of, index) => {
    const y = index * row;
    for (const bar of of) {
      let fill = colours.get(bar.colour);
      if (fill === undefined) colours.set(bar.colour, (fill = colour(bar.colour)));
      context.fillStyle = fill;
      context.fillRect(
        left + bar.from * scale,
        y,
        Math.max(0, (bar.to - bar.from) * scale),
        Math.max(1, row > 4 ? row - 2 : row),
      );
    }
    if (index % every === 0) {
      context.fillStyle = soft;
      context.fillText(String(parts[index]?.client), left - 6, y);
    }
  });
  if (at !== null && at < parts.length) {
    context.strokeStyle = colour("--focus");
    context.lineWidth = 1.5;
    context.strokeRect(left - 2, at * row - 1, width - left - 12, Math.max(3, row));
  }
}

function niceStep(least: number): number {
  const size = 10 ** Math.floor(Math.log10(least));
  for (const factor of [1, 2, 5]) if (factor * size >= least) return factor * size;
  return 10 * size;
}
