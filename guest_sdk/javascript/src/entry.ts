/** Makes what a component exports of what an app exports. */

import "./globals.ts";

import type { Address } from "guesthouse:process/types@0.1.0";

import { type Handlers, Process } from "./process.ts";
import { runJobs } from "./promise.ts";
import { logException } from "./log.ts";
import { startRandom } from "./random.ts";
import { runProcess, startProcess, step } from "./run.ts";

interface Guest {
  run(our: Address): void;
  /** For tests, whose host cannot wait within a call: `run` in parts. */
  start?(): void;
  step?(our: Address): void;
}

/**
 * The export `guest` of a component.
 *
 * @param app the app's module: its `default` is a subclass of `Process`, an object of handlers, or a function that is
 *   called once; or it has a `guest` of its own.
 */
export function guestOf(app: { default?: unknown; guest?: unknown }): Guest {
  const guest = runOf(app);
  return {
    ...guest,
    run: (our) => {
      startRandom();
      guest.run(our);
    },
  };
}

function runOf(app: { default?: unknown; guest?: unknown }): Guest {
  const main = app.default ?? app.guest;
  if (app.default === undefined && isObject(main) && typeof main["run"] === "function") return main as unknown as Guest;
  if (typeof main === "function" && main.prototype instanceof Process) {
    return guestOfProcess(() => new (main as new () => Process)());
  }
  if (typeof main === "function") {
    return {
      run: (our) => {
        let ended: { error?: unknown } = {};
        const result: unknown = (main as (our: Address) => unknown)(our);
        Promise.resolve(result).then(undefined, (error: unknown) => (ended = { error }));
        runJobs((error) => logException("a promise", error));
        if ("error" in ended) throw ended.error;
      },
    };
  }
  if (isObject(main)) {
    const handlers: Handlers = main;
    return guestOfProcess(() => Object.assign(new Process(), handlers));
  }
  throw new TypeError("the app has no default export: write `export default class App extends Process { … }`");
}

function guestOfProcess(make: () => Process): Guest {
  let process: Process;
  return {
    run: (our) => runProcess(make(), our),
    start: () => {
      startRandom();
      process = make();
      startProcess(process);
    },
    step: (our) => step(process, our),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
