import { readFileSync } from "node:fs";
import path from "node:path";
import { defineConfig } from "vite";

// Named without hashes: the files are compiled into zfl, which says how long they last.
export default defineConfig({
  // `zfl dashboard` beside `npx vite`, to work on the page.
  server: { proxy: { "/api": "http://127.0.0.1:8090" } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: process.env.ZFL_DASHBOARD_OUT ?? "../crates/zfl-dashboard/assets",
    emptyOutDir: true,
    target: "es2022",
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        entryFileNames: "app.js",
        assetFileNames: "app[extname]",
        codeSplitting: false,
      },
    },
  },
  plugins: [licenses(["preact", "uplot"])],
});

/** Emits the licenses of the libraries in the bundle, which ask to be with it. */
function licenses(names) {
  return {
    name: "licenses",
    generateBundle() {
      const texts = names.map((name) => {
        const text = readFileSync(path.join("node_modules", name, "LICENSE"), "utf8");
        return `${name}\n\n${text.trim()}\n`;
      });
      const source = `The page of zfl's dashboard has these libraries in it.\n\n${texts.join("\n\n")}`;
      this.emitFile({ type: "asset", fileName: "licenses.txt", source });
    },
  };
}
