/** Addresses as text: `node@process:package:publisher`, and process ids without the node. */

import type { Address, ProcessId } from "guesthouse:process/types@0.1.0";

import { BadAddress } from "./errors.ts";

export type { Address, ProcessId };

/** The text of a process id. */
export function formatProcessId(id: ProcessId): string {
  return `${id.processName}:${id.packageName}:${id.publisherNode}`;
}

/** The text of an address. */
export function formatAddress(address: Address): string {
  return `${address.node}@${formatProcessId(address.process)}`;
}

/**
 * An address of its text.
 *
 * @param text an address, or a process id of the node.
 * @param node the node of a process id.
 */
export function parseAddress(text: string, node: string): Address {
  const at = text.indexOf("@");
  const parts = text.slice(at + 1).split(":");
  if (parts.length !== 3 || parts.includes("") || at === 0) {
    throw new BadAddress(`${JSON.stringify(text)} is no address: write node@process:package:publisher`);
  }
  const [processName, packageName, publisherNode] = parts as [string, string, string];
  return { node: at < 0 ? node : text.slice(0, at), process: { processName, packageName, publisherNode } };
}
