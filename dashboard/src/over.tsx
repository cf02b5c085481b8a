// What curves are drawn over, for whoever looks to choose.

import { OVER } from "./curves";

interface Props {
  /** One of the names of `OVER`. */
  over: string;
  choose: (over: string) => void;
}

export function OverChoice({ over, choose }: Props) {
  return (
    <label>
      over{" "}
      <select value={over} onChange={(event) => choose(event.currentTarget.value)}>
        {Object.entries(OVER).map(([name, { label }]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}
