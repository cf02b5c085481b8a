// Drawing, a piece at a time: each job has a frame of its own, so that no piece of work
// keeps the page from answering.

const jobs = new Map<object, () => void>();
let isDue = false;

/** Calls `job` in one of the next frames; once, however often it is asked for until then. */
export function soon(key: object, job: () => void) {
  jobs.set(key, job);
  if (!isDue) {
    isDue = true;
    requestAnimationFrame(next);
  }
}

/** Forgets what was to be done. */
export function forget(key: object) {
  jobs.delete(key);
}

function next() {
  for (const [key, job] of jobs) {
    jobs.delete(key);
    job();
    break;
  }
  isDue = jobs.size > 0;
  if (isDue) requestAnimationFrame(next);
}

/** A colour of the style sheet, e.g. `--ok`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Calls back when light becomes dark, or the other way round; the answer ends that. */
export function onScheme(listener: () => void): () => void {
  const query = window.matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", listener);
  return () => query.removeEventListener("change", listener);
}

/** Fits a canvas to the screen's pixels; its context, in CSS pixels. */
export function fit(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}
