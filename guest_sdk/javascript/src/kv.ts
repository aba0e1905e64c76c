/** Values by key, durable and shared by the processes of a package: `kv:distro:sys`. */

import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import { GuestError } from "./errors.ts";
import type { IncomingResponse } from "./messaging.ts";
import { askModule, Refusal } from "./modules.ts";

const MODULE = "kv:distro:sys";

/** `kv:distro:sys` refused an action. */
export class KvError extends GuestError {
  /** Its error, such as `QuotaExceeded`. */
  readonly kind: string;

  constructor(kind: string, reason: string) {
    super(kind === reason ? `${MODULE} refused it: ${kind}` : `${MODULE} refused it: ${kind}: ${reason}`);
    this.kind = kind;
  }
}

/** One database of the package. The manifest needs `request-capabilities = ["kv:distro:sys"]`. */
export class Kv {
  readonly #db: string;

  constructor(db: string) {
    this.#db = db;
  }

  /** A value; `undefined` without. */
  async get(key: string): Promise<Uint8Array | undefined> {
    try {
      return (await this.#ask({ Get: { key } })).blob?.bytes;
    } catch (error) {
      if (error instanceof KvError && error.kind === "KeyNotFound") return undefined;
      throw error;
    }
  }

  /** A value that `setJson` stored. */
  async getJson<T = unknown>(key: string): Promise<T | undefined> {
    const bytes = await this.get(key);
    return bytes === undefined ? undefined : (JSON.parse(decodeUtf8(bytes)) as T);
  }

  /** Store a value; durable when it is done. @param ttl seconds until it expires. */
  async set(key: string, value: string | Uint8Array, ttl?: number): Promise<void> {
    const blob = typeof value === "string" ? encodeUtf8(value) : value;
    await this.#ask({ Set: ttl === undefined ? { key } : { key, ttl } }, blob);
  }

  async setJson(key: string, value: unknown, ttl?: number): Promise<void> {
    await this.set(key, JSON.stringify(value), ttl);
  }

  async delete(key: string): Promise<void> {
    await this.#ask({ Delete: { key } });
  }

  async #ask(action: object, blob?: Uint8Array): Promise<IncomingResponse> {
    try {
      return await askModule("kv", { db: this.#db, action }, blob);
    } catch (error) {
      throw error instanceof Refusal ? new KvError(error.kind, error.message) : error;
    }
  }
}
