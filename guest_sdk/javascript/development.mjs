/**
 * Builds the component in which `guesthouse run --dev` runs apps from their bundles (`src/development.ts`):
 *
 *     node development.mjs SOURCE OUTPUT WIT ENGINE
 *
 * SOURCE is an app, whose folder has the tools; nothing else of it is used.
 */

import { join, resolve } from "node:path";

import { SDK, textOf } from "./bundle.mjs";
import { run, writeComponent } from "./componentize.mjs";

await run(async ([source, output, wit, engine]) => {
  const path = resolve(source);
  const entry = { contents: `export { guest } from "./development.ts";\n`, resolveDir: join(SDK, "src") };
  const { text } = await textOf(entry, path, engine, "esm");
  await writeComponent({ text }, path, output, wit, engine);
});
