// Measures the dashboard in chromium.
//
//   ZFL=target/release/zfl npm --prefix browser run bench [-- DEVICES ROUNDS SELECTED]
//   ZFL=target/release/zfl npm --prefix browser run bench -- live [DEVICES ROUNDS SELECTED]
//
// The first is a synthetic run of 1,000 devices that grows to 10,000 rounds; the second a
// real one of 1,000 emulated devices (14 GB of memory), followed from its start to its end.
// Each prints a table for docs/benchmarks.md, and fails where a bound is exceeded.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";

import { PROJECT, Running, ZFL, openBrowser, openPage } from "./support.mjs";
import { SyntheticRun } from "./synthetic.mjs";

const isLive = process.argv[2] === "live";
const numbers = process.argv.slice(isLive ? 3 : 2).map(Number);
const [DEVICES = 1000, ROUNDS = isLive ? 100 : 10_000, SELECTED = isLive ? 100 : 50] = numbers;
/** Rounds that are added at a time, every 250 ms: more than any run plays. */
const STEP = 25;
const BOUNDS = { paint_ms: 1000, task_ms: 50, script_bytes: 150_000 };
/** So long the page of a real run is traced at a time. */
const TRACE_MS = 10_000;
const TRACED = { categories: ["toplevel", "disabled-by-default-lighthouse"] };
/** Its emulators are counted so often. */
const LOOK_MS = 2_000;
/** No real run takes longer. */
const RUN_MS_MAX = 3_600_000;

const cleanups = [];
const context = { after: (cleanup) => cleanups.push(cleanup) };
try {
  await (isLive ? live() : measure());
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
}

/** Opens the page of a run, and waits until curves and fleet are there. */
async function open(browser, origin, run, { curves }) {
  const opened = await openPage(browser, origin, { viewport: { width: 1400, height: 1000 } });
  await opened.page.addInitScript(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) {
        window.longTasks.push({ startTime, duration });
      }
    }).observe({ type: "longtask", buffered: true });
    // What the server tells it.
    window.updates = 0;
    const { addEventListener } = EventSource.prototype;
    EventSource.prototype.addEventListener = function (type, listener) {
      const counted = (event) => {
        if (type === "update") window.updates += 1;
        listener(event);
      };
      addEventListener.call(this, type, counted);
    };
  });
  await opened.page.goto(`${origin}/#/run/${run}`);
  // Milliseconds since the page was asked for.
  const shown = await opened.page.waitForFunction(
    ([devices, curves]) =>
      (!curves || document.querySelector('[role="img"][aria-label*="curve over"]')) &&
      document.querySelector(`canvas[aria-label^="${devices} clients"]`) &&
      performance.now(),
    [DEVICES, curves],
    { polling: "raf" },
  );
  const paint = await opened.page.evaluate(
    () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
  );
  const session = await opened.page.context().newCDPSession(opened.page);
  await session.send("Performance.enable");
  await session.send("HeapProfiler.enable");
  const collections = [];
  const heap = async () => {
    const now = () => opened.page.evaluate(() => performance.now());
    const from = await now();
    await session.send("HeapProfiler.collectGarbage");
    collections.push([from, await now()]);
    const { metrics } = await session.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return `${(of("JSHeapUsedSize") / 1e6).toFixed(1)} MB, ${of("Nodes")} nodes, ${of("JSEventListeners")} listeners`;
  };
  // By the clock on the wall, in which this machine may have done other things, too.
  const long = async () => {
    const tasks = await opened.page.evaluate(() => window.longTasks);
    const isCollection = ({ startTime, duration }) =>
      collections.some(([from, to]) => startTime < to && startTime + duration > from);
    const shownAt = await shown.jsonValue();
    const after = tasks.filter((task) => task.startTime > shownAt && !isCollection(task));
    return after.length === 0
      ? "none"
      : `${after.length}, the longest ${ms(Math.max(...after.map(({ duration }) => duration)))}`;
  };
  return { ...opened, paint, shown: await shown.jsonValue(), heap, long };
}

/** A real run, with a page that is open from its start to its end. */
async function live() {
  const folder = await mkdtemp(path.join(tmpdir(), "zfl-bench-"));
  context.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const args = ["run", path.join(PROJECT, "examples/digits.toml")];
  for (const set of [
    `fleet.0.count=${DEVICES}`,
    `rounds=${ROUNDS}`,
    `coordinator.clients-per-round=${SELECTED}`,
  ]) {
    args.push("--set", set);
  }
  const began = Date.now();
  const run = new Running(context, ZFL, [
    ...args,
    "--out",
    path.join(folder, "run"),
    "--dashboard",
    "127.0.0.1:0",
  ]);
  const [, origin] = await run.prints(/dashboard at (http:\/\/[^/\s]+)\//);
  const browser = await openBrowser(context);
  const watcher = await open(browser, origin, ".", { curves: false });
  const { page } = watcher;
  const loads = [];
  const emulators = new Set();
  let [most, looked] = [0, 0];
  const look = async () => {
    looked = Date.now();
    loads.push(loadavg()[0]);
    const now = await emulatorsOf(run.pid);
    for (const emulator of now) emulators.add(emulator);
    most = Math.max(most, now.length);
  };
  const standing = () =>
    page.evaluate(() => ({
      round: Number.parseInt(document.querySelector(".figures dd").textContent, 10),
      isOver: document.querySelector('[data-link="ended"]') !== null,
      updates: window.updates,
    }));
  const rows = [
    ["opened as the devices boot: first paint", ms(watcher.paint)],
    ["— the fleet is there", ms(watcher.shown)],
  ];
  const phases = new Map();
  const heaps = [[0, await watcher.heap()]];
  const points = [0.25, 0.5, 0.75].map((part) => Math.round(part * ROUNDS));
  let now = await standing();
  let ready_ms = null;
  while (!now.isOver) {
    if (Date.now() - began > RUN_MS_MAX) throw new Error(`it goes on after ${RUN_MS_MAX} ms`);
    const before = now;
    await browser.startTracing(page, TRACED);
    const until = Date.now() + TRACE_MS;
    do {
      await new Promise((resolve) => setTimeout(resolve, 250));
      now = await standing();
      if (now.round > 0) ready_ms ??= Date.now() - began;
      if (Date.now() - looked > LOOK_MS) await look();
    } while (!now.isOver && Date.now() < until);
    const found = tasksOf(JSON.parse((await browser.stopTracing()).toString()));
    // Between the rounds of a window and those before there is no line to be drawn.
    const phase = now.round === 0 ? "while the devices boot" : "while rounds are played";
    const { tasks, updates, worst } = phases.get(phase) ?? { tasks: [], updates: 0, worst: 0 };
    const told = now.updates - before.updates;
    const used = found.reduce((all, task) => all + task, 0);
    phases.set(phase, {
      tasks: [...tasks, ...found],
      updates: updates + told,
      worst: told > 0 ? Math.max(worst, used / told) : worst,
    });
    if (points.length > 0 && now.round >= points[0] && !now.isOver) {
      points.shift();
      heaps.push([now.round, await watcher.heap()]);
    }
  }
  heaps.push([now.round, await watcher.heap()]);
  // Of a server that has gone the browser complains by itself.
  const complaints = watcher.complaints.filter((complaint) => !/net::ERR_/.test(complaint));
  const code = await run.ended;
  const whole_ms = Date.now() - began;
  const left = (await emulatorsOf(null)).filter((emulator) => emulators.has(emulator));
  let mean = 0;
  for (const [phase, { tasks, updates, worst }] of phases) {
    tasks.sort((one, other) => one - other);
    const update = tasks.reduce((all, task) => all + task, 0) / Math.max(1, updates);
    mean = Math.max(mean, update);
    rows.push([
      `${phase}: processor time of an update, all its tasks`,
      `${ms(update)} (${updates} updates; ${ms(worst)} in the worst ${TRACE_MS / 1000} s)`,
    ]);
    rows.push([
      "— longest task of the page's thread, processor time",
      `${ms(tasks.at(-1))} (99 % below ${ms(tasks[Math.floor(tasks.length * 0.99)])}, ${tasks.length} tasks)`,
    ]);
  }
  rows.push(["tasks that took 50 ms or more of wall time, all the while", await watcher.long()]);
  for (const [round, heap] of heaps) {
    rows.push([`round ${round}: JavaScript heap after collection`, heap]);
  }
  const summary = JSON.parse(await readFile(path.join(folder, "run/summary.json"), "utf8"));
  rows.push(["errors and warnings on the page's console", complaints.length]);
  rows.push(["emulators at a time, at most", most]);
  rows.push(["emulators that are left when zfl has ended", left.length]);
  rows.push(["round 1 is over, whole run, host time", `${ready_ms / 1000} s, ${whole_ms / 1000} s`]);
  rows.push(["load average of the machine", `${Math.min(...loads)} to ${Math.max(...loads)}`]);
  print(`zfl ${args.slice(2).join(" ")}: ${summary.outcome}, ${summary.rounds} rounds`, rows);
  conclude(
    [
      [watcher.paint, BOUNDS.paint_ms, "first paint"],
      [mean, BOUNDS.task_ms, "update, on average"],
      [left.length, 0, "emulators that are left"],
      [code, 0, "exit code"],
      [DEVICES - most, 0, "devices without an emulator"],
    ],
    complaints,
  );
}

/** The emulators whose parent is this process, or all; each by its number and its start. */
async function emulatorsOf(parent) {
  const found = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    // Those that end meanwhile are none.
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const [, name, rest] = stat.match(/\((.*)\) (.*)/s) ?? [];
    if (!name?.startsWith("qemu-system")) continue;
    const fields = rest.split(" ");
    if (parent === null || Number(fields[1]) === parent) found.push(`${pid} ${fields[19]}`);
  }
  return found;
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

  // What a page takes that is opened at the beginning, and watches all of it.
  const watcher = await open(browser, origin, "run", { curves: true });
  rows.push([`opened at round ${run.round}: first paint`, ms(watcher.paint)]);
  rows.push(["— curves and fleet are there", ms(watcher.shown)]);
  const points = [0.1, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * ROUNDS));
  let [tasks, steps, mean] = [[], 0, 0];
  while (run.round < ROUNDS) {
    const next = points.find((point) => point > run.round);
    // The time of each task of the page's thread, in a window before each point.
    const isWindow = next - run.round <= 20 * STEP && !tasks.isOpen;
    if (isWindow) {
      await browser.startTracing(watcher.page, TRACED);
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
      rows.push([`round ${run.round}: JavaScript heap after collection`, await watcher.heap()]);
    }
  }
  rows.push(["tasks that took 50 ms or more of wall time, all the while", await watcher.long()]);

  // And one that is opened at the end.
  const late = await open(browser, origin, "run", { curves: true });
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

  print(
    `${DEVICES} devices, ${SELECTED} in each of ${ROUNDS} rounds, ${4 * STEP} rounds a second, ` +
      `records of ${(run.bytes / 1e6).toFixed(0)} MB`,
    rows,
  );
  conclude(
    [
      [watcher.paint, BOUNDS.paint_ms, "first paint"],
      [late.paint, BOUNDS.paint_ms, "first paint at the end"],
      [Math.max(...tasks), BOUNDS.task_ms, "task"],
      [mean, BOUNDS.task_ms, "update"],
      [packed, BOUNDS.script_bytes, "script"],
    ],
    [...watcher.complaints, ...late.complaints],
  );
}

function print(what, rows) {
  const version = execFileSync("/usr/bin/chromium", ["--version"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  console.log(`${what}; ${version.toString().trim()}\n`);
  for (const [name, value] of rows) console.log(`| ${name} | ${value} |`);
}

/** Fails where a value is above its bound, or the page has complained. */
function conclude(bounded, complaints) {
  const exceeded = bounded.filter(([value, most]) => !(value <= most));
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
