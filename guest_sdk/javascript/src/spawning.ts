/** Starting other processes of the same package. */

import { spawn as hostSpawn } from "guesthouse:process/spawning@0.1.0";
import type { Capability, OnExit } from "guesthouse:process/types@0.1.0";

import { formatProcessId, parseAddress } from "./address.ts";
import { GuestError, refusalOf } from "./errors.ts";
import { ourNode } from "./system.ts";

/** A process was not started. */
export class SpawnError extends GuestError {}
export class NameTaken extends SpawnError {}
export class NoFileAtPath extends SpawnError {}
export class SpawnNotAuthorised extends SpawnError {}
export class TooManyProcesses extends SpawnError {}

export interface SpawnOptions {
  /** Its name in the package; without one it gets a free one. */
  name?: string;
  /** What happens when it ends; with `"restart"` it is also started again with the node. */
  onExit?: "none" | "restart";
  /** Those of this process's own capabilities that it gets. */
  requestCapabilities?: Iterable<Capability>;
  /** Ids of processes that may message it. */
  grantCapabilities?: Iterable<string>;
  /** Whether any process may message it. */
  public?: boolean;
}

/**
 * Start a process from a component of this package. Needs the capability `"spawn"` of `kernel:distro:sys`.
 *
 * @param wasmPath such as `/build/child.wasm`, in the package's folder.
 * @returns its id: `process:package:publisher`.
 * @throws SpawnError it was not started; the subclass says why.
 */
export function spawn(wasmPath: string, options: SpawnOptions = {}): string {
  const { name, onExit = "none", requestCapabilities = [], grantCapabilities = [] } = options;
  const grantees = Array.from(grantCapabilities, (id) => parseAddress(id, ourNode()).process);
  const tag: OnExit = { tag: onExit };
  try {
    return formatProcessId(hostSpawn(name, wasmPath, tag, [...requestCapabilities], grantees, options.public ?? false));
  } catch (error) {
    throw spawnError(wasmPath, refusalOf(error) as { tag: string; val?: Capability });
  }
}

function spawnError(path: string, { tag, val }: { tag: string; val?: Capability }): SpawnError {
  const start = `no process was started from ${JSON.stringify(path)}`;
  switch (tag) {
    case "name-taken":
      return new NameTaken(`${start}: the package has a process of that name, or it is no name`);
    case "no-file-at-path":
      return new NoFileAtPath(`${start}: the package has no component there, or it cannot be compiled (the log says why)`);
    case "not-authorised":
      return new SpawnNotAuthorised(`${start}: request the capability "spawn" of kernel:distro:sys in package.toml`, val);
    default:
      return new TooManyProcesses(`${start}: the package has as many processes as the node allows`);
  }
}
