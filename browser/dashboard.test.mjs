// The dashboard in a browser: a run that goes on, one that is over, a server that goes
// and comes back.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";

import { PROJECT, Running, ZFL, openBrowser, openPage, temporaryFolder } from "./support.mjs";

const DIGITS = path.join(PROJECT, "examples/digits.toml");

/** Plays the digits natively into `folder`; more arguments of `zfl run` may follow. */
function play(t, folder, ...more) {
  return new Running(t, ZFL, ["run", DIGITS, "--fidelity", "native", "--out", folder, ...more]);
}

/** Starts `zfl dashboard`; its address. */
async function serve(t, folder, listen = "127.0.0.1:0") {
  const server = new Running(t, ZFL, ["dashboard", folder, "--listen", listen]);
  const [, origin] = await server.prints(/dashboard at (http:\/\/[^/\s]+)\//);
  return { server, origin };
}

/** The text of a figure of a run's page, such as `rounds`. */
const figure = (page, name) =>
  page.locator(".figures > div", { has: page.locator(`dt:text-is("${name}")`) }).locator("dd");

/** What a complaint says of a server that is gone is no fault of the page. */
const isOfThePage = (complaint) => !/net::ERR_/.test(complaint);

test("a run that goes on is followed to its end", async (t) => {
  const folder = path.join(await temporaryFolder(t), "run");
  // Long enough to be seen, and ended once it has been.
  const run = play(t, folder, "--set", "rounds=100000", "--dashboard", "127.0.0.1:0");
  const [, origin] = await run.prints(/dashboard at (http:\/\/[^/\s]+)\//);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, origin);
  await page.goto(origin);

  await page.locator(".badge.running").waitFor();
  const rounds = figure(page, "rounds");
  await rounds.filter({ hasText: /^[1-9]\d* of 100000$/ }).waitFor();
  const before = Number.parseInt(await rounds.textContent(), 10);
  await page.waitForFunction(
    (before) => Number.parseInt(document.querySelector(".figures dd").textContent, 10) > before + 20,
    before,
  );
  // What is drawn is said, with what it is drawn over.
  const curve = page.getByRole("img", { name: /^accuracy on the test set, curve over round; at/ });
  await curve.waitFor();
  assert.equal(await page.locator(".u-over").count(), 4);
  await page.getByRole("application", { name: /^10 clients: / }).waitFor();
  await page.getByRole("application", { name: /^round \d+, host time: 10 clients/ }).waitFor();

  // A client by the keyboard alone.
  await page.getByRole("application", { name: /^10 clients: / }).focus();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "Enter"]) {
    await page.keyboard.press(key);
  }
  const heading = page.getByRole("heading", { name: "Client 3" });
  await heading.waitFor();
  assert.ok(await heading.evaluate((element) => element === document.activeElement));
  await page.locator(".counters dt:text-is('train_loss')").first().waitFor();
  await page.keyboard.press("Escape");
  await heading.waitFor({ state: "detached" });

  // The page is told the end before zfl ends.
  run.signal("SIGINT");
  await page.locator('[data-link="ended"]').waitFor();
  await page.locator(".badge.ended-early").waitFor();
  assert.equal(await run.ended, 130);
  assert.deepEqual(complaints.filter(isOfThePage), []);
});

test("a run that is over is shown whole, and beside another", async (t) => {
  const runs = path.join(await temporaryFolder(t), "runs");
  await play(t, path.join(runs, "one"), "--set", "rounds=6").succeeds();
  await play(t, path.join(runs, "two"), "--set", "rounds=4", "--set", "seed=2").succeeds();
  const { origin } = await serve(t, runs);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, origin, { colorScheme: "dark" });
  await page.goto(origin);

  // The list, filtered and sorted.
  const rows = page.locator("tbody tr");
  await rows.nth(1).waitFor();
  await page.getByRole("button", { name: "run", exact: true }).click();
  await page.locator("tbody tr:first-child", { hasText: "one" }).waitFor();
  await page.getByRole("searchbox").fill("seed 2");
  await rows.nth(1).waitFor({ state: "detached" });
  assert.match(await rows.textContent(), /two.*completed.*4 of 4/);
  await page.getByRole("searchbox").fill("");

  await page.getByRole("checkbox", { name: "compare one" }).check();
  await page.getByRole("checkbox", { name: "compare two" }).check();
  await page.getByRole("button", { name: "compare these 2" }).click();
  const seed = page.locator("tr", { has: page.locator('th:text-is("seed")') });
  await seed.waitFor();
  assert.equal(await seed.textContent(), "seed12");
  await page.getByRole("img", { name: /accuracy on the test set.*one.*two/ }).waitFor();

  await page.getByRole("link", { name: "one" }).first().click();
  await page.locator(".badge.completed").waitFor();
  await figure(page, "rounds").filter({ hasText: "6 of 6" }).waitFor();
  await page.locator("summary", { hasText: "Rounds" }).click();
  const table = page.getByRole("table", { name: "rounds, the last first" });
  assert.equal(await table.getByRole("row").count(), 7);
  await page.getByLabel("round", { exact: true }).fill("2");
  await page.getByRole("application", { name: /^round 2, host time: 10 clients/ }).waitFor();
  assert.deepEqual(complaints, []);
});

test("a page whose server goes says so, and goes on when it is back", async (t) => {
  const folder = await temporaryFolder(t);
  const runs = path.join(folder, "runs");
  await mkdir(runs);
  const first = await serve(t, runs);
  const run = play(t, path.join(runs, "one"), "--set", "rounds=100000");
  await run.prints(/round +3\//);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, first.origin);
  await page.goto(`${first.origin}/#/run/one`);
  const rounds = () => page.locator(".figures dd").first().textContent();
  await page.locator('[data-link="live"]').waitFor();
  await page.locator(".figures").waitFor();
  // Whoever leaves in the middle is nobody's trouble.
  const other = await browser.newPage();
  await other.goto(`${first.origin}/#/run/one`);
  await other.locator(".figures").waitFor();
  await other.close();

  await first.server.kill();
  await page.locator('[data-link="gone"]').waitFor();
  const before = Number.parseInt(await rounds(), 10);
  const { port } = new URL(first.origin);
  await serve(t, runs, `127.0.0.1:${port}`);
  await page.locator('[data-link="live"]').waitFor();
  await page.waitForFunction(
    (before) => Number.parseInt(document.querySelector(".figures dd").textContent, 10) > before,
    before,
  );
  // Nothing is missing, and nothing there twice.
  await page.locator("summary", { hasText: "Rounds" }).click();
  const cells = page.getByRole("table", { name: /^rounds/ }).getByRole("cell");
  await cells.first().waitFor();
  const shown = await page.evaluate(() =>
    [...document.querySelectorAll(".long-row > span:first-child")]
      .map((cell) => Number(cell.textContent))
      .filter((round) => round > 0),
  );
  assert.ok(shown.length > 3, shown.join());
  assert.deepEqual(
    shown,
    shown.map((_, index) => shown[0] - index),
  );
  assert.deepEqual(complaints.filter(isOfThePage), []);
});

/** The names of what curves can be drawn over. */
const axes = (page) =>
  page.getByRole("combobox", { name: "over" }).locator("option").evaluateAll((options) =>
    options.map((option) => option.value),
  );

test("curves over what a run has used, where it says so", async (t) => {
  const folder = await temporaryFolder(t);
  const runs = path.join(folder, "runs");
  await play(t, path.join(runs, "native"), "--set", "rounds=4").succeeds();
  // Two devices that stand for a microcontroller, of which device time and energy are known.
  const experiment = path.join(folder, "mcu.toml");
  const digits = await readFile(DIGITS, "utf8");
  await writeFile(
    experiment,
    digits
      .replace('board = "mps2-an386"', 'mcu = "nrf52840"')
      .replace("count = 10", "count = 2")
      .replace("rounds = 20", "rounds = 3"),
  );
  const mcu = path.join(runs, "mcu");
  await new Running(t, ZFL, ["run", experiment, "--out", mcu]).succeeds();
  const { origin } = await serve(t, runs);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, origin);

  await page.goto(`${origin}/#/run/native`);
  await figure(page, "rounds").filter({ hasText: "4 of 4" }).waitFor();
  assert.deepEqual(await axes(page), ["round", "bytes", "host"]);
  assert.equal(await figure(page, "energy").count(), 0);

  await page.goto(`${origin}/#/run/mcu`);
  await figure(page, "rounds").filter({ hasText: "3 of 3" }).waitFor();
  assert.deepEqual(await axes(page), ["round", "bytes", "device", "energy", "host"]);
  const over = page.getByRole("combobox", { name: "over" });
  assert.equal(await over.inputValue(), "round");
  // The sums of what clients.csv says: the longest part of each round, and all energy.
  const [head, ...rows] = (await readFile(path.join(mcu, "clients.csv"), "utf8")).trim().split("\n");
  const at = (name) => head.split(",").indexOf(name);
  const longest = new Map();
  let energy_mj = 0;
  for (const cells of rows.map((row) => row.split(","))) {
    const seconds = Number(cells[at("device_seconds")]);
    const round = cells[at("round")];
    longest.set(round, Math.max(longest.get(round) ?? 0, seconds));
    energy_mj += Number(cells[at("energy_mj")]);
  }
  const device_seconds = [...longest.values()].reduce((sum, seconds) => sum + seconds, 0);
  assert.ok(device_seconds > 0 && energy_mj > 0, rows.join("\n"));
  const drawn = (axis) =>
    page.getByRole("img", { name: new RegExp(`^accuracy on the test set, curve over ${axis}`) });
  const lastOf = async (axis) => {
    const [, value, unit] = (await drawn(axis).getAttribute("aria-label")).match(
      /; at ([\d.]+) (µs|ms|s|min|h|µJ|mJ|J|kJ):/,
    );
    const scale = { µs: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, µJ: 1e-3, mJ: 1, J: 1e3, kJ: 1e6 };
    return Number(value) * scale[unit];
  };
  for (const [name, axis, expected] of [
    ["device", "device time, the slowest client of each round \\(device clock\\)", device_seconds],
    ["energy", "energy of all clients", energy_mj],
  ]) {
    await over.selectOption(name);
    await drawn(axis).waitFor();
    const found = await lastOf(axis);
    assert.ok(Math.abs(found / expected - 1) < 0.01, `${name}: ${found} for ${expected}`);
  }

  // Beside a run that has none of it, which is left out and said so.
  await page.goto(`${origin}/#/compare/native/mcu`);
  await page.getByRole("img", { name: /accuracy on the test set.*native.*mcu/ }).waitFor();
  assert.deepEqual(await axes(page), ["round", "bytes", "device", "energy", "host"]);
  await over.selectOption("energy");
  const alone = page.getByRole("img", { name: /^accuracy on the test set, curve over energy/ });
  await alone.waitFor();
  assert.match(await alone.getAttribute("aria-label"), /: mcu \d/);
  assert.doesNotMatch(await alone.getAttribute("aria-label"), /native/);
  await page.getByText("no such numbers in 1 of 2 runs").waitFor();
  assert.deepEqual(complaints, []);
});

test("a sweep is one entry, and is followed to its end", async (t) => {
  const folder = await temporaryFolder(t);
  const runs = path.join(folder, "runs");
  const digits = await readFile(DIGITS, "utf8");
  await writeFile(path.join(folder, "base.toml"), digits.replace("rounds = 20", "rounds = 8"));
  const file = path.join(folder, "small.toml");
  await writeFile(
    file,
    `experiment = "base.toml"
[space]
training.epochs = [1, 2]
training.batch-size = [10, 50]
training.learning-rate = { log-range = [0.02, 0.5], points = 3 }
[early-stopping.asha]
rounds-min = 2
reduction-factor = 2
[[objectives]]
accuracy = {}
[[objectives]]
bytes = {}
`,
  );
  const out = path.join(runs, "sweep-small-001");
  const { origin } = await serve(t, folder);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, origin);
  await page.goto(origin);
  const sweep = new Running(t, ZFL, ["sweep", file, "--out", out, "--workers", "1"]);

  // Held until the page has shown that it goes on; its tables are written by then.
  await sweep.prints(/\] trial [^]*\] trial /);
  sweep.signal("SIGSTOP");

  // It shows up by itself: one entry, however many trials there are.
  const entry = page.locator("tbody tr", { hasText: "runs/sweep-small-001" });
  await entry.locator(".badge.running").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 1);
  await entry.getByText(/^\d+ of 12 trials$/).waitFor();
  await entry.getByRole("link").click();
  const over = figure(page, "trials over");
  await over.filter({ hasText: /^\d+ of 12$/ }).waitFor();
  await page.locator(".badge.running").waitFor();
  sweep.signal("SIGCONT");
  // What is there is shown while it goes on.
  const front = page.getByRole("img", { name: /^accuracy over bytes of messages: / });
  await page.waitForFunction(() =>
    document
      .querySelector('[role="img"][aria-label^="accuracy over bytes"]')
      ?.getAttribute("aria-label")
      .match(/: [1-9]\d* trials, [1-9]\d* points on the front/),
  );
  await page.getByText(/Part of the variance of accuracy over \d+ trials, all after round 2,/).waitFor();

  await sweep.succeeds();
  await page.locator(".badge.completed").waitFor();
  await over.filter({ hasText: "12 of 12" }).waitFor();
  const summary = JSON.parse(await readFile(path.join(out, "summary.json"), "utf8"));
  const { best, importance, front_points } = summary;
  assert.match(
    await front.getAttribute("aria-label"),
    new RegExp(`12 trials, ${front_points} points on the front, from .* at .* \\(trial \\d+ after`),
  );
  for (const { parameter, share } of importance.parameters) {
    const bar = page.getByRole("progressbar", { name: `share of ${parameter}` });
    assert.ok(Math.abs((await bar.getAttribute("value")) - share) < 1e-9, parameter);
  }
  const searched = page.locator("tr", { has: page.locator('th:text-is("training.learning-rate")') });
  assert.match(await searched.first().textContent(), /0\.02.*0\.1.*0\.5/);

  // The best is first, and any column sorts by the keyboard.
  const table = page.getByRole("table", { name: "trials", exact: true });
  const cells = (row) => table.getByRole("row").nth(row).getByRole("cell").allTextContents();
  assert.equal((await cells(1))[1], String(best.trial));
  assert.equal((await cells(1))[4], best.objectives.accuracy.toFixed(4));
  assert.equal(await table.getByRole("row").count(), 13);
  await table.getByRole("button", { name: "trial", exact: true }).focus();
  await page.keyboard.press("Enter");
  await table.getByRole("columnheader", { name: "trial" }).and(page.locator('[aria-sort="ascending"]')).waitFor();
  assert.equal((await cells(1))[1], "1");
  await page.getByRole("searchbox").fill("Completed batch-size");
  assert.ok(summary.trials.completed < 12);
  await page.getByText(`${summary.trials.completed} of 12 trials`).waitFor();
  await page.getByRole("searchbox").fill("");

  // Two of its trials beside each other.
  await page.getByRole("checkbox", { name: "compare trial 1", exact: true }).check();
  await page.getByRole("checkbox", { name: "compare trial 2", exact: true }).check();
  await page.getByRole("button", { name: "compare these 2" }).click();
  await page.getByRole("img", { name: /accuracy on the test set.*trials\/0001.*trials\/0002/ }).waitFor();
  await page.goBack();

  // A trial is a run, from which there is a way back.
  await table.getByRole("link", { name: `trial ${best.trial}`, exact: true }).click();
  await figure(page, "rounds").filter({ hasText: `${best.rounds} of 8` }).waitFor();
  await page.getByRole("link", { name: "runs/sweep-small-001" }).click();
  await page.getByRole("heading", { name: "Which parameter mattered" }).waitFor();
  assert.deepEqual(complaints, []);

  // The dashboard of the sweep alone, where it is dark; and a sweep that was killed.
  const alone = await serve(t, out);
  const dark = await openPage(browser, alone.origin, { colorScheme: "dark" });
  await dark.page.goto(alone.origin);
  await dark.page.getByRole("heading", { name: "runs / small" }).waitFor();
  const link = dark.page.getByRole("table", { name: "trials", exact: true }).getByRole("link").first();
  await link.click();
  await dark.page.getByRole("link", { name: "the sweep" }).waitFor();
  assert.deepEqual(dark.complaints, []);
  const killed = path.join(runs, "killed");
  const other = new Running(t, ZFL, ["sweep", file, "--out", killed, "--workers", "1"]);
  await other.prints(/\] trial /);
  await other.kill();
  await page.goto(`${origin}/#/sweep/${encodeURIComponent("runs/killed")}`);
  await page.locator(".badge.cut-off").waitFor();
  await over.filter({ hasText: "of 12" }).waitFor();
  await page.goto(`${origin}/#/sweep/nowhere`);
  await page.getByText("there is no such sweep").waitFor();
  assert.deepEqual(
    complaints.filter((complaint) => !complaint.includes("404")),
    [],
  );
});
