/** `setTimeout` and `setInterval` over `timer:distro:sys`. The process gets an answer when a timer is due. */

import { printToLog, logException } from "./log.ts";
import { requestMeanwhile } from "./messaging.ts";

const MODULE = "timer:distro:sys";
const active = new Set<number>();
let last = 0;

type Callback = (...given: unknown[]) => unknown;

export function setGuestTimeout(callback: Callback, milliseconds = 0, ...given: unknown[]): number {
  const id = ++last;
  active.add(id);
  wait(id, milliseconds, () => {
    active.delete(id);
    return callback(...given);
  });
  return id;
}

export function setGuestInterval(callback: Callback, milliseconds = 0, ...given: unknown[]): number {
  const id = ++last;
  active.add(id);
  const again = (): unknown => {
    wait(id, milliseconds, again);
    return callback(...given);
  };
  wait(id, milliseconds, again);
  return id;
}

export function clearGuestTimer(id?: number): void {
  if (id !== undefined) active.delete(id);
}

function wait(id: number, milliseconds: number, due: () => unknown): void {
  const whole = Math.max(1, Math.ceil(Number(milliseconds) || 0));
  requestMeanwhile(MODULE, { body: { SetTimer: whole } }, Math.ceil(whole / 1000) + 60).then(
    () => (active.has(id) ? run(due) : undefined),
    (error: unknown) => {
      active.delete(id);
      printToLog(`a timer was not set: ${error instanceof Error ? error.message : String(error)}`, "error");
    },
  );
}

function run(due: () => unknown): void {
  try {
    Promise.resolve(due()).then(undefined, (error: unknown) => logException("a timer", error));
  } catch (error) {
    logException("a timer", error);
  }
}
