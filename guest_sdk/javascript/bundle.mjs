/** Bundles an app with the SDK, by the esbuild of its own `node_modules`, or of a folder above it. */

import { readFile } from "node:fs/promises";
import { createRequire, isBuiltin, SourceMap } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const SDK = dirname(fileURLToPath(import.meta.url));
export const BUNDLE = "guesthouse-bundle.js";
/** What imports the app in a bundle. Its lines are shown as the first of the app, which the author knows. */
const ENTRY = "guesthouse-entry.js";

/** What is wrong with the source or its folder: told without a stack. */
export class Problem extends Error {}

export async function tool(name, source) {
  let found;
  try {
    found = createRequire(source).resolve(name);
  } catch (error) {
    // A package without an entry for `require` is there all the same.
    found = error.code === "ERR_PACKAGE_PATH_NOT_EXPORTED" && (await moduleEntry(name, source));
    if (!found) throw new Problem(`${source} needs ${name}, which is not installed: run 'npm install' in its package's folder`);
  }
  const module = await import(pathToFileURL(found).href);
  return module.default?.componentize || module.default?.build ? module.default : module;
}

async function moduleEntry(name, source) {
  for (let folder = dirname(source); ; folder = dirname(folder)) {
    const place = join(folder, "node_modules", name);
    try {
      const { exports, main } = JSON.parse(await readFile(join(place, "package.json"), "utf8"));
      const entry = exports?.["."] ?? exports ?? main;
      return resolve(place, typeof entry === "string" ? entry : (entry.import?.default ?? entry.import ?? entry.default));
    } catch (error) {
      if (error.code !== "ENOENT" || folder === dirname(folder)) return undefined;
    }
  }
}

/** The app and the SDK as one module, and which of its lines are which of the sources. */
export async function bundledApp(source, engine, format) {
  const { text, map } = await bundled(source, engine, format);
  return { text, lines: lineTable(text, map, source) };
}

/**
 * The app and the SDK as one module, and its source map.
 *
 * @param {string} source the app's entry.
 * @param {string} engine "quickjs", "starlingmonkey", or "node" for tests.
 * @param {"esm" | "cjs"} format of the module.
 */
export function bundled(source, engine, format = "esm") {
  const contents =
    `import { guestOf } from "@guesthouse/sdk/entry";\n` +
    `import * as app from ${JSON.stringify(source)};\n` +
    `export const guest = guestOf(app);\n`;
  return textOf({ contents, resolveDir: dirname(source) }, source, engine, format);
}

/** A module and what it imports as one, by the esbuild that `source` has. */
export async function textOf(entry, source, engine, format) {
  const esbuild = await tool("esbuild", source);
  const options = {
    stdin: { ...entry, sourcefile: ENTRY, loader: "js" },
    outfile: BUNDLE,
    write: false,
    bundle: true,
    format,
    target: "es2022",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "module", "default"],
    external: ["guesthouse:*", "wasi:*"],
    alias: { "@guesthouse/sdk": join(SDK, "src") },
    define: { GUESTHOUSE_ENGINE: JSON.stringify(engine) },
    // Neither engine runs its own job queue while `run` loops: `async` is made of the SDK's promises.
    supported: { "async-await": false, "async-generator": false, "for-await": false },
    keepNames: true,
    sourcemap: "external",
    sourcesContent: false,
    logLevel: "silent",
  };
  let result;
  try {
    result = await esbuild.build(options);
  } catch (error) {
    if (!Array.isArray(error.errors) || error.errors.length === 0) throw error;
    throw new Problem(error.errors.map((message) => shown(message, "error")).join("\n"));
  }
  for (const warning of result.warnings) console.error(shown(warning, "warning"));
  const text = result.outputFiles.find((file) => file.path.endsWith(".js")).text;
  const map = JSON.parse(result.outputFiles.find((file) => file.path.endsWith(".map")).text);
  return { text, map };
}

/** A message of esbuild, with its place first. */
function shown({ location, text, notes }, kind) {
  if (location === null) return `${kind}: ${text}`;
  const { file, line, column, lineText, length } = location;
  const place = `${relative(process.cwd(), resolve(file))}:${line}:${column + 1}`;
  const under = " ".repeat(column) + "~".repeat(Math.max(1, Math.min(length, lineText.length - column)));
  const more = (missing(text) ?? (notes ?? []).map((note) => note.text)).map((note) => `  note: ${note}`);
  return [`${place}: ${kind}: ${text}`, `  ${lineText}`, `  ${under}`, ...more].join("\n");
}

/** What to do about a module that is not found, instead of esbuild's advice, which is about its own options. */
function missing(text) {
  const name = /^Could not resolve "(.*)"$/s.exec(text)?.[1];
  if (name === undefined || name.startsWith(".") || name.startsWith("/")) return undefined;
  if (isBuiltin(name)) return ["components have no modules of Node.js: see \"Available APIs\" in docs/guest-javascript.md"];
  const [scope, inner] = name.split("/");
  const npm = scope.startsWith("@") && inner !== undefined ? `${scope}/${inner}` : scope;
  return [`if it is a package of npm, run 'npm install ${npm}' in the package's folder`];
}

/** Which lines of the bundle are which of the sources: see `src/stack.ts`. */
export function lineTable(text, map, source) {
  const found = new SourceMap(map);
  const sources = [];
  const runs = [];
  const lines = text.split("\n");
  lines.forEach((content, index) => {
    const start = content.length - content.trimStart().length;
    const entry = found.findEntry(index, start);
    if (entry.originalSource === undefined || entry.generatedLine !== index) return;
    const original = resolve(entry.originalSource);
    const isEntry = basename(original) === ENTRY;
    const name = shortName(isEntry ? source : original, source);
    if (!sources.includes(name)) sources.push(name);
    const place = [index + 1, sources.indexOf(name), isEntry ? 1 : entry.originalLine + 1, 1];
    const last = runs.at(-1);
    const follows = last && last[1] === place[1] && last[0] + last[3] === place[0] && last[2] + last[3] === place[2];
    if (follows) last[3]++;
    else runs.push(place);
  });
  return { bundle: BUNDLE, sources, runs };
}

function shortName(file, source) {
  return file.startsWith(join(SDK, "")) ? `guest_sdk/javascript/${relative(SDK, file)}` : relative(dirname(source), file);
}

/** Text of a tool with places in the bundle replaced by places in the sources. */
export function inSources(text, table) {
  return text.replace(/[^\s(@"]+?:(\d+)(?::\d+)?(?=\)|$|\s)/gm, (place, number) => {
    const wanted = Number(number);
    const run = table.runs.find(([first, , , count]) => wanted >= first && wanted < first + count);
    return run === undefined ? place : `${table.sources[run[1]]}:${run[2] + wanted - run[0]}`;
  });
}
