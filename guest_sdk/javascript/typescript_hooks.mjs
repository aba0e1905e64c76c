/** Makes JavaScript of TypeScript, by the esbuild of the package that is tested. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { tool } from "./bundle.mjs";

let esbuild;

export async function initialize(folder) {
  esbuild = await tool("esbuild", fileURLToPath(new URL("package.json", folder)));
}

export async function load(url, context, next) {
  if (!url.startsWith("file:") || !/\.m?ts$/.test(new URL(url).pathname)) return next(url, context);
  const sourcefile = fileURLToPath(url);
  const options = { loader: "ts", format: "esm", target: "es2022", sourcefile, sourcemap: "inline" };
  const { code } = await esbuild.transform(await readFile(sourcefile, "utf8"), options);
  return { format: "module", source: code, shortCircuit: true };
}
