/** Values by key, durable and shared by the processes of a package: `kv:distro:sys`. */

import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import { GuestError } from "./errors.ts";
import { type IncomingResponse, request } from "./messaging.ts";

const MODULE = "kv:distro:sys";

/** `kv:distro:sys` refused an action; the message is its error, such as `QuotaExceeded`. */
export class KvError extends GuestError {}

/** One database of the package. The manifest needs `request-capabilities = ["kv:distro:sys"]`. */
export class Kv {
  readonly #db: string;

  constructor(db: string) {
    this.#db = db;
  }

  /** A value; `undefined` without. */
  async get(key: string): Promise<Uint8Array | undefined> {
    const answer = await this.#ask({ Get: { key } });
    if (errorOf(answer) === "KeyNotFound") return undefined;
    return checked(answer).blob?.bytes;
  }

  /** A value that `setJson` stored. */
  async getJson<T = unknown>(key: string): Promise<T | undefined> {
    const bytes = await this.get(key);
    return bytes === undefined ? undefined : (JSON.parse(decodeUtf8(bytes)) as T);
  }

  /** Store a value; durable when it is done. @param ttl seconds until it expires. */
  async set(key: string, value: string | Uint8Array, ttl?: number): Promise<void> {
    const blob = typeof value === "string" ? encodeUtf8(value) : value;
    checked(await this.#ask({ Set: ttl === undefined ? { key } : { key, ttl } }, blob));
  }

  async setJson(key: string, value: unknown, ttl?: number): Promise<void> {
    await this.set(key, JSON.stringify(value), ttl);
  }

  async delete(key: string): Promise<void> {
    checked(await this.#ask({ Delete: { key } }));
  }

  #ask(action: object, blob?: Uint8Array): Promise<IncomingResponse> {
    return request(MODULE, blob === undefined ? { body: { db: this.#db, action } } : { body: { db: this.#db, action }, blob });
  }
}

function errorOf(answer: IncomingResponse): unknown {
  const body = answer.json();
  return typeof body === "object" && body !== null && "Err" in body ? body.Err : undefined;
}

function checked(answer: IncomingResponse): IncomingResponse {
  const error = errorOf(answer);
  if (error !== undefined) throw new KvError(`${MODULE} refused it: ${JSON.stringify(error)}`);
  return answer;
}
