// The dashboard in a browser: a run that goes on, one that is over, a server that goes
// and comes back.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
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
