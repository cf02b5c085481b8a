// Curves, drawn by uPlot.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { colour, forget, onScheme, soon } from "./draw";

export interface Curve {
  label: string;
  /** A colour of the style sheet. */
  colour: string;
  dash?: number[];
  format: (value: number) => string;
  /** Points of this size in place of a line, in CSS pixels. */
  points?: number;
  /** A line in steps between points that are drawn, too. */
  isStepped?: boolean;
  /** What a point is, by its place among the values. */
  name?: (index: number) => string;
}

interface Props {
  title: string;
  /** With its unit, and the clock where it is a time. */
  x: string;
  y: string;
  curves: Curve[];
  /** The values: those of x, then those of each curve. */
  data: () => uPlot.AlignedData;
  formatX: (value: number) => string;
  /** Calls back when there are new data; the answer ends that. */
  onData: (listener: () => void) => () => void;
  height?: number;
  /** From 0 on. */
  isCount?: boolean;
  /** x is on a logarithmic scale. */
  isWide?: boolean;
  /** What is drawn, in words; else the last values are said. */
  describe?: () => string;
  /** Keys of charts that show their cursors together. */
  sync?: string;
}

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  // What makes it another chart.
  const shape = JSON.stringify([props.x, props.y, props.isWide, props.curves]);
  useEffect(() => {
    const host = box.current;
    if (!host) return;
    let plot: uPlot | null = null;
    const [job, legend] = [{}, {}];
    const summarise = () => {
      const { title, x, curves, data, formatX, describe } = latest.current;
      if (describe) return host.setAttribute("aria-label", describe());
      const [xs, ...columns] = data();
      const at = xs.length - 1;
      const parts = curves.map((curve, index) => {
        const value = columns[index]?.[at];
        return `${curve.label} ${value == null ? "none" : curve.format(value)}`;
      });
      host.setAttribute(
        "aria-label",
        at < 0
          ? `${title}: no values yet`
          : `${title}, curve over ${x}; at ${formatX(xs[at] ?? 0)}: ${parts.join(", ")}`,
      );
    };
    const build = () => {
      plot?.destroy();
      plot = new uPlot(options(latest.current, host.clientWidth), latest.current.data(), host);
      // It sets the legend itself, once this is over.
      soon(legend, showLast);
      summarise();
    };
    // Where nobody points at a place, the legend shows the last values.
    const showLast = () => {
      if (plot && plot.cursor.left! < 0) plot.setLegend({ idx: plot.data[0].length - 1 });
    };
    const refresh = () => {
      soon(job, () => {
        if (!plot) return build();
        plot.setData(latest.current.data());
        showLast();
        summarise();
      });
    };
    // A frame for each: to build all at once would keep the page from answering.
    soon(job, build);
    const ends = [props.onData(refresh), onScheme(() => soon(job, build))];
    const resize = new ResizeObserver(() => {
      if (plot && host.clientWidth > 0 && plot.width !== host.clientWidth) {
        plot.setSize({ width: host.clientWidth, height: latest.current.height ?? 200 });
      }
    });
    resize.observe(host);
    return () => {
      resize.disconnect();
      ends.forEach((end) => end());
      forget(job);
      forget(legend);
      plot?.destroy();
    };
  }, [shape, props.onData, props.data]);
  return (
    <figure class="chart">
      <figcaption>{props.title}</figcaption>
      <div ref={box} role="img" aria-label={props.title} style={{ minHeight: `${(props.height ?? 200) + 28}px` }} />
    </figure>
  );
}

/** Between the marks of an axis on which there are no parts. */
const WHOLE = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));

function options(props: Props, width: number): uPlot.Options {
  const axis = {
    stroke: colour("--soft"),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1 },
    font: `11px ${colour("--font")}`,
    labelFont: `11px ${colour("--font")}`,
    labelGap: 2,
    labelSize: 18,
  };
  return {
    width: Math.max(100, width),
    height: props.height ?? 200,
    padding: [8, 12, 0, 0],
    legend: { live: true },
    cursor: { sync: props.sync ? { key: props.sync } : undefined, drag: { x: true, y: false } },
    scales: {
      x: props.isWide
        ? { time: false, distr: 3, range: (_plot, low, high) => [low / 1.2, high * 1.2] }
        : { time: false },
      y: props.isCount
        ? { range: (_plot, _low, high) => [0, Math.max(1, (high ?? 0) * 1.05)] }
        : { auto: true },
    },
    axes: [
      {
        ...axis,
        ...(props.isWide
          ? { splits: (_plot, _axis, low, high) => roundOnes(low, high), filter: (_plot, at) => at }
          : {}),
        label: props.x,
        size: 28,
        values: (_plot, at) => at.map((value) => (value == null ? "" : props.formatX(value))),
      },
      {
        ...axis,
        label: props.y,
        size: 58,
        incrs: props.isCount ? WHOLE : undefined,
        values: (_plot, at) => at.map((value) => tick(value, props.curves[0])),
      },
    ],
    series: [
      { label: props.x, value: (_plot, value) => (value == null ? "–" : props.formatX(value)) },
      ...props.curves.map((curve) => ({
        label: curve.label,
        stroke: colour(curve.colour),
        width: 1.5,
        dash: curve.dash,
        spanGaps: true,
        points: curve.points
          ? { show: true, size: curve.points, stroke: colour(curve.colour), fill: colour(curve.colour) }
          : { show: false },
        paths: curve.isStepped
          ? uPlot.paths.stepped!({ align: 1 })
          : curve.points
            ? () => null
            : undefined,
        value: (_plot: uPlot, value: number | null, _series: number, index: number | null) => {
          if (value == null) return "–";
          const name = index == null ? undefined : curve.name?.(index);
          return name === undefined ? curve.format(value) : `${curve.format(value)}, ${name}`;
        },
      })),
    ],
  };
}

/** One, two and five times the powers of ten between two numbers; over many powers these alone. */
function roundOnes(low: number, high: number): number[] {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const steps = last - first > 4 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = first; power <= last; power += 1) {
    for (const step of steps) {
      // In one rounding: 5e-1 is 0.5, and 5 * 0.1 may be none.
      const value = Number(`${step}e${power}`);
      if (low <= value && value <= high) ticks.push(value);
    }
  }
  return ticks;
}

function tick(value: number, curve: Curve | undefined): string {
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  if (Math.abs(value) < 1000) return String(Number(value.toPrecision(4)));
  return curve ? curve.format(value) : String(value);
}
