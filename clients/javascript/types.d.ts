/** Channels of Guesthouse nodes that outlive their sockets: see docs/clients.md. */

export type State = "connecting" | "open" | "away" | "closed";

/** What the client does after an error: goes on with the channel, opens another, asks for another token, or gives up. */
export type Retry = "resume" | "reopen" | "token" | "never";

export type Message = string | Uint8Array;
export type Sendable = string | ArrayBuffer | ArrayBufferView;

export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: any): void;
  close(code?: number, reason?: string): void;
}

export interface Options {
  /** The node, such as `https://example.com`. In a page: by default where the page is from. */
  url?: string | { readonly href: string } | undefined;
  /** The process id. In a page of a process: by default that process. */
  process?: string;
  /** A path that the process has bound, such as `/room?name=x`. Without it the channel opens by the register form. */
  path?: string;
  /**
   * For the register form: a token, or a function that is asked before each connection. In a page of the node: by
   * default the page's own, by the cookie of its login. `rejected` is whether the node refused the last one. When the
   * function fails the next attempt asks it again; when it returns nothing, or throws `TokenRefused`, the channel ends.
   */
  token?: string | ((asked: { rejected: boolean }) => string | null | undefined | Promise<string | null | undefined>);
  /**
   * `true`: end with `ChannelRefused` on a node or path without `guesthouse.v1`; `false`: do not offer it, for a plain
   * channel, which ends with its socket. By default it is offered, and the channel is plain only if the handshake
   * succeeded without it.
   */
  resumable?: boolean;
  /** Encrypt each message, with the register form. All messages arrive as bytes. */
  encrypted?: boolean;
  /** Subprotocols of the process. */
  subprotocols?: string[];
  /** Bytes that may wait to be acknowledged by the node; each message counts 64 bytes more. Default: 4 MiB. */
  queueBytes?: number;
  /** What `send` does when they are used up: `wait` (the default), `drop-oldest` or `error` (rejects with `QueueFull`). */
  queuePolicy?: "wait" | "drop-oldest" | "error";
  /** The pause before the second attempt to come back, in milliseconds; it doubles up to the longest. Default: 500. */
  firstDelay?: number;
  /** Default: 30,000. */
  longestDelay?: number;
  /** How long one attempt may take, in milliseconds. Default: 10,000. */
  connectTimeout?: number;
  /** Silence, in milliseconds, after which the client asks whether the node is there. Default: 20,000. */
  pingAfter?: number;
  /** How long the answer may take, in milliseconds. Default: 10,000. */
  pongTimeout?: number;
  /** Bytes that may wait to be taken by the program, counted likewise; more end the channel. Default: 64 MiB. */
  receiveBytes?: number;
  /** The class of sockets. Default: the global one. */
  WebSocket?: new (url: string, protocols?: string[]) => SocketLike;
}

export interface Opened {
  channelId: number | undefined;
  /** Whether the channel outlives its socket. */
  resumable: boolean;
  /** The subprotocol that the process took, or `""`. */
  subprotocol: string;
}

export interface Lost {
  /** Messages of the process that do not arrive; 0: none. `undefined`: the channel ended, and it is not known. */
  received: number | undefined;
  /** Messages that were given up before they were sent: by `drop-oldest`, too big, or when it was over. */
  dropped: number;
  /** Messages that were sent and not acknowledged when the channel ended, without requests: they may have arrived. */
  unconfirmed: Message[];
}

/** An event of whatever the platform has, with or without the types of browsers. */
type PlatformEvent = typeof globalThis extends { Event: { prototype: infer Event } } ? Event : { readonly type: string };
export type ChannelEvent<Detail> = PlatformEvent & { readonly detail: Detail };
export type ReceivedEvent = PlatformEvent & { readonly data: Message };

export interface ChannelEvents {
  /** A channel is open: the first, and each one after a `lost` without a number. */
  open: ChannelEvent<Opened>;
  message: ReceivedEvent;
  state: ChannelEvent<State>;
  lost: ChannelEvent<Lost>;
  /** An attempt failed, or a connection broke; the client goes on. */
  error: ChannelEvent<GuesthouseError>;
  /** It is over; without an error if this end closed, or the process did with 1000. */
  close: ChannelEvent<GuesthouseError | undefined>;
}

/** A function of a narrower event, such as `CustomEvent`, may be given, too. */
type Listener<Event> = { handle(event: Event): void }["handle"] | { handleEvent(event: Event): void } | null;

/** What is used of an `AbortSignal`. */
export interface Signal {
  readonly reason: any;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** An `EventTarget`. */
export declare class Channel implements AsyncIterable<Message> {
  constructor(options?: Options);
  readonly state: State;
  readonly channelId: number | undefined;
  readonly resumable: boolean;
  readonly subprotocol: string;
  /** Bytes that wait to be acknowledged. */
  readonly queuedBytes: number;
  /** Messages that were given up before they were sent, in all. */
  readonly dropped: number;
  /** Fulfilled when the channel is open for the first time; rejected if it never will be. */
  readonly ready: Promise<void>;
  /** Fulfilled when it is over, with the error if there was one. */
  readonly closed: Promise<GuesthouseError | undefined>;
  /**
   * Send a message, now or when there is a connection.
   *
   * @returns Fulfilled when the message is in the queue: at once, unless the queue is full and the policy is `wait`, or
   * the message is over 64 KiB and the node's limit not known yet. Rejected with `QueueFull`, `MessageTooBig`,
   * `TypeError` for what is no message, or what ended the channel; if nobody awaits it, silently.
   */
  send(message: Sendable): Promise<void>;
  /** Send a value as JSON. */
  sendJson(value: unknown): Promise<void>;
  /**
   * Ask the process, which answers by the envelope in docs/clients.md.
   *
   * @param options.timeout In milliseconds. Default: 10,000. `Infinity`: as long as the channel lasts.
   * @returns The answer.
   * @throws RequestFailed, RequestTimedOut, the reason of the signal, or what ended the channel.
   */
  request<Answer = unknown>(body: unknown, options?: { timeout?: number; signal?: Signal | undefined }): Promise<Answer>;
  /** Fulfilled when the node has everything that was sent so far. */
  flush(): Promise<void>;
  /**
   * Have the session belong to another token, as after logging in again.
   *
   * @param token By default what the option `token` gives.
   * @returns When the token expires, in Unix seconds.
   * @throws TokenRefused: all is as before.
   */
  renewToken(token?: string): Promise<number>;
  /**
   * Close for good, when the node has what was sent, or after five seconds; what it did not get is told by `lost`.
   *
   * @param code 1000, or 3000 to 4999 but 4100.
   * @param reason At most 123 bytes of UTF-8.
   * @returns Fulfilled when the node knows, or the time is over. Rejected with `TypeError`: the channel is as before.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** The messages, if nobody listens to `message`. It ends when the channel does, and throws the error if there was one. */
  [Symbol.asyncIterator](): AsyncGenerator<Message, void>;
  addEventListener<K extends keyof ChannelEvents>(
    type: K,
    listener: Listener<ChannelEvents[K]>,
    options?: boolean | { capture?: boolean; once?: boolean; passive?: boolean; signal?: any },
  ): void;
  removeEventListener<K extends keyof ChannelEvents>(
    type: K,
    listener: Listener<ChannelEvents[K]>,
    options?: boolean | { capture?: boolean },
  ): void;
  dispatchEvent(event: any): boolean;
}

/** Open a channel. It connects by itself, and again when the connection breaks, until it is closed. */
export declare function connect(options?: Options): Channel;

/** The error of a close code. */
export declare function errorOf(code: number, reason?: string): GuesthouseError;

export declare class GuesthouseError extends Error {
  constructor(message: string, code?: number, retry?: Retry);
  /** The close code, or 0. */
  readonly code: number;
  /** What the client does after it. */
  readonly retry: Retry;
  /** What was thrown, when asking for a token failed. */
  readonly cause?: unknown;
}

/** The connection broke, or could not be made. */
export declare class ConnectionLost extends GuesthouseError {}
/** The node ended the channel for a temporary reason. */
export declare class Interrupted extends GuesthouseError {}
/** The process, or the node for it, closed the channel for good. */
export declare class ChannelClosed extends GuesthouseError {}
/** The node does not open such a channel. */
export declare class ChannelRefused extends GuesthouseError {}
/** The token is not valid: log in. */
export declare class TokenRefused extends GuesthouseError {}
/** The session is over. */
export declare class SessionLost extends GuesthouseError {}
/** Another socket has taken over the session. */
export declare class SessionTaken extends GuesthouseError {}
/** One end broke the protocol. */
export declare class ProtocolViolated extends GuesthouseError {}
/** The node does not acknowledge, or, when it ends the channel, the program does not take what came. */
export declare class QueueFull extends GuesthouseError {}
export declare class MessageTooBig extends GuesthouseError {}
/** The process answered with an error. */
export declare class RequestFailed extends GuesthouseError {}
export declare class RequestTimedOut extends GuesthouseError {}
