/** The process's address and its state. */

import { clearState as hostClear, getState as hostGet, our as hostOur, setState as hostSet } from "guesthouse:process/system@0.1.0";

import type { ProcessId } from "guesthouse:process/types@0.1.0";

import { formatAddress } from "./address.ts";
import { decodeUtf8, encodeUtf8, ownBytes } from "./encoding.ts";
import { refusalOf, stateError } from "./errors.ts";

/** This process's own address: `node@process:package:publisher`. */
export function our(): string {
  return formatAddress(hostOur());
}

/** The name of this node. */
export function ourNode(): string {
  return hostOur().node;
}

/** This process's id, in parts. */
export function ourId(): ProcessId {
  return hostOur().process;
}

/** The stored bytes, if any. */
export function getState(): Uint8Array | undefined {
  const stored = hostGet() ?? undefined;
  return stored === undefined ? undefined : ownBytes(stored);
}

/** Replace the stored bytes; durable once it returns. @throws StateError they are not stored. */
export function setState(bytes: Uint8Array): void {
  try {
    hostSet(bytes);
  } catch (error) {
    throw stateError(refusalOf(error));
  }
}

/** Delete the stored bytes. @throws StateError they are still there. */
export function clearState(): void {
  try {
    hostClear();
  } catch (error) {
    throw stateError(refusalOf(error));
  }
}

/** The state as `setStateJson` stored it; `undefined` without. */
export function getStateJson<T = unknown>(): T | undefined {
  const bytes = getState();
  return bytes === undefined ? undefined : (JSON.parse(decodeUtf8(bytes)) as T);
}

/** Store a value as JSON. @throws StateError it is not stored. */
export function setStateJson(value: unknown): void {
  setState(encodeUtf8(JSON.stringify(value)));
}
