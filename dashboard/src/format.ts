// Numbers for people.

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  for (const [unit, size] of [["kB", 1e3], ["MB", 1e6], ["GB", 1e9]] as const) {
    if (count < 1000 * size || unit === "GB") return `${short(count / size)} ${unit}`;
  }
  return "";
}

export function energy(millijoules: number): string {
  if (millijoules < 1) return `${short(millijoules * 1000)} µJ`;
  if (millijoules < 1000) return `${short(millijoules)} mJ`;
  if (millijoules < 1e6) return `${short(millijoules / 1000)} J`;
  return `${short(millijoules / 1e6)} kJ`;
}

/** Three digits that count. */
export function short(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** In a unit that nobody knows here, which may be Kelvin or micrometres. */
export function figure(value: number | null | undefined): string {
  return value == null ? "–" : String(Number(value.toPrecision(4)));
}

export function seconds(value: number): string {
  if (value < 0.001) return `${short(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1000)} ms`;
  if (value < 120) return `${short(value)} s`;
  if (value < 7200) return `${short(value / 60)} min`;
  return `${short(value / 3600)} h`;
}

export function share(value: number | null | undefined): string {
  return value == null ? "–" : value.toFixed(4);
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** How long ago, of seconds since 1970. */
export function ago(then: number, now: number): string {
  const since = Math.max(0, now - then);
  if (since < 60) return "now";
  if (since < 3600) return `${Math.floor(since / 60)} min ago`;
  if (since < 86400) return `${Math.floor(since / 3600)} h ago`;
  return `${Math.floor(since / 86400)} d ago`;
}
