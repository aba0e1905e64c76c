/** Makes components of bundles, by the componentizers of npm. */

import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BUNDLE, inSources, Problem, SDK, tool } from "./bundle.mjs";

/** What componentize-qjs says before the error of the app. */
const WRAPPED = /^[:\s]*(?:Failed to evaluate user JavaScript module: )?(?:Failed to finish JavaScript module evaluation: )?(?:Error: )?/;

const TOOLS = { quickjs: "componentize-qjs", starlingmonkey: "@bytecodealliance/componentize-js" };

/**
 * Write the component of a bundle.
 *
 * @param {{ text: string, table?: object }} bundle and which of its lines are which of the sources.
 * @param {string} source from where the tools are found.
 */
export async function writeComponent({ text, table }, source, output, wit, engine) {
  try {
    await writeFile(output, await component(text, source, wit, engine));
  } catch (error) {
    if (error instanceof Problem) throw error;
    const told = `${source}: it cannot be made a component: ${String(error.message ?? error).replace(WRAPPED, "")}`;
    throw new Problem(table === undefined ? told : inSources(told, table));
  }
}

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

/** Run a script: what is wrong with a source is told without a stack. */
export async function run(main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Problem ? error.message : error);
    process.exit(1);
  }
  process.exit(0);
}
