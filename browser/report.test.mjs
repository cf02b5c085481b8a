// The reports of runs in a browser: files that load nothing, without scripts.

import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";

import { PROJECT, Running, ZFL, openBrowser, openPage, temporaryFolder } from "./support.mjs";

const FAULTS = path.join(PROJECT, "examples/faults.toml");

/** Plays an experiment in which clients go wrong; its folder. */
async function play(t, folder, name, ...more) {
  const out = path.join(folder, name);
  await new Running(t, ZFL, ["run", FAULTS, "--quiet", "--out", out, ...more]).succeeds();
  return out;
}

/** What is wrong with the charts and the layout of a page, which has at least so many charts. */
async function check(page, chart_count_min) {
  const charts = page.locator("svg.chart");
  const count = await charts.count();
  assert.ok(count >= chart_count_min, `${count} charts`);
  for (let index = 0; index < count; index += 1) {
    const chart = charts.nth(index);
    const name = await chart.getAttribute("aria-label");
    assert.match(name, /\w+\. ./, "a chart says what it shows");
    assert.equal(await chart.getAttribute("role"), "img");
    // Whatever has a y axis has an x axis too, and a time says its clock and its unit.
    const labels = await chart.locator(".label").allTextContents();
    assert.ok(labels.length > 0, name);
    assert.ok((await chart.locator(".x-label").count()) > 0, name);
    for (const label of labels) {
      assert.notEqual(label.trim(), "", name);
      if (/time|length|part of a client/.test(label)) {
        assert.match(label, /\((µs|ms|s|h), .*clock\)/, label);
      }
      if (/accuracy|loss|messages|bodies|frames|energy/.test(label)) {
        assert.match(label, /\(.+\)$/, label);
      }
    }
    const box = await chart.boundingBox();
    assert.ok(box.width > 100 && box.height > 50, `${name}: ${JSON.stringify(box)}`);
  }
  // Nothing but tables and listings is wider than the page, and they scroll by themselves.
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
  }));
  assert.ok(scroll <= client, `${scroll} px in ${client}`);
}

test("the report of a run, light, dark, narrow and on paper", async (t) => {
  const folder = await temporaryFolder(t);
  const url = pathToFileURL(path.join(await play(t, folder, "run"), "report.html")).href;
  const browser = await openBrowser(t);
  const surfaces = [];
  for (const [options, media] of [
    [{ colorScheme: "light", viewport: { width: 1200, height: 900 } }, "screen"],
    [{ colorScheme: "dark", viewport: { width: 1200, height: 900 } }, "screen"],
    [{ colorScheme: "light", viewport: { width: 390, height: 800 } }, "screen"],
    [{ colorScheme: "dark", viewport: { width: 794, height: 1123 } }, "print"],
  ]) {
    const { page, complaints } = await openPage(browser, null, options);
    await page.emulateMedia({ media, colorScheme: options.colorScheme });
    await page.goto(url);
    await check(page, 6);
    surfaces.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    assert.deepEqual(complaints, []);
    await page.context().close();
  }
  const [light, dark, narrow, paper] = surfaces;
  assert.notEqual(light, dark);
  assert.equal(narrow, light);
  // Paper is white, also for who likes it dark.
  assert.equal(paper, light);
});

test("the report of a run, by the keyboard and without scripts", async (t) => {
  const folder = await temporaryFolder(t);
  const url = pathToFileURL(path.join(await play(t, folder, "run"), "report.html")).href;
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, null, { javaScriptEnabled: false });
  await page.goto(url);
  await page.getByRole("heading", { level: 1, name: "faults" }).waitFor();
  await page.getByRole("img", { name: /^Accuracy by round\. The curve goes from / }).waitFor();
  await page.getByRole("img", { name: /^Outcomes by client and round\. .* late/ }).waitFor();
  // The first thing is a way past the list of sections.
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  assert.ok(await skip.evaluate((link) => link === document.activeElement));
  // A table is behind each chart, and opens.
  const numbers = page.locator("details", { hasText: "Numbers of figure 1" });
  assert.equal(await numbers.getByRole("table").count(), 0);
  await numbers.locator("summary").focus();
  await page.keyboard.press("Enter");
  const rows = numbers.getByRole("table").getByRole("row");
  assert.equal(await rows.count(), 21);
  assert.deepEqual(complaints, []);
});

test("the report of several runs", async (t) => {
  const folder = await temporaryFolder(t);
  const one = await play(t, folder, "one");
  const two = await play(t, folder, "two", "--set", "training.epochs=1");
  const out = path.join(folder, "comparison.html");
  await new Running(t, ZFL, ["report", one, two, "--out", out]).succeeds();
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, null);
  await page.goto(pathToFileURL(out).href);
  await check(page, 4);
  await page.getByText("2 runs, which differ in training.epochs.").waitFor();
  const accuracy = page.getByRole("img", { name: /^Accuracy by round\./ });
  for (const name of ["epochs 5", "epochs 1"]) {
    await accuracy.getByText(new RegExp(`^${name}: 0\\.\\d+$`)).waitFor();
  }
  assert.deepEqual(complaints, []);
});
