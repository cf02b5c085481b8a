// Measures the dashboard in chromium: a run of 1,000 devices that grows to 10,000 rounds.
//
//   ZFL=target/release/zfl npm --prefix browser run bench [-- DEVICES ROUNDS SELECTED]
//
// Prints a table for docs/benchmarks.md, and fails where a bound is exceeded.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";

import { PROJECT, Running, ZFL, openBrowser, openPage } from "./support.mjs";
import { SyntheticRun } from "./synthetic.mjs";

const [DEVICES = 1000, ROUNDS = 10_000, SELECTED = 50] = process.argv.slice(2).map(Number);
/** Rounds that are added at a time, every 250 ms: more than any run plays. */
const STEP = 25;
const BOUNDS = { paint_ms: 1000, task_ms: 50, script_bytes: 150_000 };

const cleanups = [];
const context = { after: (cleanup) => cleanups.push(cleanup) };
try {
  await measure();
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
}

async function measure() {
  const folder = await mkdtemp(path.join(tmpdir(), "zfl-bench-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const run = new SyntheticRun(path.join(folder, "run"), { devices: DEVICES, selected: SELECTED });
  await run.begin(ROUNDS);
  await run.play(STEP, true);
  // Holds the lock of whoever plays the run.
  new Running(context, "flock", [
    "--no-fork",
    path.join(folder, "run/experiment.toml"),
    "sleep",
    "100000",
  ]);
  const server = new Running(context, ZFL, ["dashboard", folder, "--listen", "127.0.0.1:0"]);
  const [, origin] = await server.prints(/dashboard at (http:\/\/[^/\s]+)\//);
  const browser = await openBrowser(context);
  const rows = [];

  const open = async () => {
    const opened = await openPage(browser, origin, { viewport: { width: 1400, height: 1000 } });
    await opened.page.addInitScript(() => {
      window.longTasks = [];
      new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) {
          window.longTasks.push({ startTime, duration });
        }
      }).observe({ type: "longtask", buffered: true });
    });
    await opened.page.goto(`${origin}/#/run/run`);
    // Curves and fleet are there; milliseconds since the page was asked for.
    const shown = await opened.page.waitForFunction(
      (devices) =>
        document.querySelector('[role="img"][aria-label*="curve over"]') &&
        document.querySelector(`canvas[aria-label^="${devices} clients"]`) &&
        performance.now(),
      DEVICES,
      { polling: "raf" },
    );
    const paint = await opened.page.evaluate(
      () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    );
    return { ...opened, paint, shown: await shown.jsonValue() };
  };

  // What a page takes that is opened at the beginning, and watches all of it.
  const watcher = await open();
  rows.push([`opened at round ${run.round}: first paint`, ms(watcher.paint)]);
  rows.push(["— curves and fleet are there", ms(watcher.shown)]);
  const session = await watcher.page.context().newCDPSession(watcher.page);
  await session.send("Performance.enable");
  await session.send("HeapProfiler.enable");
  const collections = [];
  const heap = async () => {
    const now = () => watcher.page.evaluate(() => performance.now());
    const from = await now();
    await session.send("HeapProfiler.collectGarbage");
    collections.push([from, await now()]);
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return `${(of("JSHeapUsedSize") / 1e6).toFixed(1)} MB, ${of("Nodes")} nodes, ${of("JSEventListeners")} listeners`;
  };
  const points = [0.1, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * ROUNDS));
  let [tasks, steps, mean] = [[], 0, 0];
  while (run.round < ROUNDS) {
    const next = points.find((point) => point > run.round);
    // The time of each task of the page's thread, in a window before each point.
    const isWindow = next - run.round <= 20 * STEP && !tasks.isOpen;
    if (isWindow) {
      await browser.startTracing(watcher.page, { categories: ["toplevel", "disabled-by-default-lighthouse"] });
      tasks.isOpen = true;
      steps = 0;
    }
    steps += 1;
    const began = Date.now();
    await run.play(Math.min(STEP, ROUNDS - run.round), true);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 250 - (Date.now() - began))));
    if (run.round >= next) {
      await watcher.page.waitForFunction(
        (round) => document.querySelector(".figures dd").textContent.startsWith(`${round} of`),
        run.round,
      );
      const trace = JSON.parse((await browser.stopTracing()).toString());
      const found = tasksOf(trace);
      tasks = [...tasks, ...found];
      tasks.isOpen = false;
      rows.push([
        `round ${run.round}: longest task of the page's thread, processor time`,
        `${ms(found.at(-1))} (99 % below ${ms(found[Math.floor(found.length * 0.99)])}, ${found.length} tasks)`,
      ]);
      // All that the page did in that time, the frames after it included.
      const update = found.reduce((all, task) => all + task, 0) / steps;
      mean = Math.max(mean, update);
      rows.push([`round ${run.round}: processor time of an update, all its tasks`, ms(update)]);
      rows.push([`round ${run.round}: JavaScript heap after collection`, await heap()]);
    }
  }
  // By the clock on the wall, in which this machine may have done other things, too.
  const long = await watcher.page.evaluate(() => window.longTasks);
  const isCollection = ({ startTime, duration }) =>
    collections.some(([from, to]) => startTime < to && startTime + duration > from);
  const after = long.filter((task) => task.startTime > watcher.shown && !isCollection(task));
  rows.push([
    "tasks that took 50 ms or more of wall time, all the while",
    after.length === 0
      ? "none"
      : `${after.length}, the longest ${ms(Math.max(...after.map(({ duration }) => duration)))}`,
  ]);

  // And one that is opened at the end.
  const late = await open();
  rows.push([`opened at round ${run.round}: first paint`, ms(late.paint)]);
  rows.push(["— curves and fleet are there", ms(late.shown)]);
  await late.page.waitForFunction(
    (round) => document.querySelector(`[aria-label*="curve over round; at ${round}:"]`),
    ROUNDS,
    { polling: "raf" },
  );
  const whole = await late.page.evaluate(() => performance.now());
  rows.push(["— all rounds are there", ms(whole)]);
  const script = await readFile(path.join(PROJECT, "crates/zfl-dashboard/assets/app.js"));
  const packed = gzipSync(script, { level: 9 }).length;
  rows.push(["JavaScript, gzip", `${(packed / 1000).toFixed(1)} kB`]);

  const version = execFileSync("/usr/bin/chromium", ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
  console.log(
    `${DEVICES} devices, ${SELECTED} in each of ${ROUNDS} rounds, ${4 * STEP} rounds a second, ` +
      `records of ${(run.bytes / 1e6).toFixed(0)} MB; ${version.toString().trim()}\n`,
  );
  for (const [what, value] of rows) console.log(`| ${what} | ${value} |`);
  const exceeded = [
    [watcher.paint, BOUNDS.paint_ms, "first paint"],
    [late.paint, BOUNDS.paint_ms, "first paint at the end"],
    [Math.max(...tasks), BOUNDS.task_ms, "task"],
    [mean, BOUNDS.task_ms, "update"],
    [packed, BOUNDS.script_bytes, "script"],
  ].filter(([value, most]) => !(value <= most));
  const complaints = [...watcher.complaints, ...late.complaints];
  for (const [value, most, what] of exceeded) console.log(`${what}: ${value} is above ${most}`);
  for (const complaint of complaints) console.log(complaint);
  if (exceeded.length + complaints.length > 0) process.exitCode = 1;
}

/** Processor time of the tasks of the page's thread, in ms, the shortest first. */
function tasksOf({ traceEvents }) {
  const main = traceEvents
    .filter((event) => event.name === "thread_name" && event.args.name === "CrRendererMain")
    .map(({ pid, tid }) => `${pid} ${tid}`);
  return traceEvents
    .filter(({ pid, tid, name }) => /RunTask/.test(name) && main.includes(`${pid} ${tid}`))
    .map(({ dur = 0, tdur = dur }) => tdur / 1000)
    .sort((one, other) => one - other);
}

function ms(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
