/**
 * Builds a process of TypeScript or JavaScript into a component. Called by `guesthouse build`:
 *
 *     node build.mjs SOURCE OUTPUT WIT ENGINE
 *
 * The tools are those of the source's own `node_modules`, or of a folder above it.
 */

import { resolve } from "node:path";

import { bundledApp } from "./bundle.mjs";
import { run, writeComponent } from "./componentize.mjs";

await run(async ([source, output, wit, engine]) => {
  const path = resolve(source);
  const { text, lines: table } = await bundledApp(path, engine, "esm");
  const whole = `${text}\nglobalThis.__guesthouseLines = ${JSON.stringify(table)};\n`;
  await writeComponent({ text: whole, table }, path, output, wit, engine);
});
