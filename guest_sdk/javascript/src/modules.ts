/** Requests to the runtime modules of the node, such as `kv:distro:sys`, and their answers. */

import { NotAuthorised } from "./errors.ts";
import { type IncomingResponse, request } from "./messaging.ts";

/** A module answers when what it wrote is on disk. */
const SECONDS = 30;

/** A module answered with an error. */
export class Refusal extends Error {
  /** Its name, such as `QuotaExceeded`. */
  readonly kind: string;

  constructor(kind: string, reason: string) {
    super(reason);
    this.kind = kind;
  }
}

/**
 * Ask a module.
 *
 * @param name such as `kv`.
 * @throws Refusal it answered with an error.
 * @throws NotAuthorised the process may not use it.
 * @throws SendError it did not answer.
 */
export async function askModule(name: string, body: unknown, blob?: Uint8Array): Promise<IncomingResponse> {
  let answer: IncomingResponse;
  try {
    answer = await request(`${name}:distro:sys`, blob === undefined ? { body } : { body, blob }, SECONDS);
  } catch (error) {
    if (!(error instanceof NotAuthorised)) throw error;
    throw new NotAuthorised(
      `this process may not use ${name}:distro:sys: add "${name}:distro:sys" to its request-capabilities in package.toml`,
      error.target,
      error.missing,
    );
  }
  const value = answer.json();
  if (typeof value !== "object" || value === null || !("Err" in value)) return answer;
  const refused = value.Err as string | Record<string, { error?: string } | null>;
  if (typeof refused === "string") throw new Refusal(refused, refused);
  const [kind, more] = Object.entries(refused)[0] ?? ["Failed", null];
  throw new Refusal(kind, more?.error ?? kind);
}
