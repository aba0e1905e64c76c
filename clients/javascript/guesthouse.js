// Channels of Guesthouse nodes: docs/clients.md says how to use this, docs/resume.md what is spoken.
// One file without dependencies, which nodes serve as it is. Its types are checked by `tsc`, against types.d.ts too.

/** @typedef {import("./types.d.ts").Message} Message */
/** @typedef {import("./types.d.ts").Sendable} Sendable */
/** @typedef {import("./types.d.ts").Options} Options */
/** @typedef {import("./types.d.ts").SocketLike} SocketLike */
/** @typedef {import("./types.d.ts").Retry} Retry */
/** @typedef {import("./types.d.ts").State} State */
/** @typedef {{ promise: Promise<any>, resolve: (value?: any) => void, reject: (error: unknown) => void }} Settle */
/**
 * @typedef {{ data: Message, size: number, asked: boolean, settle: Settle[], sealed?: Uint8Array, key?: CryptoKey }} Entry
 * `settle`: of its `send` first, then of each `flush` that waits for it. `asked`: it is a request.
 */
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
/** A socket that lasted for less, and on which nothing was acknowledged, was of no use: the next pause is longer. */
const HEALTHY = 1000;
/** Any node takes messages of this size: larger ones wait for its limit. */
const SURELY_TAKEN = 1 << 16;
const FAULT = 4009;

const noop = () => {};
const now = () => performance.now();
const encoder = new TextEncoder();
/** Timers that are set to more fire at once. @param {() => void} does @param {number} delay */
const later = (does, delay) => setTimeout(does, Math.min(delay, 2 ** 31 - 1));
/** Whoever does not wait for it does not fail by it. @template T @param {Promise<T>} promise */
const quiet = (promise) => (promise.catch(noop), promise);

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

/** Of codes, some with the beginning of their reason. @type {[RegExp, typeof ConnectionLost, Retry][]} */
const CODES = [
  [/1006|1011 no pong/, ConnectionLost, "resume"],
  [/1001|1005|101[1-4]|400[157]|1008 the secret/, Interrupted, "reopen"],
  [/4012/, Interrupted, "resume"],
  [/4002|1008 the token/, TokenRefused, "token"],
  [/4004/, ChannelRefused, "reopen"],
  [/400[036]/, ChannelRefused, "never"],
  [/4008/, SessionLost, "reopen"],
  [/4011/, SessionTaken, "never"],
  [/100[23789]|1010|4009|4010/, ProtocolViolated, "never"],
  [/./, ChannelClosed, "never"],
];

/** @param {number} code @param {string} [reason] @returns {GuesthouseError} */
export function errorOf(code, reason = "") {
  const [, Kind, retry] = /** @type {any} */ (CODES.find(([codes]) => `${code} ${reason}`.search(codes) === 0));
  return new Kind(`${reason || "the connection ended"} (${code})`, code, retry);
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
  /** Whether the node has answered on this socket. @type {boolean | undefined} */
  #answered;
  /** Whether the channel can be used by this socket: on encrypted ones later. @type {boolean | undefined} */
  #live;
  #liveSince = 0;
  #resumable = false;
  #subprotocol = "";
  /** @type {number | undefined} */
  #channelId;
  /** @type {boolean | undefined} */
  #hasChannel;
  /** Counts channels. */
  #channel = 0;
  /** @type {boolean | undefined} */
  #closing;
  #failures = 0;
  /** Whether something was acknowledged on this socket. @type {boolean | undefined} */
  #useful;
  /** Whether a socket was of use since a session was lost. @type {boolean | undefined} */
  #fresh;
  #rejected = false;
  /** Whether an attempt to resume was given up, which may still take over (4011). @type {boolean | undefined} */
  #abandoned;
  /** @type {Timer} */
  #retryTimer;

  // The session: its key, and what the node said with it.
  /** @type {any} */
  #session;
  /** How much a message may count, once it is known. @type {any} */
  #most;
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
  #acked = 0;
  #bytes = 0;
  #dropped = 0;
  /** For room. @type {Entry[]} */
  #waiting = [];
  #flushes = 0;
  /** @type {Timer} */
  #pumpTimer;

  #heard = 0;
  /** Whether nothing was heard since the last ping. @type {boolean | undefined} */
  #silent;
  /** Whether a pong is to come. @type {boolean | undefined} */
  #asked;
  /** Of an attempt, then of signs of life. @type {Timer} */
  #timer;

  /** @type {[Message, number, number][]} */
  #inbox = [];
  /** Bytes that came and were not taken. */
  #unread = 0;
  /** @type {boolean | undefined} */
  #listening;
  /** Who waits for a message, or the end. @type {Settle | undefined} */
  #wake;
  /** @type {Map<number, Settle>} */
  #requests = new Map();
  #lastRequest = 0;
  /** @type {Settle[]} */
  #renewals = [];

  /** @type {Promise<CryptoKey> | undefined} */
  #secret;
  /** The same, when it is there. @type {CryptoKey | undefined} */
  #key;
  /** @type {Promise<unknown>} */
  #order = Promise.resolve();
  /** @type {boolean | undefined} */
  #sealing;

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
    const path = options.path?.replace(/^\/?/, "/");
    this.#url = new URL(path === undefined ? "/" : `/${this.#process}${path}`, `${options.url ?? page?.origin}`);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#url.hash = "";
    this.#options = {
      queueBytes: 4 << 20,
      queuePolicy: "wait",
      receiveBytes: 64 << 20,
      firstDelay: 500,
      longestDelay: 30_000,
      connectTimeout: 10_000,
      pingAfter: 20_000,
      pongTimeout: 10_000,
      subprotocols: /** @type {string[]} */ ([]),
      WebSocket: globalThis.WebSocket,
      ...options,
    };
    const { queuePolicy, WebSocket, token, encrypted } = this.#options;
    must(/^ws/.test(this.#url.protocol), "wrong `url`");
    must(this.#process, "`process` is missing");
    must(WebSocket, "`WebSocket` is missing");
    must(/^(wait|drop-oldest|error)$/.test(queuePolicy), "wrong `queuePolicy`");
    must(path === undefined || !(token || encrypted), "a `path` goes without `token` and `encrypted`");
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
  get dropped() {
    return this.#dropped;
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
    return quiet(this.#send(() => message));
  }

  /** @param {unknown} value @returns {Promise<void>} */
  sendJson(value) {
    return quiet(this.#send(() => JSON.stringify(value)));
  }

  /** @param {() => Sendable} make @param {boolean} [asked] @returns {Promise<void>} */
  async #send(make, asked = false) {
    if (this.#closing) throw this.#error ?? errorOf(1000, "closed");
    const message = make();
    const data = typeof message === "string" ? message : copied(message);
    /** @type {Entry} */
    const entry = { data, size: byteLength(data) + OVERHEAD, asked, settle: [deferred()] };
    if (entry.size > this.#most) throw this.#tooBig();
    const { queuePolicy } = this.#options;
    while (queuePolicy !== "wait" && !this.#fits(entry)) {
      const full = new QueueFull(`${this.#bytes} bytes wait for the node`);
      if (queuePolicy === "error") throw full;
      this.#remove(full);
    }
    this.#waiting.push(entry);
    this.#admit();
    await entry.settle[0]?.promise;
  }

  /**
   * @param {unknown} body
   * @param {{ timeout?: number, signal?: any }} [options]
   * @returns {Promise<any>}
   */
  async request(body, { timeout = 10_000, signal } = {}) {
    signal?.throwIfAborted();
    const id = ++this.#lastRequest;
    const answer = deferred();
    const abort = () => answer.reject(signal?.reason);
    const timer = later(() => answer.reject(new RequestTimedOut(`no answer within ${timeout} ms`)), timeout);
    signal?.addEventListener("abort", abort);
    this.#requests.set(id, answer);
    try {
      this.#send(() => JSON.stringify({ request: id, body: body ?? null }), true).catch(answer.reject);
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#requests.delete(id);
    }
  }

  /** @returns {Promise<void>} */
  flush() {
    const last = this.#waiting.at(-1) ?? this.#kept.get(this.#next - 1);
    const flushed = deferred();
    if (last) last.settle.push(flushed);
    else flushed.resolve();
    this.#flushes++;
    this.#pump();
    return quiet(flushed.promise.finally(() => this.#flushes--));
  }

  /** @param {string} [token] @returns {Promise<number>} */
  async renewToken(token) {
    const auth_token = token ?? (await this.#token());
    if (!this.#live || !this.#resumable) throw errorOf(1006);
    const renewal = deferred();
    this.#renewals.push(renewal);
    this.#say("token", { auth_token });
    return renewal.promise;
  }

  /** @param {number} [code] @param {string} [reason] */
  async close(code = 1000, reason = "") {
    must(
      /^(1000|(?!4100)[34]\d{3})$/.test(`${code}`) && byteLength(`${reason}`) < 124,
      "the code is 1000 or 3000 to 4999 but 4100, the reason up to 123 bytes",
    );
    if (this.#closing) return void (await this.closed);
    this.#closing = true;
    const late = deferred();
    const timer = setTimeout(late.resolve, CLOSE_TIMEOUT);
    /** @param {Promise<unknown>} promise */
    const inTime = (promise) => Promise.race([promise, this.closed, late.promise]);
    await inTime(this.flush().catch(noop));
    // The node is to know that this is the end.
    if (this.#session && !this.#live) await inTime(new Promise((back) => this.addEventListener("state", back)));
    const socket = this.#live && this.#socket;
    this.#finish(undefined, code, reason);
    if (socket) await Promise.race([new Promise((closed) => (socket.onclose = closed)), late.promise]);
    clearTimeout(timer);
  }

  /** @param {Entry} entry */
  #fits(entry) {
    return !this.#kept.size || this.#bytes + entry.size <= this.#options.queueBytes;
  }

  #tooBig() {
    return new MessageTooBig(`the node takes ${this.#most - OVERHEAD} bytes`);
  }

  /** Number what there is room for. */
  #admit() {
    for (let entry; (entry = this.#waiting[0]) && this.#fits(entry); ) {
      this.#waiting.shift();
      this.#kept.set(this.#next++, entry);
      this.#bytes += entry.size;
      if (this.#most || entry.size < SURELY_TAKEN) entry.settle[0]?.resolve();
    }
    this.#pump();
  }

  /** Take the first message out of the queue. @param {GuesthouseError} [error] */
  #remove(error) {
    const entry = /** @type {Entry} */ (this.#kept.get(this.#first));
    this.#kept.delete(this.#first++);
    this.#bytes -= entry.size;
    return settled(entry, error);
  }

  /** Take out what was sent and not acknowledged. @param {GuesthouseError} error @returns {Message[]} */
  #unconfirmed(error) {
    const messages = [];
    while (this.#first <= this.#written) {
      const { data, asked } = this.#remove(error);
      if (!asked) messages.push(data);
    }
    return messages;
  }

  /** @param {number | undefined} received @param {number} [dropped] @param {Message[]} [unconfirmed] */
  #lose(received, dropped = 0, unconfirmed = []) {
    this.#dropped += dropped;
    this.#emit("lost", { received, dropped, unconfirmed });
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
        this.#lose(0, dropped);
        continue;
      }
      const entry = this.#kept.get(number);
      if (!entry) break;
      if (this.#key && entry.key !== this.#key) return this.#seal(entry, this.#key);
      this.#written = number;
      socket.send(entry.sealed ?? (this.#resumable && entry.data[0] === ESCAPE ? ESCAPE + entry.data : entry.data));
      if (!this.#resumable) this.#remove();
    }
    clearTimeout(this.#pumpTimer);
    if (this.#written < this.#next - 1) this.#pumpTimer = setTimeout(() => this.#pump(), POLL);
    else if (!this.#resumable && this.#waiting.length) this.#admit();
    if (this.#resumable && this.#kept.size && !this.#asked)
      if (this.#flushes || this.#bytes * 2 > this.#options.queueBytes) this.#ping(); // its answer acknowledges
  }

  /** @param {string} type @param {object} [fields] */
  #say(type, fields) {
    this.#socket?.send(ESCAPE + JSON.stringify({ type, ...fields }));
  }

  /** The node has so many messages of the session. @param {unknown} received */
  #acknowledged(received) {
    this.#acked = count(received, this.#acked, this.#written - this.#base);
    while (this.#first <= this.#base + this.#acked) {
      this.#useful = true;
      this.#remove();
    }
    this.#admit();
  }

  // --- Receiving ---

  /** @param {any} data */
  #hear(data) {
    this.#heard = now();
    this.#silent = false;
    try {
      const text = typeof data === "string";
      if (this.#resumable && text && data[0] === ESCAPE) {
        data = data.slice(1);
        if (data[0] !== ESCAPE) return this.#control(JSON.parse(data));
      }
      if (!this.#answered) {
        must(!this.#resumable);
        data = JSON.parse(data); // the answer to a register message
        count(data.channel_id);
        return void this.#whenOpen(data);
      }
      if (!text) data = new Uint8Array(data);
      if (this.#unread > this.#options.receiveBytes) throw new QueueFull(`${this.#unread} bytes wait for the program`);
      const size = byteLength(data) + OVERHEAD;
      this.#unread += size;
      this.#received++;
      const channel = this.#channel;
      const secret = this.#secret;
      if (!secret) return this.#deliver(data, size, channel);
      this.#inOrder(async () => {
        const key = await secret.catch(noop);
        if (key) this.#deliver(await unseal(key, data), size, channel);
        else this.#unread -= size;
      });
    } catch (error) {
      this.#violated(error);
    }
  }

  /** What it sent is not told: it may have the key of the session. @param {any} error */
  #violated(error) {
    if (!(error instanceof GuesthouseError)) error = errorOf(FAULT, `the node broke ${PROTOCOL}: ${error}`);
    this.#finish(error, error.code || 1000);
  }

  /** @param {any} fields */
  #control(fields) {
    const { type } = fields;
    const due = this.#session ? "resumed" : "opened";
    must(typeof type === "string" && (this.#answered ? !/^(open|resum)ed$/.test(type) : type === due));
    if (!this.#answered) {
      const { session, ack, channel_id, message_bytes, subprotocol = "" } = fields;
      for (const value of [channel_id, message_bytes, ack.messages - 1, ack.bytes - 1]) count(value);
      must(ack.seconds >= 0 && typeof session === "string" && typeof subprotocol === "string");
      if (this.#session) this.#whenResumed(fields);
      else this.#whenOpen(fields);
    } else if (type === "ack" || type === "pong") {
      this.#asked &&= type === "ack";
      this.#acknowledged(fields.received);
    } else if (type === "lost") {
      const lost = count(fields.count, 1);
      this.#received = count(this.#received + lost);
      this.#taken += lost;
      this.#lose(lost);
      this.#acknowledge();
    } else if (type === "token") {
      const [renewal] = /** @type {[Settle]} */ (this.#renewals);
      if (typeof fields.error === "string") renewal.reject(errorOf(4002, fields.error));
      else renewal.resolve(count(fields.expiration));
      this.#renewals.shift();
    }
  }

  /** @param {Message} message @param {number} size as it came. @param {number} channel */
  #deliver(message, size, channel) {
    if (this.#isAnswer(message)) return this.#count(size, channel);
    this.#inbox.push([message, size, channel]);
    this.#drain();
  }

  #drain() {
    while (this.#listening && this.#inbox.length)
      this.dispatchEvent(new MessageEvent("message", { data: this.#take() }));
    this.#wake?.resolve();
    this.#wake = undefined;
  }

  #take() {
    const [data, size, channel] = /** @type {[Message, number, number]} */ (this.#inbox.shift());
    this.#count(size, channel);
    return data;
  }

  /** A message was taken; it is acknowledged when it is time. @param {number} size @param {number} channel */
  #count(size, channel) {
    this.#unread -= size;
    if (channel !== this.#channel) return; // of one that has ended
    this.#taken++;
    this.#untoldBytes += size;
    const ack = this.#session?.ack;
    if (!ack) return;
    if (this.#taken - this.#told >= ack.messages || this.#untoldBytes >= ack.bytes) this.#acknowledge();
    else this.#ackTimer ??= later(() => this.#acknowledge(), ack.seconds * 1000);
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

  /** @returns {AsyncGenerator<Message, void>} */
  async *[Symbol.asyncIterator]() {
    for (;;)
      if (this.#inbox.length && !this.#listening) yield this.#take();
      else if (this.#state !== "closed") await (this.#wake ??= deferred()).promise;
      else if (this.#error) throw this.#error;
      else return;
  }

  // --- Connecting ---

  async #connect() {
    this.#letGo();
    const { path, subprotocols, resumable, connectTimeout, WebSocket } = this.#options;
    /** @type {string | undefined} */
    let auth_token;
    const timer = (this.#timer = later(() => this.#gone(1006, "no answer in time"), connectTimeout));
    try {
      if (path === undefined) auth_token = await this.#token();
      if (timer !== this.#timer) return;
      /** @type {SocketLike} */
      const socket = new WebSocket(this.#url.href, resumable === false ? subprotocols : [...subprotocols, PROTOCOL]);
      this.#socket = socket;
      socket.binaryType = "arraybuffer";
      // Deno closes with 0 where others do with 1006. Node 22 has no `close` for what was never open.
      socket.onclose = ({ code = 0, reason = "" }) =>
        this.#inOrder(() => this.#socket === socket && this.#gone(code < 1000 ? 1006 : code, reason));
      socket.onerror = () => socket.onclose?.({});
      socket.onopen = () => {
        socket.onerror = noop; // `close` follows
        this.#handshake(auth_token);
      };
      socket.onmessage = (event) => this.#hear(event.data);
    } catch (error) {
      if (timer !== this.#timer) return;
      if (error instanceof TokenRefused) this.#finish(error);
      else if (auth_token || path !== undefined) this.#finish(new ChannelRefused(`no WebSocket: ${error}`));
      else this.#gone(1006, `\`token\` failed: ${error}`, error);
    }
  }

  /** The token for the register form. */
  async #token() {
    const { token } = this.#options;
    const asked = { rejected: this.#rejected };
    const found = typeof token === "function" ? await token(asked) : (token ?? (await pageToken(this.#process)));
    if (!found) throw new TokenRefused("no token: log in");
    return found;
  }

  /** @param {string | undefined} auth_token */
  #handshake(auth_token) {
    const { path, encrypted, resumable } = this.#options;
    const protocol = this.#socket?.protocol ?? "";
    this.#resumable = protocol === PROTOCOL;
    const register = path === undefined && { auth_token, target_process: this.#process, encrypted: !!encrypted };
    if (!this.#resumable) {
      if (resumable) return this.#finish(new ChannelRefused(`the node has no ${PROTOCOL}`));
      this.#subprotocol = protocol;
      this.#dropSession(errorOf(4008, "no sessions"));
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
    this.#answered = true;
    this.#received = this.#taken = this.#told = this.#untoldBytes = 0;
    this.#channel++;
    if (this.#options.encrypted) {
      this.#secret = this.#exchangeKeys(fields.channel_id); // messages may come first
      const key = await this.#secret.catch((error) => this.#socket === socket && this.#gone(1006, `${error}`));
      if (this.#socket !== socket) return;
      this.#key = /** @type {CryptoKey} */ (key);
    }
    if (this.#resumable) this.#session = fields;
    this.#channelId = fields.channel_id;
    this.#subprotocol = fields.subprotocol ?? this.#subprotocol;
    this.#most = fields.message_bytes + OVERHEAD || Infinity;
    let dropped = this.#first - 1 - this.#written;
    // None of these was sent: they are numbered again, without those that are too big.
    const entries = [...this.#kept.values(), ...this.#waiting.splice(0)];
    this.#kept.clear();
    this.#bytes = this.#acked = 0;
    this.#next = this.#first;
    this.#written = this.#base = this.#first - 1;
    for (const entry of entries)
      if (entry.size > this.#most) dropped++, settled(entry, this.#tooBig());
      else this.#waiting.push(entry);
    this.#admit();
    this.#hasChannel = true;
    this.#abandoned = false;
    this.#goLive();
    this.#ready.resolve();
    this.#emit("open", {
      channelId: this.#channelId,
      resumable: this.#resumable,
      subprotocol: this.#subprotocol,
    });
    if (dropped) this.#lose(0, dropped);
  }

  /** @param {any} fields */
  #whenResumed(fields) {
    this.#say("ack", { received: this.#told }); // the node is to know that the new key is here
    this.#acknowledged(fields.received);
    this.#answered = true;
    this.#session = fields;
    this.#written = this.#base + this.#acked;
    this.#goLive();
  }

  #goLive() {
    clearTimeout(this.#timer);
    this.#rejected = false;
    this.#live = true;
    this.#heard = this.#liveSince = now();
    if (this.#resumable) this.#beat();
    this.#become("open");
    this.#pump();
  }

  /** The socket is gone, or is given up. @param {number} code @param {string} reason @param {unknown} [cause] */
  #gone(code, reason, cause) {
    const wasLive = this.#live;
    const resuming = !wasLive && this.#session;
    if (resuming) this.#abandoned = true;
    const useful = this.#useful || (wasLive && now() - this.#liveSince >= HEALTHY);
    this.#fresh ||= useful;
    if (useful || (code === 4008 && this.#fresh)) this.#failures = 0;
    if (code === 4008) this.#fresh = false;
    this.#letGo();
    const error = errorOf(code, reason);
    if (cause) error.cause = cause;
    let { retry } = error;
    if (code === 4011 && this.#abandoned) {
      this.#abandoned = false;
      retry = "resume";
    } else if (code === 4004 && !this.#channel) retry = "never";
    else if (retry === "token") {
      if (this.#rejected || typeof this.#options.token === "string") retry = "never";
      this.#rejected = true;
      if (code === 1008) this.#dropSession(error);
    } else if (retry === "reopen" && (!resuming || code === 4008)) this.#dropSession(error);
    error.retry = retry;
    if (retry === "never") return this.#finish(code === 1000 ? undefined : error);
    if (!this.#resumable && wasLive) this.#dropSession(error);
    if (wasLive && retry === "reopen") this.#failures ||= 1;
    if (code === 4012 || code === 4005) this.#failures = Math.max(this.#failures, 4);
    this.#become(this.#session ? "away" : "connecting");
    this.#emit("error", error);
    const { firstDelay, longestDelay } = this.#options;
    const delay = this.#failures && Math.min(longestDelay, firstDelay * 2 ** (this.#failures - 1));
    this.#failures++;
    this.#retryTimer = later(() => this.#connect(), delay * (0.5 + Math.random() / 2));
  }

  /** The session is over: tell what that leaves open. @param {GuesthouseError} error */
  #dropSession(error) {
    if (!this.#hasChannel) return;
    this.#hasChannel = false;
    this.#session = this.#key = undefined;
    const lost = new SessionLost(error.message, error.code, "reopen");
    for (const request of this.#requests.values()) request.reject(lost);
    this.#lose(undefined, 0, this.#unconfirmed(lost));
    this.#admit();
  }

  /** Take nothing more from the socket, and close it if it is not closed. @param {number} [code] @param {string} [reason] */
  #letGo(code = this.#session ? BACK_SOON : 1000, reason = "") {
    const socket = this.#socket;
    for (const timer of [this.#timer, this.#pumpTimer, this.#ackTimer, this.#retryTimer]) clearTimeout(timer);
    this.#timer = this.#ackTimer = this.#retryTimer = this.#socket = undefined;
    this.#live = this.#answered = this.#asked = this.#silent = this.#useful = false;
    for (const renewal of this.#renewals.splice(0)) renewal.reject(errorOf(1006));
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
    const ended = error ?? errorOf(1000, "closed");
    const unconfirmed = this.#unconfirmed(ended);
    const dropped = this.#next - 1 - this.#written;
    while (this.#kept.size) this.#remove(ended);
    for (const entry of this.#waiting.splice(0)) settled(entry, ended);
    for (const request of this.#requests.values()) request.reject(ended);
    if (dropped || unconfirmed.length) this.#lose(error && this.#hasChannel ? undefined : 0, dropped, unconfirmed);
    this.#become("closed");
    this.#ready.reject(ended);
    this.#closed.resolve(error);
    this.#drain();
    this.#emit("close", error);
  }

  // --- Signs of life ---

  #ping() {
    this.#asked = this.#silent = true;
    this.#say("ping");
    this.#beatIn(this.#options.pongTimeout);
  }

  #beat() {
    const quiet = now() - this.#heard;
    if (this.#silent) this.#gone(1006, "no sign of life");
    else if (quiet >= this.#options.pingAfter) this.#ping();
    else this.#beatIn(this.#options.pingAfter - quiet);
  }

  /** @param {number} delay */
  #beatIn(delay) {
    clearTimeout(this.#timer);
    this.#timer = later(() => this.#beat(), delay);
  }

  #watchPage() {
    const { signal } = this.#page;
    /** @param {EventTarget | undefined} target @param {string} type @param {(event: any) => void} does */
    const on = (target, type, does) => target?.addEventListener?.(type, does, { signal });
    const look = () => {
      if (this.#retryTimer) {
        this.#failures = 0;
        this.#connect();
      } else if (this.#live && this.#resumable && !this.#asked) this.#ping();
    };
    on(globalThis, "online", look);
    on(globalThis, "offline", look);
    on(globalThis.document, "visibilitychange", look);
    // A page that may come back lets go of its socket; any other ends the channel as it goes.
    on(globalThis, "pagehide", ({ persisted }) => {
      if (!persisted) return;
      this.#letGo();
      this.#become(this.#session ? "away" : "connecting");
    });
    on(globalThis, "pageshow", ({ persisted }) => persisted && this.#connect());
  }

  // --- Encryption ---

  /** Do it at once, or on encrypted channels after what came before. @param {() => unknown} does */
  #inOrder(does) {
    if (this.#options.encrypted) this.#order = this.#order.then(does).catch((error) => this.#violated(error));
    else does();
  }

  /** @param {number} channel_id @returns {Promise<CryptoKey>} */
  async #exchangeKeys(channel_id) {
    const { subtle } = crypto;
    const wrap = { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
    const { publicKey, privateKey } = await subtle.generateKey(wrap, false, ["encrypt", "decrypt"]);
    const modulus = new Uint8Array(await subtle.exportKey("spki", publicKey)).slice(33, 289); // as long keys as these have it
    const answer = await fetch(new URL("/encryptor:distro:sys", this.#url.href.replace("ws", "http")), {
      method: "POST",
      body: JSON.stringify({ channel_id, public_key_hex: toHex(modulus) }),
    });
    must(answer.ok, `no key: ${answer.status}`);
    const { encrypted_secret } = await answer.json();
    const secret = await subtle.decrypt(wrap, privateKey, fromHex(encrypted_secret));
    return subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt", "decrypt"]);
  }

  /** Seal a message, then go on writing. @param {Entry} entry @param {CryptoKey} key */
  async #seal(entry, key) {
    if (this.#sealing) return;
    this.#sealing = true;
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
    const data = typeof entry.data === "string" ? encoder.encode(entry.data) : entry.data;
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
  const [body, iv] = /** @type {any[]} */ ([data.subarray(0, -NONCE), data.subarray(-NONCE)]);
  return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, body));
}

/** The token of a page of a process, which the node renews by the cookie of its login. @param {string} process */
async function pageToken(process) {
  if (!globalThis.document) return undefined;
  const answer = await fetch(`/${process}/our.js`, { cache: "no-store" });
  const { node } = JSON.parse(/\{.*?\}/.exec(await answer.text())?.[0] ?? `our.js: ${answer.status}`);
  return document.cookie.split(`kinode-auth_${node}=`)[1]?.split(";")[0];
}

/** @returns {Settle} */
function deferred() {
  const made = Promise.withResolvers();
  quiet(made.promise);
  return made;
}

/** Tell who waits for a message. @param {Entry} entry @param {GuesthouseError} [error] */
function settled(entry, error) {
  for (const { resolve, reject } of entry.settle) error ? reject(error) : resolve();
  return entry;
}

/** @param {unknown} right @param {string} [text] */
function must(right, text = "wrong field or order") {
  if (!right) throw new TypeError(text);
}

/** A number of the node, if it can be one. @param {any} value @param {number} [least] @param {number} [most] @returns {number} */
function count(value, least = 0, most = Infinity) {
  must(Number.isSafeInteger(value) && value >= least && value <= most);
  return value;
}

/** Bytes of its own, since it may be sent again. @param {any} data */
function copied(data) {
  must(ArrayBuffer.isView(data) || data instanceof ArrayBuffer, "a message is text or bytes");
  return new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength).slice();
}

/** Bytes of a message; of text in UTF-8. @param {Message} data */
const byteLength = (data) => (typeof data === "string" ? encoder.encode(data) : data).length;

/** @param {Uint8Array} bytes */
const toHex = (bytes) => Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join("");
/** @param {string} hex */
const fromHex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
