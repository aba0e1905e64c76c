/** Capabilities: what this process may do. */

import { drop, ours, save } from "guesthouse:process/capabilities@0.1.0";
import type { Capability } from "guesthouse:process/types@0.1.0";

import { parseAddress } from "./address.ts";
import { canonicalJson } from "./json.ts";
import { ourNode } from "./system.ts";

/**
 * A capability whose params are a value that JSON can hold, such as `{ shelf: 7 }`.
 *
 * @param issuer an address, or a process id of this node.
 */
export function capability(issuer: string, params: unknown): Capability {
  return { issuer: parseAddress(issuer, ourNode()), params: canonicalJson(params) };
}

/** The right to message a process. */
export function messagingCapability(process: string): Capability {
  return capability(process, "messaging");
}

/**
 * Keep capabilities that came with messages of this run, or that this process issues, also for later runs. Others are left
 * out: `ourCapabilities` tells. They are durable once this returns.
 */
export function saveCapabilities(capabilities: Iterable<Capability>): void {
  save([...capabilities]);
}

/** Give capabilities up, also for later runs; also those that every process has. */
export function dropCapabilities(capabilities: Iterable<Capability>): void {
  drop([...capabilities]);
}

/** The capabilities that this process holds. */
export function ourCapabilities(): Capability[] {
  return ours();
}
