// What the tests of zfl's pages share: Debian's chromium, pages that are watched,
// and programs that run. Nothing here waits without a deadline.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

/** Longer than anything takes on a machine that is busy with other things. */
export const DEADLINE_MS = 60_000;

/** The project's folder. */
export const PROJECT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The program under test: `ZFL`, else the one that `cargo test` has built. */
export const ZFL =
  process.env.ZFL ??
  path.join(path.resolve(PROJECT, process.env.CARGO_TARGET_DIR ?? "target"), "debug/zfl");

/** Starts Debian's chromium; `test` closes it. */
export async function openBrowser(test) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Root may not use its sandbox, and /dev/shm is small in containers.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
    timeout: DEADLINE_MS,
  });
  test.after(() => browser.close());
  return browser;
}

/**
 * A new page and what goes wrong on it: `complaints` gets every error on its console, every
 * exception, and every request that is not to `origin` (none at all where that is null, but for
 * files). `options` are those of a browser's context, e.g. `{ colorScheme: "dark" }`.
 */
export async function openPage(browser, origin, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      complaints.push(`console: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    const isOwn = ["file:", "data:", "blob:"].includes(url.protocol) || url.origin === origin;
    if (!isOwn) complaints.push(`request leaves: ${request.url()}`);
  });
  return { page, complaints };
}

/** A folder that `test` removes. */
export async function temporaryFolder(test) {
  const folder = await mkdtemp(path.join(tmpdir(), "zfl-browser-"));
  test.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** A program that runs; `test` kills it. */
export class Running {
  #child;
  #text = "";
  #waiting = new Set();

  constructor(test, program, args, options = {}) {
    this.#child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
      env: { ...process.env, NO_COLOR: "1", ...options.env },
    });
    const take = (text) => {
      this.#text += text;
      for (const look of this.#waiting) look();
    };
    this.#child.stdout.setEncoding("utf8").on("data", take);
    this.#child.stderr.setEncoding("utf8").on("data", take);
    this.ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (code, signal) => resolve(code ?? signal));
    });
    // Whoever waits for it hears of it; nobody must.
    this.ended.catch(() => {});
    test.after(() => this.kill());
  }

  /** The number of its process. */
  get pid() {
    return this.#child.pid;
  }

  /** What it has printed. */
  get text() {
    return this.#text;
  }

  /** Waits until it has printed what the expression matches; the match. */
  async prints(expression) {
    const printed = new Promise((resolve) => {
      const look = () => {
        const match = this.#text.match(expression);
        if (!match) return;
        this.#waiting.delete(look);
        resolve(match);
      };
      this.#waiting.add(look);
      look();
    });
    const ended = this.ended.then((code) => {
      // What it printed last has been looked at.
      throw new Error(`ended (${code}) without ${expression}:\n${this.#text}`);
    });
    return within(`${expression}`, Promise.race([printed, ended]), () => this.#text);
  }

  /** Waits for its end, which must be a success. */
  async succeeds() {
    const code = await within("the end", this.ended, () => this.#text);
    assert.equal(code, 0, this.#text);
  }

  /** Sends it a signal. */
  signal(name) {
    this.#child.kill(name);
  }

  /** Ends it at once. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.ended.catch(() => {});
  }
}

/** `promise`, or an error when it takes too long. */
export async function within(what, promise, more = () => "") {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not within ${DEADLINE_MS} ms: ${what}\n${more()}`)),
      DEADLINE_MS,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
