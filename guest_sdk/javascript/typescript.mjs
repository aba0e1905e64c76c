/** `node --import @guesthouse/sdk/typescript`: lets tests in TypeScript run where Node.js (before 22.18) does not by itself. */

import * as module from "node:module";
import { pathToFileURL } from "node:url";

if (!process.features.typescript) {
  if (module.register === undefined) throw new Error(`Node.js ${process.version} is too old for tests: install 20.6 or newer`);
  module.register("./typescript_hooks.mjs", import.meta.url, { data: pathToFileURL(`${process.cwd()}/`).href });
}
