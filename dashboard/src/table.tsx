// A long table of which only the rows in sight are in the page.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

interface Props {
  label: string;
  head: string[];
  count: number;
  row: (index: number) => ComponentChildren[];
  /** A row is chosen. */
  choose?: (index: number) => void;
  /** By which column rows are sorted, and who sorts them by another. */
  sort?: {
    by: number;
    isDown: boolean;
    choose: (column: number) => void;
    /** The first column that rows can be sorted by. */
    first: number;
  };
  /** In CSS pixels. */
  height?: number;
  columns: string;
}

const ROW = 26;

export function LongTable({ label, head, count, row, choose, sort, height = 320, columns }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const first = Math.max(0, Math.floor(top / ROW) - 4);
  const end = Math.min(count, first + Math.ceil(height / ROW) + 8);
  useEffect(() => {
    // Rows may have gone.
    if (box.current && box.current.scrollTop !== top) setTop(box.current.scrollTop);
  }, [count]);
  const rows = [];
  for (let index = first; index < end; index++) {
    const cells = row(index);
    rows.push(
      <div
        key={index}
        role="row"
        aria-rowindex={index + 2}
        class="long-row"
        style={{ top: `${index * ROW}px`, gridTemplateColumns: columns }}
      >
        {cells.map((cell, column) => (
          <span role="cell" key={column}>
            {column === 0 && choose ? (
              <button type="button" class="plain" onClick={() => choose(index)}>
                {cell}
              </button>
            ) : (
              cell
            )}
          </span>
        ))}
      </div>,
    );
  }
  return (
    <div role="table" aria-label={label} aria-rowcount={count + 1} class="long">
      <div role="row" aria-rowindex={1} class="long-head" style={{ gridTemplateColumns: columns }}>
        {head.map((name, column) => (
          <span
            role="columnheader"
            key={column}
            aria-sort={
              sort?.by === column ? (sort.isDown ? "descending" : "ascending") : undefined
            }
          >
            {sort && column >= sort.first ? (
              <button type="button" class="plain" onClick={() => sort.choose(column)}>
                {name}
                {sort.by === column && (
                  <span aria-hidden="true">{sort.isDown ? " ▼" : " ▲"}</span>
                )}
              </button>
            ) : (
              name
            )}
          </span>
        ))}
      </div>
      <div
        ref={box}
        role="rowgroup"
        tabIndex={0}
        aria-label={label}
        class="long-body"
        style={{ height: `${Math.min(height, Math.max(1, count) * ROW + 4)}px` }}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      >
        <div role="presentation" style={{ height: `${count * ROW}px` }} />
        {rows}
      </div>
    </div>
  );
}
