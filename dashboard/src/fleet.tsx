// The fleet as a grid of cells, one for each client, or as a table.

import { useEffect, useRef, useState } from "preact/hooks";

import { colour, fit, forget, onScheme, soon } from "./draw";
import { type Client, LOOKS, type Look, lookOf, type RunState } from "./state";
import { LongTable } from "./table";

/** Up to so many clients have room for words. */
const WORDS_MAX = 60;
const GAP = 2;

/** Not by colour alone. */
const SIGNS: Record<Look, string> = {
  waiting: "",
  booted: "·",
  ready: "",
  playing: "▸",
  ok: "✓",
  surplus: "+",
  late: "◷",
  rejected: "⊘",
  unreachable: "?",
  lost: "–",
  hung: "!",
  crashed: "×",
};

const MEANINGS: Record<Look, string> = {
  waiting: "not started",
  booted: "booted, without data",
  ready: "ready",
  playing: "in this round",
  ok: "update used",
  surplus: "not needed",
  late: "late",
  rejected: "update refused",
  unreachable: "not reached",
  lost: "lost",
  hung: "hangs",
  crashed: "crashed",
};

interface Shape {
  columns: number;
  width: number;
  height: number;
}

function shapeOf(count: number, width: number): Shape {
  if (count <= WORDS_MAX) {
    const columns = Math.max(1, Math.floor(width / 190));
    return { columns, width: width / columns, height: 46 };
  }
  const size = Math.min(26, Math.max(5, Math.floor(Math.sqrt((width * 320) / count))));
  const columns = Math.max(1, Math.floor(width / size));
  return { columns, width: size, height: size };
}

interface Props {
  state: RunState;
  chosen: number | null;
  choose: (client: number) => void;
}

export function Fleet({ state, chosen, choose }: Props) {
  const [isTable, setIsTable] = useState(false);
  const [, redraw] = useState(0);
  const [at, setAt] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const now = useRef({ at, chosen });
  now.current = { at, chosen };
  const shape = useRef<Shape>({ columns: 1, width: 1, height: 1 });
  const hasFocus = useRef(false);
  const draw = () => {
    if (!canvas.current || !box.current) return;
    const width = box.current.clientWidth;
    const count = state.clients.length;
    shape.current = shapeOf(count, width);
    const height = Math.max(1, Math.ceil(count / shape.current.columns)) * shape.current.height;
    const context = fit(canvas.current, width, height);
    if (context) paint(context, state, shape.current, now.current, hasFocus.current);
  };
  useEffect(() => {
    const [cells, words] = [{}, {}];
    let spoken = 0;
    const refresh = () => {
      soon(cells, draw);
      // The words beside the grid, not as often.
      if (Date.now() - spoken > 400) {
        spoken = Date.now();
        soon(words, () => redraw((count) => count + 1));
      } else {
        window.clearTimeout(later);
        later = window.setTimeout(() => soon(words, () => redraw((count) => count + 1)), 450);
      }
    };
    let later = 0;
    const ends = [state.on("clients", refresh), onScheme(refresh)];
    const resize = new ResizeObserver(() => soon(cells, draw));
    if (box.current) resize.observe(box.current);
    soon(cells, draw);
    return () => {
      resize.disconnect();
      window.clearTimeout(later);
      ends.forEach((end) => end());
      forget(cells);
      forget(words);
    };
  }, [state, isTable]);
  useEffect(draw, [at, chosen]);

  const count = state.clients.length;
  const counts = new Map<Look, number>();
  for (const client of state.clients) {
    const look = lookOf(client);
    counts.set(look, (counts.get(look) ?? 0) + 1);
  }
  const clientAt = (event: MouseEvent): number | null => {
    const rectangle = canvas.current?.getBoundingClientRect();
    if (!rectangle) return null;
    const { columns, width, height } = shape.current;
    const column = Math.floor((event.clientX - rectangle.left) / width);
    const row = Math.floor((event.clientY - rectangle.top) / height);
    const client = row * columns + column;
    return column < columns && client >= 0 && client < count ? client : null;
  };
  const onKey = (event: KeyboardEvent) => {
    const { columns } = shape.current;
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      Home: -count,
      End: count,
    };
    const step = steps[event.key];
    if (step !== undefined) {
      event.preventDefault();
      const next = at + step;
      if (Math.abs(step) === columns && (next < 0 || next >= count)) return;
      setAt(Math.min(count - 1, Math.max(0, next)));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (count > 0) choose(at);
    }
  };
  const current = state.clients[at];
  const summary = LOOKS.filter((look) => counts.has(look))
    .map((look) => `${counts.get(look)} ${MEANINGS[look]}`)
    .join(", ");
  return (
    <section class="panel wide" aria-labelledby="fleet-title">
      <header>
        <h2 id="fleet-title">Fleet</h2>
        <span class="hint">{count} clients; click one, or choose it with the arrows and Enter</span>
        <label class="switch">
          <input
            type="checkbox"
            checked={isTable}
            onChange={(event) => setIsTable(event.currentTarget.checked)}
          />{" "}
          as a table
        </label>
      </header>
      <ul class="legend">
        {LOOKS.filter((look) => counts.has(look)).map((look) => (
          <li key={look}>
            <span class={`dot look-${look}`} aria-hidden="true">
              {SIGNS[look]}
            </span>
            {MEANINGS[look]} <b>{counts.get(look)}</b>
          </li>
        ))}
      </ul>
      {isTable ? (
        <LongTable
          label="clients"
          head={["client", "board", "state", "round", "used", "not used", "last console line"]}
          columns="4.5rem 11rem 9rem 4rem 4rem 5rem 1fr"
          count={count}
          choose={choose}
          row={(index) => {
            const client = state.clients[index];
            if (!client) return [];
            return [
              index,
              boardOf(state, index),
              MEANINGS[lookOf(client)],
              client.round || "",
              client.used,
              client.unused,
              client.line,
            ];
          }}
        />
      ) : (
        <div ref={box} class="canvas-box">
          <canvas
            ref={canvas}
            class="grid-canvas"
            tabIndex={0}
            role="application"
            aria-roledescription="grid of clients"
            aria-label={`${count} clients: ${summary}. Arrow keys move, Enter shows one.`}
            aria-describedby="fleet-at"
            onKeyDown={onKey}
            onFocus={() => {
              hasFocus.current = true;
              draw();
            }}
            onBlur={() => {
              hasFocus.current = false;
              draw();
            }}
            onMouseMove={(event) => {
              const client = clientAt(event);
              if (client !== null && client !== at) setAt(client);
            }}
            onClick={(event) => {
              const client = clientAt(event);
              if (client === null) return;
              setAt(client);
              choose(client);
            }}
          />
          <p id="fleet-at" class="at" aria-live="polite">
            {current && (
              <>
                <b>client {at}</b> {boardOf(state, at)} · {MEANINGS[lookOf(current)]}
                {current.round > 0 && ` (round ${current.round})`} · {current.used} used,{" "}
                {current.unused} not {current.line && <code>{current.line}</code>}
              </>
            )}
          </p>
        </div>
      )}
    </section>
  );
}

export function boardOf(state: RunState, client: number): string {
  const group = state.group(client);
  if (!group) return "";
  const board = group.mcu || group.board;
  return group.fidelity === "native" ? `${board} (native)` : board;
}

function paint(
  context: CanvasRenderingContext2D,
  state: RunState,
  { columns, width, height }: Shape,
  { at, chosen }: { at: number; chosen: number | null },
  hasFocus: boolean,
) {
  const colours = new Map<Look, string>(LOOKS.map((look) => [look, colour(`--look-${look}`)]));
  const [ink, back, focus] = [colour("--on-look"), colour("--panel"), colour("--focus")];
  const hasWords = state.clients.length <= WORDS_MAX;
  const font = colour("--font");
  const draw = (client: Client, index: number) => {
    const x = (index % columns) * width;
    const y = Math.floor(index / columns) * height;
    const look = lookOf(client);
    context.fillStyle = colours.get(look) ?? back;
    context.fillRect(x, y, width - GAP, height - GAP);
    context.fillStyle = ink;
    if (hasWords) {
      context.font = `600 12px ${font}`;
      context.textBaseline = "top";
      const room = width - GAP - 12;
      text(context, `${index}  ${SIGNS[look]} ${MEANINGS[look]}`, x + 6, y + 5, room);
      context.font = `11px ${font}`;
      text(context, client.line || boardOf(state, index), x + 6, y + 25, room);
    } else if (width >= 14 && SIGNS[look]) {
      context.font = `${Math.floor(width * 0.6)}px ${font}`;
      context.textBaseline = "middle";
      context.textAlign = "center";
      context.fillText(SIGNS[look], x + (width - GAP) / 2, y + (height - GAP) / 2 + 1);
      context.textAlign = "left";
    }
  };
  state.clients.forEach(draw);
  const frame = (index: number, line: number) => {
    const x = (index % columns) * width;
    const y = Math.floor(index / columns) * height;
    context.strokeStyle = focus;
    context.lineWidth = line;
    context.strokeRect(x + line / 2, y + line / 2, width - GAP - line, height - GAP - line);
  };
  if (hasFocus && at < state.clients.length) frame(at, 2);
  if (chosen !== null && chosen < state.clients.length) frame(chosen, 3);
}

/** As much of a text as there is room for. */
function text(
  context: CanvasRenderingContext2D,
  words: string,
  x: number,
  y: number,
  room: number,
) {
  let shown = words;
  while (shown.length > 1 && context.measureText(shown).width > room) {
    shown = `${shown.slice(0, Math.max(0, shown.length - 5)).trimEnd()}…`;
  }
  context.fillText(shown, x, y);
}
