// Small parts that several pages have.

/** A field for words that rows are found by. */
export function SearchField({ value, set }: { value: string; set: (value: string) => void }) {
  return (
    <label>
      with{" "}
      <input type="search" value={value} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
}

/** Figures with their names. */
export function FigureList({ figures }: { figures: [string, string][] }) {
  return (
    <dl class="figures">
      {figures.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
