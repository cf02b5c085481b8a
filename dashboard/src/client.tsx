// One client: what it is, what it did last, its console and its crashes.

import { useEffect, useRef, useState } from "preact/hooks";

import { ask, type ClientDetail, type ConsolePiece } from "./api";
import { boardOf } from "./fleet";
import type { RunState } from "./state";

/** So much of a console is in the page. */
const SHOWN_MAX = 64 * 1024;

interface Props {
  state: RunState;
  client: number;
  close: () => void;
}

export function ClientPanel({ state, client, close }: Props) {
  const [detail, setDetail] = useState<ClientDetail | null>(null);
  const [fault, setFault] = useState("");
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
  }, [client]);
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    setDetail(null);
    const load = async () => {
      try {
        const answer = await ask<ClientDetail>("client", { run: state.id, client });
        if (isOver) return;
        setDetail(answer);
        setFault("");
      } catch (error) {
        if (!isOver && state.link !== "gone") setFault((error as Error).message);
      }
      if (!isOver) timer = window.setTimeout(() => void load(), 2000);
    };
    void load();
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [state, client]);
  const group = state.group(client);
  const known = state.clients[client];
  const row = Object.entries(detail?.row ?? {});
  return (
    <section
      class="panel wide client"
      aria-labelledby="client-title"
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      <header>
        <h2 id="client-title" tabIndex={-1} ref={heading}>
          Client {client}
        </h2>
        <span class="hint">
          {boardOf(state, client)}
          {group && ` · ${group.fidelity || "elsewhere"} · link ${group.link || "none"}`}
          {detail?.device != null && ` · device ${detail.device}`}
          {known && ` · ${known.used} updates used, ${known.unused} not`}
        </span>
        <button type="button" onClick={close}>
          close
        </button>
      </header>
      {fault && <p class="fault">{fault}</p>}
      {detail?.crashes.map((crash) => (
        <details key={crash.name} open>
          <summary>crash: {crash.name}</summary>
          <pre tabIndex={0}>{crash.text}</pre>
        </details>
      ))}
      {detail && detail.consoles.length > 0 && (
        <Console state={state} logs={detail.consoles} key={client} />
      )}
      {detail && detail.consoles.length === 0 && (
        <p class="hint">It has no console: it is played inside zfl, or its fleet is elsewhere.</p>
      )}
      {row.length > 0 && (
        <details open>
          <summary>counters of its last round (docs/records.md says what each is)</summary>
          <dl class="counters">
            {row.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </section>
  );
}

function Console({ state, logs }: { state: RunState; logs: string[] }) {
  const [log, setLog] = useState("");
  const [text, setText] = useState("");
  const box = useRef<HTMLPreElement>(null);
  const name = logs.includes(log) ? log : (logs[0] ?? "");
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    let from = 0;
    setText("");
    const load = async () => {
      try {
        const piece = await ask<ConsolePiece>("console", { run: state.id, log: name, from });
        if (isOver) return;
        const isNext = piece.from === from;
        from = piece.to;
        if (piece.text !== "" || !isNext) {
          const element = box.current;
          const isAtEnd =
            !element || element.scrollHeight - element.scrollTop - element.clientHeight < 40;
          setText((before) => (isNext ? before + piece.text : piece.text).slice(-SHOWN_MAX));
          if (isAtEnd) {
            requestAnimationFrame(() => {
              if (box.current) box.current.scrollTop = box.current.scrollHeight;
            });
          }
        }
      } catch {
        // The page says already that the server is gone.
      }
      if (!isOver) timer = window.setTimeout(() => void load(), 1000);
    };
    void load();
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [state, name]);
  return (
    <div>
      <p class="console-head">
        <label>
          console{" "}
          <select value={name} onChange={(event) => setLog(event.currentTarget.value)}>
            {logs.map((log) => (
              <option key={log}>{log}</option>
            ))}
          </select>
        </label>
      </p>
      <pre ref={box} class="console" tabIndex={0} aria-label={`console ${name}`}>
        {text}
      </pre>
    </div>
  );
}
