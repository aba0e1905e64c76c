// Channels of Guesthouse nodes: docs/clients.md says how to use this, docs/resume.md what is spoken.
// One file without dependencies, which nodes serve as it is. Its types are checked by `tsc`, against types.d.ts too.

/** @typedef {import("./types.d.ts").Message} Message */
/** @typedef {import("./types.d.ts").Sendable} Sendable */
/** @typedef {import("./types.d.ts").Options} Options */
/** @typedef {import("./types.d.ts").SocketLike} SocketLike */
/** @typedef {import("./types.d.ts").Retry} Retry */
/** @typedef {import("./types.d.ts").State} State */
/** @typedef {{ resolve: (value?: any) => void, reject: (error: unknown) => void }} Settle */
/** @typedef {{ data: Message, size: number, settle: Settle[], sealed?: Uint8Array, key?: CryptoKey }} Entry */
/** @typedef {ReturnType<typeof setTimeout> | undefined} Timer */

const PROTOCOL = "guesthouse.v1";
const ESCAPE = "\x10";
const BACK_SOON = 4100;
/** What a message takes besides its bytes, as the node counts it. */
const OVERHEAD = 64;
/** Bytes in the socket's own buffer from which on messages wait here. */
const BUFFERED = 1 << 20;
const POLL = 20;
const NONCE = 12;
/** How long a channel that is being closed waits for what was sent. */
const CLOSE_TIMEOUT = 5000;
/** A socket that lasted for less did not get far: the next pause is longer. */
const HEALTHY = 1000;

const noop = () => {};
const now = () => performance.now();

export class GuesthouseError extends Error {
  /**
   * @param {string} message
   * @param {number} [code]
   * @param {Retry} [retry]
   */
  constructor(message, code = 0, retry = "never") {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

/** Minified classes have other names. @param {string} name */
const named = (name) =>
  class extends GuesthouseError {
    name = name;
  };

export const ConnectionLost = named("ConnectionLost");
export const Interrupted = named("Interrupted");
export const ChannelClosed = named("ChannelClosed");
export const ChannelRefused = named("ChannelRefused");
export const TokenRefused = named("TokenRefused");
export const SessionLost = named("SessionLost");
export const SessionTaken = named("SessionTaken");
export const ProtocolViolated = named("ProtocolViolated");
export const QueueFull = named("QueueFull");
export const MessageTooBig = named("MessageTooBig");
export const RequestFailed = named("RequestFailed");
export const RequestTimedOut = named("RequestTimedOut");

/** @type {[number[], typeof ConnectionLost, Retry][]} */
const CODES = [
  [[1006], ConnectionLost, "resume"],
  [[1001, 1005, 1011, 1012, 1013, 1014, 4001, 4005, 4007], Interrupted, "reopen"],
  [[4012], Interrupted, "resume"],
  [[4002], TokenRefused, "token"],
  [[4004], ChannelRefused, "reopen"],
  [[4000, 4003, 4006], ChannelRefused, "never"],
  [[4008], SessionLost, "reopen"],
  [[4011], SessionTaken, "never"],
  [[1002, 1003, 1007, 1008, 1009, 1010, 4009, 4010], ProtocolViolated, "never"],
];

/** @param {number} code @param {string} [reason] @returns {GuesthouseError} */
export function errorOf(code, reason = "") {
  const text = `${reason || "the connection ended"} (${code})`;
  if (code === 1011 && reason.startsWith("no pong")) return new ConnectionLost(text, code, "resume");
  if (code === 1008 && reason.startsWith("the token")) return new TokenRefused(text, code, "token");
  if (code === 1008 && reason.startsWith("the secret")) return new Interrupted(text, code, "reopen");
  const found = CODES.find(([codes]) => codes.includes(code));
  return found ? new found[1](text, code, found[2]) : new ChannelClosed(text, code);
}

/** @param {Options} [options] */
export const connect = (options) => new Channel(options);

export class Channel extends EventTarget {
  #options;
  #process;
  #url;
  #page = new AbortController();
  /** @type {State} */
  #state = "connecting";
  /** @type {SocketLike | undefined} */
  #socket;
  /** Whether the node has answered on this socket. */
  #live = false;
  #liveSince = 0;
  #resumable = false;
  #subprotocol = "";
  /** @type {number | undefined} */
  #channelId;
  #opened = false;
  #hasChannel = false;
  /** Counts channels. */
  #channel = 0;
  #closing = false;
  /** Counts attempts, so that one that was given up is told from the present one. */
  #attempt = 0;
  #failures = 0;
  #handshakes = 0;
  /** @type {boolean | undefined} */
  #speaksProtocol;
  #rejected = false;
  /** Whether an attempt to resume was given up, which may still take over (4011). */
  #abandoned = false;
  /** @type {Timer} */
  #retryTimer;
  /** @type {Timer} */
  #attemptTimer;

  // The session: its key, and what the node said with it.
  /** @type {any} */
  #session;
  /** Payloads of the process: that came, that its user took, and that were acknowledged. */
  #received = 0;
  #taken = 0;
  #told = 0;
  #untoldBytes = 0;
  /** @type {Timer} */
  #ackTimer;

  // What was sent and not acknowledged, by numbers that go on over sessions. `#base` is the last one before this session.
  /** @type {Map<number, Entry>} */
  #kept = new Map();
  #base = 0;
  #first = 1;
  #next = 1;
  #written = 0;
  #bytes = 0;
  /** @type {(Settle & { entry: Entry })[]} */
  #waiting = [];
  #flushes = 0;
  /** @type {Timer} */
  #pumpTimer;

  #heard = 0;
  #pingedAt = 0;
  /** Whether a pong is to come. */
  #asked = false;
  /** @type {Timer} */
  #beatTimer;

  /** @type {[Message, number, number][]} */
  #inbox = [];
  #listening = false;
  /** @type {Settle[]} */
  #takers = [];
  /** @type {Map<number, Settle>} */
  #requests = new Map();
  #lastRequest = 0;
  /** @type {Settle | undefined} */
  #renewing;

  /** @type {Promise<CryptoKey> | undefined} */
  #secret;
  /** The same, when it is there. @type {CryptoKey | undefined} */
  #key;
  /** @type {Promise<unknown>} */
  #order = Promise.resolve();
  #sealing = false;

  /** @type {GuesthouseError | undefined} */
  #error;
  #ready = deferred();
  #closed = deferred();

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const page = globalThis.location;
    const own = /** @type {any} */ (globalThis).our?.process;
    this.#process = options.process ?? (own || decodeURIComponent(page?.pathname.split("/")[1] ?? ""));
    const url = new URL(options.url ?? page?.origin);
    url.protocol = url.protocol.replace("http", "ws");
    if (options.encrypted && options.path !== undefined)
      throw new TypeError("only channels of the register form are encrypted");
    const path = options.path?.replace(/^\/?/, "/");
    this.#url = new URL(path === undefined ? "/" : `/${this.#process}${path}`, url);
    this.#options = {
      queueBytes: 4 << 20,
      queuePolicy: "wait",
      firstDelay: 500,
      longestDelay: 30_000,
      connectTimeout: 10_000,
      pingAfter: 20_000,
      pongTimeout: 10_000,
      fallback: true,
      subprotocols: /** @type {string[]} */ ([]),
      ...options,
    };
    this.#watchPage();
    this.#connect();
  }

  get state() {
    return this.#state;
  }
  get channelId() {
    return this.#channelId;
  }
  get resumable() {
    return this.#resumable;
  }
  get subprotocol() {
    return this.#subprotocol;
  }
  get queuedBytes() {
    return this.#bytes;
  }
  /** @returns {Promise<void>} */
  get ready() {
    return this.#ready.promise;
  }
  /** @returns {Promise<GuesthouseError | undefined>} */
  get closed() {
    return this.#closed.promise;
  }

  // --- Sending ---

  /** @param {Sendable} message @returns {Promise<void>} */
  send(message) {
    if (this.#closing) throw this.#error ?? new ChannelClosed("the channel is closed", 1000);
    const data = typeof message === "string" ? message : copied(message);
    const bytes = byteLength(data);
    const most = this.#session?.message_bytes ?? Infinity;
    if (bytes > most) throw new MessageTooBig(`the node takes ${most} bytes, not ${bytes}`);
    /** @type {Entry} */
    const entry = { data, size: bytes + OVERHEAD, settle: [] };
    if (!this.#waiting.length && this.#fits(entry)) return this.#keep(entry), Promise.resolve();
    const { queuePolicy } = this.#options;
    if (queuePolicy === "error") throw new QueueFull(`${this.#bytes} bytes wait for the node`);
    if (queuePolicy === "drop-oldest") {
      while (!this.#fits(entry)) this.#remove(this.#first, new QueueFull("the message was dropped"));
      return this.#keep(entry), Promise.resolve();
    }
    const { promise, resolve, reject } = deferred();
    this.#waiting.push({ entry, resolve, reject });
    return promise;
  }

  /** @param {unknown} value @returns {Promise<void>} */
  sendJson(value) {
    return this.send(JSON.stringify(value));
  }

  /**
   * @param {unknown} body
   * @param {{ timeout?: number, signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  async request(body, { timeout = 10_000, signal } = {}) {
    signal?.throwIfAborted();
    const id = ++this.#lastRequest;
    const answer = deferred();
    const abort = () => answer.reject(signal?.reason);
    const timer = setTimeout(
      () => answer.reject(new RequestTimedOut(`no answer within ${timeout} ms`)),
      timeout,
    );
    signal?.addEventListener("abort", abort);
    this.#requests.set(id, answer);
    try {
      this.sendJson({ request: id, body }).catch(answer.reject);
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#requests.delete(id);
    }
  }

  /** @returns {Promise<void>} */
  async flush() {
    const last = this.#waiting.at(-1)?.entry ?? this.#kept.get(this.#next - 1);
    if (!last) return;
    const { promise, ...settle } = deferred();
    last.settle.push(settle);
    this.#flushes++;
    this.#pump();
    await promise.finally(() => this.#flushes--);
  }

  /** @param {string} [token] @returns {Promise<number>} */
  async renewToken(token) {
    const auth_token = token ?? (await this.#token());
    if (!this.#live || !this.#resumable) throw new ConnectionLost("there is no connection", 0, "resume");
    this.#renewing?.reject(new TokenRefused("another token was shown", 0, "token"));
    this.#renewing = deferred();
    const { promise } = /** @type {ReturnType<typeof deferred>} */ (this.#renewing);
    this.#say("token", { auth_token });
    return promise;
  }

  /** @param {number} [code] @param {string} [reason] */
  async close(code = 1000, reason = "") {
    if (code !== 1000 && !(code >= 3000 && code < 5000 && code !== BACK_SOON))
      throw new RangeError("a close code is 1000 or from 3000 to 4999, and not 4100");
    if (this.#closing) return;
    this.#closing = true;
    /** @type {Timer} */
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_TIMEOUT)));
    if (this.#live) await Promise.race([this.flush().catch(noop), this.closed, late]);
    const socket = this.#socket;
    this.#finish(undefined, code, reason);
    if (socket) await Promise.race([new Promise((resolve) => (socket.onclose = resolve)), late]);
    clearTimeout(timer);
  }

  /** @param {Entry} entry */
  #fits(entry) {
    return !this.#kept.size || this.#bytes + entry.size <= this.#options.queueBytes;
  }

  /** @param {Entry} entry */
  #keep(entry) {
    this.#kept.set(this.#next++, entry);
    this.#bytes += entry.size;
    this.#pump();
  }

  /** Take the first message out of the queue. @param {number} number @param {GuesthouseError} [error] */
  #remove(number, error) {
    const entry = /** @type {Entry} */ (this.#kept.get(number));
    this.#kept.delete(number);
    this.#first = number + 1;
    this.#bytes -= entry.size;
    for (const { resolve, reject } of entry.settle) error ? reject(error) : resolve();
    return entry.data;
  }

  #admit() {
    for (let next; (next = this.#waiting[0]) && this.#fits(next.entry); next.resolve()) {
      this.#waiting.shift();
      this.#keep(next.entry);
    }
  }

  /** Write what waits, as far as the socket takes it. */
  #pump() {
    const socket = this.#socket;
    if (!this.#live || !socket) return;
    while (socket.bufferedAmount < BUFFERED) {
      const number = this.#written + 1;
      const dropped = this.#first - number;
      if (dropped > 0) {
        this.#written += dropped;
        if (this.#resumable) this.#say("lost", { count: dropped });
        this.#emit("lost", { received: 0, dropped, unconfirmed: [] });
        continue;
      }
      const entry = this.#kept.get(number);
      if (!entry) break;
      if (this.#key && entry.key !== this.#key) return this.#seal(entry, this.#key);
      this.#written = number;
      socket.send(entry.sealed ?? (this.#resumable && entry.data[0] === ESCAPE ? ESCAPE + entry.data : entry.data));
      if (!this.#resumable) this.#remove(number);
    }
    clearTimeout(this.#pumpTimer);
    if (this.#written < this.#next - 1) this.#pumpTimer = setTimeout(() => this.#pump(), POLL);
    else if (!this.#resumable) this.#admit();
    if (this.#resumable && this.#kept.size && !this.#asked)
      if (this.#flushes || this.#bytes * 2 > this.#options.queueBytes) this.#ping(); // its answer acknowledges
  }

  /** @param {string} type @param {object} [fields] */
  #say(type, fields) {
    this.#socket?.send(ESCAPE + JSON.stringify({ type, ...fields }));
  }

  /** The node has messages up to one. @param {number} count */
  #acknowledged(count) {
    const number = this.#base + count;
    if (!(number <= this.#written)) {
      this.#finish(new ProtocolViolated("the node counts messages that it was not sent"), 4010);
      return;
    }
    while (this.#first <= number) this.#remove(this.#first);
    this.#admit();
  }

  // --- Receiving ---

  /** @param {any} data */
  #hear(data) {
    this.#heard = now();
    if (typeof data === "string") {
      // The answer to a register message of a plain channel.
      if (!this.#live && !this.#resumable) return this.#whenOpen(parsed(data));
      if (this.#resumable && data[0] === ESCAPE) {
        data = data.slice(1);
        if (data[0] !== ESCAPE) return this.#control(parsed(data));
      }
    } else data = new Uint8Array(data);
    this.#received++;
    const channel = this.#channel;
    const secret = this.#secret;
    this.#inOrder(async () => {
      if (!secret) return this.#deliver(data, data, channel);
      const key = await secret.catch(noop);
      if (key) this.#deliver(await unseal(key, data), data, channel);
    });
  }

  /** @param {any} fields */
  #control(fields) {
    const { type, received, count } = fields;
    if (type === "pong") this.#asked = false;
    if (type === "opened") this.#whenOpen(fields);
    else if (type === "resumed") this.#whenResumed(fields);
    else if (type === "ack" || type === "pong") {
      this.#acknowledged(received);
      this.#pump();
    } else if (type === "lost") {
      this.#received += count;
      this.#taken += count;
      this.#emit("lost", { received: count, dropped: 0, unconfirmed: [] });
      this.#acknowledge();
    } else if (type === "token") {
      const renewing = this.#renewing;
      this.#renewing = undefined;
      if (fields.error) renewing?.reject(new TokenRefused(fields.error, 4002, "token"));
      else renewing?.resolve(fields.expiration);
    }
  }

  /** @param {Message} message @param {Message} raw as it came. @param {number} channel */
  #deliver(message, raw, channel) {
    const size = byteLength(raw) + OVERHEAD;
    if (this.#isAnswer(message)) return this.#count(size, channel);
    this.#inbox.push([message, size, channel]);
    this.#drain();
  }

  #drain() {
    while (this.#inbox.length && (this.#listening || this.#takers.length)) {
      const data = this.#take();
      if (this.#listening) this.dispatchEvent(new MessageEvent("message", { data }));
      else this.#takers.shift()?.resolve({ value: data, done: false });
    }
    if (this.#state !== "closed" || this.#inbox.length) return;
    for (const { resolve, reject } of this.#takers.splice(0))
      this.#error ? reject(this.#error) : resolve({ value: undefined, done: true });
  }

  #take() {
    const [data, size, channel] = /** @type {[Message, number, number]} */ (this.#inbox.shift());
    this.#count(size, channel);
    return data;
  }

  /** A message was taken; it is acknowledged when it is time. @param {number} size @param {number} channel */
  #count(size, channel) {
    if (channel !== this.#channel) return; // of one that has ended
    this.#taken++;
    this.#untoldBytes += size;
    const ack = this.#session?.ack;
    if (!ack) return;
    if (this.#taken - this.#told >= ack.messages || this.#untoldBytes >= ack.bytes) this.#acknowledge();
    else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ack.seconds * 1000);
  }

  #acknowledge() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    if (!this.#live || !this.#session || this.#taken <= this.#told) return;
    this.#told = this.#taken;
    this.#untoldBytes = 0;
    this.#say("ack", { received: this.#told });
  }

  /** Whether it answers a request; then it is dealt with. @param {Message} message */
  #isAnswer(message) {
    if (!this.#lastRequest) return false;
    const text = typeof message === "string" ? message : this.#key ? new TextDecoder().decode(message) : "";
    if (!text.startsWith('{"response":')) return false;
    try {
      const { response, body, error } = JSON.parse(text);
      const request = this.#requests.get(response);
      if (error === undefined) request?.resolve(body);
      else request?.reject(new RequestFailed(String(error)));
      return response <= this.#lastRequest; // a late one is nobody's
    } catch {
      return false;
    }
  }

  /**
   * Messages are for `message` listeners, if there is one.
   *
   * @param {any[]} added
   */
  addEventListener(...added) {
    super.addEventListener(.../** @type {[any, any]} */ (added));
    if (added[0] !== "message" || this.#listening) return;
    this.#listening = true;
    queueMicrotask(() => this.#drain());
  }

  /** @returns {AsyncIterableIterator<Message>} */
  [Symbol.asyncIterator]() {
    return {
      next: () => {
        const { promise, resolve, reject } = deferred();
        this.#takers.push({ resolve, reject });
        this.#drain();
        return promise;
      },
      return: async () => ({ value: undefined, done: true }),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  // --- Connecting ---

  async #connect() {
    this.#letGo();
    const attempt = this.#attempt;
    const { path, subprotocols, fallback, connectTimeout, WebSocket } = this.#options;
    /** @type {string | undefined} */
    let auth_token;
    this.#attemptTimer = setTimeout(() => this.#gone(1006, "no answer in time"), connectTimeout);
    try {
      if (path === undefined) auth_token = await this.#token();
      if (attempt !== this.#attempt) return;
      // Browsers fail a connection whose offers are all refused, as by an older node, for no reason that they tell.
      const plain =
        fallback &&
        (this.#speaksProtocol === undefined
          ? this.#handshakes % 3 === 2
          : !this.#speaksProtocol && this.#handshakes % 2 === 1);
      this.#handshakes++;
      const offers = plain ? subprotocols : [...subprotocols, PROTOCOL];
      /** @type {SocketLike} */
      const socket = new (WebSocket ?? globalThis.WebSocket)(this.#url.href, offers);
      this.#socket = socket;
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.#handshake(auth_token);
      socket.onmessage = (event) => this.#hear(event.data);
      socket.onclose = ({ code, reason }) =>
        this.#inOrder(() => this.#socket === socket && this.#gone(code, reason));
      socket.onerror = noop; // `close` follows
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error instanceof TokenRefused) return this.#finish(error);
      this.#gone(1006, String(error));
    }
  }

  /** The token for the register form. */
  async #token() {
    const { token } = this.#options;
    const asked = { rejected: this.#rejected };
    const found = typeof token === "function" ? await token(asked) : (token ?? (await pageToken(this.#process)));
    if (!found) throw new TokenRefused("there is no token: log in", 0, "token");
    return found;
  }

  /** @param {string | undefined} auth_token */
  #handshake(auth_token) {
    const { path, encrypted = false } = this.#options;
    const protocol = this.#socket?.protocol ?? "";
    this.#handshakes = 0;
    this.#speaksProtocol = this.#resumable = protocol === PROTOCOL;
    const register = path === undefined && { auth_token, target_process: this.#process, encrypted };
    if (!this.#resumable) {
      this.#subprotocol = protocol;
      this.#dropSession(new SessionLost("the node has no sessions", 0, "reopen"));
      if (register) this.#socket?.send(JSON.stringify(register));
      else this.#whenOpen({});
    } else if (this.#session) {
      this.#told = this.#received;
      this.#say("resume", { session: this.#session.session, received: this.#received, auth_token });
    } else this.#say("open", register || {});
  }

  /** @param {any} fields */
  async #whenOpen(fields) {
    const socket = this.#socket;
    this.#received = this.#taken = this.#told = this.#untoldBytes = 0;
    this.#channel++;
    if (this.#options.encrypted) {
      this.#secret = this.#exchangeKeys(fields.channel_id); // messages may come first
      try {
        const key = await this.#secret;
        if (this.#socket !== socket) return;
        this.#key = key;
      } catch (error) {
        if (this.#socket === socket) this.#gone(1006, String(error));
        return;
      }
    }
    if (this.#resumable) this.#session = fields;
    this.#channelId = fields.channel_id;
    this.#subprotocol = fields.subprotocol ?? this.#subprotocol;
    const dropped = this.#first - 1 - this.#written;
    this.#written = this.#base = this.#first - 1;
    this.#opened = this.#hasChannel = true;
    this.#abandoned = false;
    this.#goLive();
    this.#become("open");
    this.#ready.resolve();
    this.#emit("open", {
      channelId: this.#channelId,
      resumable: this.#resumable,
      subprotocol: this.#subprotocol,
    });
    if (dropped) this.#emit("lost", { received: 0, dropped, unconfirmed: [] });
    this.#pump();
  }

  /** @param {any} fields */
  #whenResumed(fields) {
    this.#session = fields;
    this.#say("ack", { received: this.#told }); // the node is to know that the new key is here
    this.#acknowledged(fields.received);
    if (this.#state === "closed") return;
    this.#written = this.#base + fields.received;
    this.#goLive();
    this.#become("open");
    this.#pump();
  }

  #goLive() {
    clearTimeout(this.#attemptTimer);
    this.#rejected = false;
    this.#live = true;
    this.#heard = this.#liveSince = now();
    if (this.#resumable) this.#beat();
  }

  /** The socket is gone, or is given up. @param {number} code @param {string} reason */
  #gone(code, reason) {
    const wasLive = this.#live;
    const resuming = !wasLive && this.#session;
    if (resuming) this.#abandoned = true;
    this.#letGo();
    const error = errorOf(code, reason);
    let { retry } = error;
    if (wasLive && now() - this.#liveSince >= HEALTHY) this.#failures = 0;
    if (code === 4011 && this.#abandoned) {
      this.#abandoned = false;
      retry = "resume";
    } else if (code === 4004 && !this.#opened) retry = "never";
    else if (retry === "token") {
      if (this.#rejected || typeof this.#options.token === "string") retry = "never";
      this.#rejected = true;
      if (code === 1008) this.#dropSession(error);
    } else if (retry === "reopen" && (!resuming || code === 4008)) this.#dropSession(error);
    if (retry === "never") return this.#finish(code === 1000 ? undefined : error);
    if (!this.#resumable && wasLive) this.#dropSession(error);
    if (code === 4008) this.#failures = 0;
    if (wasLive && retry === "reopen") this.#failures ||= 1;
    if (code === 4012 || code === 4005) this.#failures = Math.max(this.#failures, 4);
    this.#become(this.#session ? "away" : "connecting");
    this.#emit("error", error);
    this.#retryLater();
  }

  /** The session is over: tell what that leaves open. @param {GuesthouseError} error */
  #dropSession(error) {
    if (!this.#hasChannel) return;
    this.#hasChannel = false;
    this.#session = this.#key = undefined;
    const lost = new SessionLost(error.message, error.code, "reopen");
    const unconfirmed = [];
    while (this.#first <= this.#written) unconfirmed.push(this.#remove(this.#first, lost));
    for (const request of this.#requests.values()) request.reject(lost);
    this.#emit("lost", { received: undefined, dropped: 0, unconfirmed });
    this.#admit();
  }

  #retryLater() {
    const { firstDelay, longestDelay } = this.#options;
    const delay = this.#failures && Math.min(longestDelay, firstDelay * 2 ** (this.#failures - 1));
    this.#failures++;
    this.#retryTimer = setTimeout(() => this.#connect(), delay * (0.5 + Math.random() / 2));
  }

  /** Take nothing more from the socket, and close it if it is not closed. @param {number} [code] @param {string} [reason] */
  #letGo(code = this.#session ? BACK_SOON : 1000, reason = "") {
    const socket = this.#socket;
    for (const timer of [this.#attemptTimer, this.#beatTimer, this.#pumpTimer, this.#ackTimer, this.#retryTimer])
      clearTimeout(timer);
    this.#ackTimer = this.#retryTimer = this.#socket = undefined;
    this.#live = this.#asked = false;
    this.#attempt++;
    this.#renewing?.reject(new ConnectionLost("the connection ended", 1006, "resume"));
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
  }

  /** It is over. @param {GuesthouseError | undefined} error @param {number} [code] @param {string} [reason] */
  #finish(error, code, reason) {
    if (this.#state === "closed") return;
    this.#closing = true;
    this.#error = error;
    this.#letGo(code, reason);
    this.#page.abort();
    const ended = error ?? new ChannelClosed("the channel is closed", 1000);
    while (this.#kept.size) this.#remove(this.#kept.keys().next().value ?? 0, ended);
    for (const settle of [...this.#waiting.splice(0), ...this.#requests.values()]) settle.reject(ended);
    this.#become("closed");
    this.#ready.reject(ended);
    this.#closed.resolve(error);
    this.#drain();
    this.#emit("close", error);
  }

  // --- Signs of life ---

  #ping() {
    this.#asked = true;
    this.#pingedAt = now();
    this.#say("ping");
    this.#beatIn(this.#options.pongTimeout);
  }

  #beat() {
    const quiet = now() - this.#heard;
    if (this.#pingedAt > this.#heard) this.#gone(1006, "no sign of life");
    else if (quiet >= this.#options.pingAfter) this.#ping();
    else this.#beatIn(this.#options.pingAfter - quiet);
  }

  /** @param {number} delay */
  #beatIn(delay) {
    clearTimeout(this.#beatTimer);
    this.#beatTimer = setTimeout(() => this.#beat(), delay);
  }

  #watchPage() {
    const { signal } = this.#page;
    /** @param {EventTarget | undefined} target @param {string} type @param {(event: any) => void} does */
    const on = (target, type, does) => target?.addEventListener?.(type, does, { signal });
    const look = () => {
      if (this.#retryTimer !== undefined) {
        this.#failures = 0;
        this.#connect();
      } else if (this.#live && this.#resumable && !this.#asked) this.#ping();
    };
    const page = globalThis.document;
    on(globalThis, "online", look);
    on(globalThis, "offline", () => this.#live && look());
    on(page, "visibilitychange", () => page.visibilityState === "visible" && look());
    // A page that may come back lets go of its socket; any other ends the channel as it goes.
    on(globalThis, "pagehide", ({ persisted }) => {
      if (!persisted) return;
      this.#letGo();
      if (!this.#resumable) this.#dropSession(new ConnectionLost("the page was left", 1006, "resume"));
      this.#become(this.#session ? "away" : "connecting");
    });
    on(globalThis, "pageshow", ({ persisted }) => persisted && this.#connect());
  }

  // --- Encryption ---

  /** Do it at once, or on encrypted channels after what came before. @param {() => unknown} does */
  #inOrder(does) {
    if (!this.#options.encrypted) return void does();
    this.#order = this.#order
      .then(does)
      .catch((error) => this.#finish(new ProtocolViolated(`it cannot be decrypted: ${error}`), 4010));
  }

  /** @param {number} channel_id @returns {Promise<CryptoKey>} */
  async #exchangeKeys(channel_id) {
    const { subtle } = crypto;
    const wrap = { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
    const { publicKey, privateKey } = await subtle.generateKey(wrap, false, ["encrypt", "decrypt"]);
    const { n = "" } = await subtle.exportKey("jwk", publicKey);
    const modulus = Uint8Array.from(atob(n.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const url = new URL("/encryptor:distro:sys", this.#url);
    url.protocol = url.protocol.replace("ws", "http");
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ channel_id, public_key_hex: toHex(modulus) }),
    });
    if (!answer.ok) throw new Error(`no key: ${answer.status}`);
    const { encrypted_secret } = await answer.json();
    const secret = await subtle.decrypt(wrap, privateKey, fromHex(encrypted_secret));
    return subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt", "decrypt"]);
  }

  /** Seal a message, then go on writing. @param {Entry} entry @param {CryptoKey} key */
  async #seal(entry, key) {
    if (this.#sealing) return;
    this.#sealing = true;
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
    const data = typeof entry.data === "string" ? new TextEncoder().encode(entry.data) : entry.data;
    const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, /** @type {any} */ (data));
    entry.sealed = new Uint8Array([...new Uint8Array(sealed), ...nonce]);
    entry.key = key;
    this.#sealing = false;
    this.#pump();
  }

  // --- Events ---

  /** @param {State} state */
  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Decrypt a message. @param {CryptoKey} key @param {Uint8Array} data @returns {Promise<Uint8Array>} */
async function unseal(key, data) {
  const end = data.length - NONCE;
  const [body, iv] = /** @type {any[]} */ ([data.subarray(0, end), data.subarray(end)]);
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, body));
}

/** The token of a page of a process, which the node renews by the cookie of its login. @param {string} process */
async function pageToken(process) {
  if (!globalThis.document) return undefined;
  const answer = await fetch(`/${process}/our.js`, { cache: "no-store" });
  const found = /\{.*?\}/.exec(await answer.text());
  if (!answer.ok || !found) throw new Error(`our.js: ${answer.status}`);
  const { node } = JSON.parse(found[0]);
  const name = `kinode-auth_${node}=`;
  return document.cookie
    .split("; ")
    .find((pair) => pair.startsWith(name))
    ?.slice(name.length);
}

/** @returns {Settle & { promise: Promise<any> }} */
function deferred() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(noop); // whoever does not wait for it does not fail by it
  return made;
}

/** JSON of the node. @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Bytes of its own, since it may be sent again. @param {ArrayBuffer | ArrayBufferView} data */
function copied(data) {
  const view = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : data;
  return new Uint8Array(view).slice();
}

/** Bytes of a message; of text in UTF-8. @param {Message} data */
function byteLength(data) {
  if (typeof data !== "string") return data.length;
  let bytes = data.length;
  for (let at = 0; at < data.length; at++) {
    const unit = data.charCodeAt(at);
    if (unit > 0x7f) bytes += unit < 0x800 || (unit & 0xf800) === 0xd800 ? 1 : 2;
  }
  return bytes;
}

/** @param {Uint8Array} bytes */
const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
/** @param {string} hex */
const fromHex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
