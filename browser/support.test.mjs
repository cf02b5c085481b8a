// The tests of pages are only worth something where the watch sees what is wrong.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";

import { Running, openBrowser, openPage, temporaryFolder } from "./support.mjs";

async function complaintsOf(t, html) {
  const folder = await temporaryFolder(t);
  const file = path.join(folder, "page.html");
  await writeFile(file, `<!doctype html><meta charset="utf-8"><title>page</title>${html}`);
  const browser = await openBrowser(t);
  const { page, complaints } = await openPage(browser, null);
  await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
  return { page, complaints };
}

test("a page without fault is shown, and nothing is complained of", async (t) => {
  const { page, complaints } = await complaintsOf(
    t,
    "<h1>rounds</h1><script>document.querySelector('h1').textContent += ': 20'</script>",
  );
  assert.equal(await page.textContent("h1"), "rounds: 20");
  assert.deepEqual(complaints, []);
});

test("errors, exceptions and requests that leave are seen", async (t) => {
  const { complaints } = await complaintsOf(
    t,
    // A port that nobody may listen on: nothing leaves the machine.
    "<script>console.error('one')</script><script>throw new Error('two')</script>" +
      "<img src='http://127.0.0.1:1/three.png' alt=''>",
  );
  const all = complaints.join("\n");
  assert.match(all, /console: one/);
  assert.match(all, /exception: two/);
  assert.match(all, /request leaves: http:\/\/127\.0\.0\.1:1\/three\.png/);
});

test("a program that ends too early is told of, with what it printed", async (t) => {
  const running = new Running(t, "/bin/sh", ["-c", "echo so far; exit 3"]);
  await assert.rejects(running.prints(/listening/), /ended \(3\)[^]*so far/);
});
