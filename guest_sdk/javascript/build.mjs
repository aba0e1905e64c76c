/**
 * Builds a process of TypeScript or JavaScript into a component. Called by `guesthouse build`:
 *
 *     node build.mjs SOURCE OUTPUT WIT ENGINE
 *
 * The tools are those of the source's own `node_modules`, or of a folder above it.
 */

import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { BUNDLE, bundled, inSources, lineTable, Problem, SDK, tool } from "./bundle.mjs";

const TOOLS = { quickjs: "componentize-qjs", starlingmonkey: "@bytecodealliance/componentize-js" };

async function component(jsSource, source, wit, engine) {
  const componentizer = await tool(TOOLS[engine], source);
  const work = await mkdtemp(join(tmpdir(), "guesthouse-build-"));
  try {
    const path = join(work, BUNDLE);
    await writeFile(path, jsSource);
    const witPath = join(work, "wit");
    for (const folder of [wit, join(SDK, "wit")]) await cp(folder, witPath, { recursive: true });
    const made =
      engine === "quickjs"
        ? await componentizer.componentize({ witPath, world: "javascript", optSize: true, jsSource, jsPath: path, moduleRoot: work, sync: true })
        : await componentizer.componentize({ sourcePath: path, witPath, worldName: "javascript", disableFeatures: ["http", "fetch-event"] });
    return made.component;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function main([source, output, wit, engine]) {
  const path = resolve(source);
  const { text, map } = await bundled(path, engine);
  const table = lineTable(text, map, path);
  const whole = `${text}\nglobalThis.__guesthouseLines = ${JSON.stringify(table)};\n`;
  try {
    await writeFile(output, await component(whole, path, wit, engine));
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(inSources(`${source}: it cannot be made a component: ${error.message ?? error}`, table));
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Problem ? error.message : error);
  process.exit(1);
}
process.exit(0);
