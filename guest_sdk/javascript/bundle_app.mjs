/**
 * Bundles apps for the component that `development.mjs` builds, for as long as its input is open: Node.js and esbuild take
 * longer to start than to bundle. Started by `guesthouse run --dev`.
 *
 * A line of input is JSON, `{ source, engine }`, and so is each of output: `{ text, lines, said }`, where `lines` tells which
 * lines of the script are which of the sources, or `{ error, said }`. `said` are esbuild's warnings.
 */

import { createInterface } from "node:readline";
import { resolve } from "node:path";

import { bundledApp, Problem } from "./bundle.mjs";

let said = [];
console.error = (text) => said.push(String(text));

for await (const line of createInterface({ input: process.stdin })) {
  const { source, engine } = JSON.parse(line);
  said = [];
  let answer;
  try {
    answer = await bundledApp(resolve(source), engine, "cjs");
  } catch (error) {
    answer = { error: error instanceof Problem ? error.message : String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify({ ...answer, said })}\n`);
}
process.exit(0);
