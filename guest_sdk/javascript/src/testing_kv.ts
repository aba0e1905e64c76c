/** `kv:distro:sys` of the host for tests: its answers are those of a node. */

export interface Answer {
  body: unknown;
  blob?: Uint8Array;
}

interface Entry {
  value: Uint8Array;
  /** When it expires, in milliseconds. */
  until: number;
}

const MAX_KEY = 1024;
const MAX_DB = 128;
const MAX_LIST = 1000;
/** Bytes that an entry counts besides its key and value. */
const ENTRY = 64;

class BadInput extends Error {}

/** Databases of the package. */
export class FakeKv {
  /** Bytes that all of it may take. */
  quota = 2 ** 26;
  /** Entries by their keys, each byte as a character, in databases by their names. */
  readonly #databases = new Map<string, Map<string, Entry>>();

  /** Answer a request at a time in milliseconds. */
  carryOut(body: Record<string, unknown>, blob: Uint8Array | undefined, now: number): Answer {
    try {
      return this.#act(body, blob, now);
    } catch (error) {
      if (!(error instanceof BadInput)) throw error;
      return { body: { Err: { InputError: { error: error.message } } } };
    }
  }

  #act({ db, action }: Record<string, unknown>, blob: Uint8Array | undefined, now: number): Answer {
    if (typeof db !== "string" || db === "" || [...db].length > MAX_DB) throw new BadInput(`db is from 1 to ${MAX_DB} characters`);
    const tagged = taggedAction(action);
    if (tagged === undefined) throw new BadInput("an action is a name, or an object with one name");
    const [name, fields] = tagged;
    this.#expire(now);
    const database = this.#databases.get(db) ?? new Map<string, Entry>();
    this.#databases.set(db, database);
    switch (name) {
      case "Open":
        return { body: "Ok" };
      case "RemoveDb":
        database.clear();
        return { body: "Ok" };
      case "List":
        return { body: { List: { keys: listed(database, isFields(fields) ? fields : {}) } } };
      case "Get":
      case "Set":
      case "Delete":
      case "CompareAndSet":
        return this.#ofKey(database, name, fields, blob, now);
    }
    throw new BadInput(`no action is named ${name}`);
  }

  #ofKey(database: Map<string, Entry>, name: string, given: unknown, blob: Uint8Array | undefined, now: number): Answer {
    const fields = isFields(given) ? given : { key: given };
    const key = characters(fields["key"]);
    if (key === undefined || key.length === 0 || key.length > MAX_KEY) throw new BadInput(`a key is from 1 to ${MAX_KEY} bytes`);
    const present = database.get(key);
    if (name === "Get") return present === undefined ? { body: { Err: "KeyNotFound" } } : { body: { Get: given }, blob: present.value };
    if (name === "CompareAndSet") {
      const expected = fields["expected"] ?? undefined;
      const wanted = expected === undefined ? undefined : characters(expected);
      if (expected !== undefined && wanted === undefined) throw new BadInput("expected is neither bytes nor text");
      const found = present === undefined ? undefined : characters([...present.value]);
      if (found !== wanted) return present === undefined ? { body: { Err: "Conflict" } } : { body: { Err: "Conflict" }, blob: present.value };
    }
    if (name === "Set" && blob === undefined) throw new BadInput("the value to set is the request's blob, and there is none");
    if (name === "Delete" || blob === undefined) {
      database.delete(key);
      return { body: "Ok" };
    }
    const used = this.#used() - (present === undefined ? 0 : sizeOf(key, present));
    const ttl = name === "Set" ? fields["ttl"] : undefined;
    const entry = { value: Uint8Array.from(blob), until: typeof ttl === "number" ? now + ttl * 1000 : Infinity };
    if (used + sizeOf(key, entry) > this.quota) return { body: { Err: "QuotaExceeded" } };
    database.set(key, entry);
    return { body: "Ok" };
  }

  #expire(now: number): void {
    for (const database of this.#databases.values()) {
      for (const [key, { until }] of database) if (until <= now) database.delete(key);
    }
  }

  #used(): number {
    let bytes = 0;
    for (const database of this.#databases.values()) for (const [key, entry] of database) bytes += sizeOf(key, entry);
    return bytes;
  }
}

/** Name and fields of `"Name"` or `{"Name": fields}`. */
export function taggedAction(action: unknown): [name: string, fields: unknown] | undefined {
  if (typeof action === "string") return [action, undefined];
  const entries = isFields(action) ? Object.entries(action) : [];
  return entries.length === 1 ? entries[0] : undefined;
}

export function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listed(database: Map<string, Entry>, fields: Record<string, unknown>): number[][] {
  const [prefix, after] = ["prefix", "after"].map((name) => characters(fields[name] ?? ""));
  if (prefix === undefined || after === undefined) throw new BadInput("neither bytes nor text");
  const limit = fields["limit"] ?? MAX_LIST;
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1) throw new BadInput("limit is a number of keys, 1 or more");
  const keys = [...database.keys()].sort().filter((key) => key.startsWith(prefix) && key > after);
  return keys.slice(0, Math.min(limit, MAX_LIST)).map((key) => Array.from(key, (each) => each.charCodeAt(0)));
}

/** Each byte of text or a list of numbers as a character: compares as the bytes do. */
function characters(given: unknown): string | undefined {
  const bytes = typeof given === "string" ? [...new TextEncoder().encode(given)] : given;
  if (!Array.isArray(bytes) || !bytes.every((each) => Number.isInteger(each) && each >= 0 && each < 256)) return undefined;
  return (bytes as number[]).map((byte) => String.fromCharCode(byte)).join("");
}

function sizeOf(key: string, { value }: Entry): number {
  return key.length + value.length + ENTRY;
}
