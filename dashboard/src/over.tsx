// What curves are drawn over, for whoever looks to choose.

import type { Rounds } from "./api";
import { has, OVER } from "./curves";

interface Props {
  /** One of the names of `OVER`. */
  over: string;
  choose: (over: string) => void;
  /** The runs that are drawn: only what one of them has can be chosen. */
  runs: Rounds[];
}

export function OverChoice({ over, choose, runs }: Props) {
  return (
    <label>
      over{" "}
      <select value={over} onChange={(event) => choose(event.currentTarget.value)}>
        {Object.entries(OVER)
          .filter(([name]) => name === over || runs.some((rounds) => has(rounds, name)))
          .map(([name, { label }]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
      </select>
    </label>
  );
}
