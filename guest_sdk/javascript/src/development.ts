/**
 * The component in which `guesthouse run --dev` runs an app: it gets the app's bundle from `development:distro:sys`, which a
 * node has only with `--dev`, when it starts. Built once for many apps, by `development.mjs`.
 */

import * as capabilities from "guesthouse:process/capabilities@0.1.0";
import * as httpServer from "guesthouse:process/http-server@0.1.0";
import * as messaging from "guesthouse:process/messaging@0.1.0";
import * as spawning from "guesthouse:process/spawning@0.1.0";
import * as system from "guesthouse:process/system@0.1.0";
import * as tracing from "guesthouse:process/tracing@0.1.0";
import type { Address } from "guesthouse:process/types@0.1.0";
import * as random from "wasi:random/random@0.2.12";

import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import { described, type LineTable } from "./stack.ts";

declare const GUESTHOUSE_ENGINE: string;

type Call = (...given: unknown[]) => unknown;
type Evaluated = { guest: { run(our: Address): void } };

interface Given {
  source: string;
  check: boolean;
  files: [path: string, size: number][];
}

// QuickJS's bindings have numbers for u64.
const SECONDS = (GUESTHOUSE_ENGINE === "quickjs" ? 30 : 30n) as bigint;

const evaluate = globalThis.eval; // called indirectly: at the top level of a script

const ONLY_IN_DEVELOPMENT =
  "this component runs an app from its sources, and only under `guesthouse run --dev`: build the app instead";

/** While the app's modules are evaluated there is no host, as when a component is built. */
let evaluating = false;

const MODULES: Record<string, object> = {
  "guesthouse:process/capabilities@0.1.0": refusing(capabilities),
  "guesthouse:process/http-server@0.1.0": refusing(httpServer),
  "guesthouse:process/messaging@0.1.0": refusing(messaging),
  "guesthouse:process/spawning@0.1.0": refusing(spawning),
  "guesthouse:process/system@0.1.0": refusing(system),
  "guesthouse:process/tracing@0.1.0": refusing(tracing),
  "wasi:random/random@0.2.12": refusing(random),
};

export const guest = {
  run(our: Address): void {
    const ask = (body: unknown): string => asked(our, body);
    let given: Given;
    try {
      given = JSON.parse(ask("Sources")) as Given;
    } catch {
      system.print("error", ONLY_IN_DEVELOPMENT);
      return;
    }
    const files = filesOf(given);
    globalThis.__guesthouseLines = JSON.parse(files["lines.json"]!) as LineTable;
    let app: Evaluated;
    try {
      app = evaluated(files["bundle.js"]!);
    } catch (error) {
      ask({ Failed: told(error, given.source) });
      return;
    }
    if (given.check) messaging.receive(); // the node sees that it could start, and stops it
    app.guest.run(our);
  },
};

function refusing(module: object): object {
  const refused = Object.entries(module).map(([name, call]): [string, unknown] => {
    if (typeof call !== "function") return [name, call];
    const checked = (...given: unknown[]): unknown => {
      if (evaluating) throw new Error(`${name} is called while the module is loaded: call the host only from handlers`);
      return (call as Call)(...given);
    };
    return [name, checked];
  });
  return Object.fromEntries(refused);
}

function evaluated(text: string): Evaluated {
  const run = evaluate(`(function (require, module, exports) {${text}\n})`) as (...given: unknown[]) => void;
  const module = { exports: {} };
  evaluating = true;
  try {
    run((name: string) => MODULES[name], module, module.exports);
  } finally {
    evaluating = false;
  }
  return module.exports as Evaluated;
}

function asked(our: Address, body: unknown): string {
  const process = { processName: "development", packageName: "distro", publisherNode: "sys" };
  const request = { inherit: false, expectsResponse: SECONDS, body: encodeUtf8(JSON.stringify(body)), metadata: undefined, capabilities: [] };
  const answer = messaging.sendAndAwaitResponse({ node: our.node, process }, request, undefined);
  if (answer.tag !== "response") throw new Error("the node answered with something else than a response");
  return decodeUtf8(answer.val.response.body);
}

/** The files by their names. They are ASCII: sizes in bytes are those in characters. */
function filesOf(given: Given): Record<string, string> {
  const content = messaging.getBlobText() ?? "";
  const files: Record<string, string> = {};
  let at = 0;
  for (const [path, size] of given.files) {
    files[path] = content.slice(at, at + size);
    at += size;
  }
  return files;
}

/** A failure with its file and line first. */
function told(error: unknown, source: string): string {
  const text = described(error);
  const [, place] = /\(?([^\s()]+:\d+)(?::\d+)?\)?$/m.exec(text.split("\n").slice(1).join("\n")) ?? [];
  return `${place ?? `${source}:1`}: error: ${text}`;
}
