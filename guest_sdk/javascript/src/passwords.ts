/** Hashes of passwords, by Argon2id in the node: `passwords:distro:sys`. */

import { GuestError } from "./errors.ts";
import { askModule, Refusal } from "./modules.ts";

/** A password was not hashed, or not verified. */
export class PasswordError extends GuestError {}
/** Too many passwords of this package wait: try again later. */
export class Busy extends PasswordError {}

/**
 * Hash a password, with a salt of its own: store the result. The manifest needs
 * `request-capabilities = ["passwords:distro:sys"]`.
 *
 * @param password 1 to 1024 bytes of UTF-8.
 * @throws PasswordError it was not hashed; the subclass says why.
 */
export async function hashPassword(password: string): Promise<string> {
  const { Hash: hash } = (await asked({ Hash: password })) as { Hash: string };
  return hash;
}

/** Whether a password is the one that was hashed. @throws PasswordError it was not verified. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  return (await verified(password, stored)).matches;
}

/** Whether a password is right, and to be hashed again, since the node now does so at another cost. */
export async function isOutdated(password: string, stored: string): Promise<boolean> {
  const { matches, outdated } = await verified(password, stored);
  return matches && outdated;
}

async function verified(password: string, stored: string): Promise<{ matches: boolean; outdated: boolean }> {
  const answer = (await asked({ Verify: { password, hash: stored } })) as { Verify: { matches: boolean; outdated: boolean } };
  return answer.Verify;
}

async function asked(body: unknown): Promise<unknown> {
  try {
    return (await askModule("passwords", body)).json();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.kind === "Busy") throw new Busy("too many passwords of this package wait: try again later");
    throw new PasswordError(`${error.kind}: ${error.message}`);
  }
}
