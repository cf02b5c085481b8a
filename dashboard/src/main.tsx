// The page of zfl's dashboard.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";

import { ComparePage } from "./compare";
import { ListPage } from "./list";
import { RunPage } from "./run";
import { SweepPage } from "./sweep";
import "./style.css";

function App() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const listen = () => setHash(location.hash);
    addEventListener("hashchange", listen);
    return () => removeEventListener("hashchange", listen);
  }, []);
  const [, page, ...ids] = hash.split("/").map(decode);
  if (page === "run" && ids[0]) return <RunPage key={ids[0]} id={ids[0]} />;
  if (page === "sweep" && ids[0]) return <SweepPage key={ids[0]} id={ids[0]} />;
  if (page === "compare" && ids.length > 0) return <ComparePage ids={ids} />;
  return <ListPage />;
}

/** What somebody has typed may be no encoding. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const app = document.getElementById("app");
if (app) render(<App />, app);
