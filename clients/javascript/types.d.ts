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
  url?: string | URL;
  /** The process id. In a page of a process: by default that process. */
  process?: string;
  /** A path that the process has bound, such as `/room?name=x`. Without it the channel opens by the register form. */
  path?: string;
  /**
   * For the register form: a token, or a function that is asked before each connection. In a page of the node: by
   * default the page's own, by the cookie of its login. `rejected` is whether the node refused the last one.
   */
  token?: string | ((asked: { rejected: boolean }) => string | null | undefined | Promise<string | null | undefined>);
  /** Encrypt each message, with the register form. All messages arrive as bytes. */
  encrypted?: boolean;
  /** Subprotocols of the process. */
  subprotocols?: string[];
  /** Bytes that may wait to be acknowledged by the node; each message counts 64 bytes more. Default: 4 MiB. */
  queueBytes?: number;
  /** What `send` does when they are used up: `wait` (the default), `drop-oldest` or `error` (throws `QueueFull`). */
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
  /** Whether to use plain channels, which end with their socket, on nodes without `guesthouse.v1`. Default: true. */
  fallback?: boolean;
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
  /**
   * Messages of the process that do not arrive. `undefined`: the channel ended and another opens, so the number is
   * not known.
   */
  received: number | undefined;
  /** Messages that were given up before the node had them (`drop-oldest`). */
  dropped: number;
  /** Messages that were sent and not acknowledged when the channel ended: they may have arrived, or not. */
  unconfirmed: Message[];
}

export interface ChannelEvents {
  /** A channel is open: the first, and each one after a `lost` without a number. */
  open: CustomEvent<Opened>;
  message: MessageEvent<Message>;
  state: CustomEvent<State>;
  lost: CustomEvent<Lost>;
  /** An attempt failed, or a connection broke; the client goes on. */
  error: CustomEvent<GuesthouseError>;
  /** It is over; without an error if this end closed, or the process did with 1000. */
  close: CustomEvent<GuesthouseError | undefined>;
}

export declare class Channel extends EventTarget implements AsyncIterable<Message> {
  constructor(options?: Options);
  readonly state: State;
  readonly channelId: number | undefined;
  readonly resumable: boolean;
  readonly subprotocol: string;
  /** Bytes that wait to be acknowledged. */
  readonly queuedBytes: number;
  /** Fulfilled when the channel is open for the first time; rejected if it never will be. */
  readonly ready: Promise<void>;
  /** Fulfilled when it is over, with the error if there was one. */
  readonly closed: Promise<GuesthouseError | undefined>;
  /**
   * Send a message, now or when there is a connection.
   *
   * @returns Fulfilled when the message is in the queue: at once, unless the queue is full and the policy is `wait`.
   * @throws QueueFull, MessageTooBig, or what ended the channel.
   */
  send(message: Sendable): Promise<void>;
  /** Send a value as JSON. */
  sendJson(value: unknown): Promise<void>;
  /**
   * Ask the process, which answers by the envelope in docs/clients.md.
   *
   * @param options.timeout In milliseconds. Default: 10,000.
   * @returns The answer.
   * @throws RequestFailed, RequestTimedOut, the reason of the signal, or what ended the channel.
   */
  request(body: unknown, options?: { timeout?: number; signal?: AbortSignal }): Promise<any>;
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
  /** Close for good: after `flush` if the channel is open, for at most five seconds. */
  close(code?: number, reason?: string): Promise<void>;
  /** The messages, if nobody listens to `message`. It ends when the channel does, and throws the error if there was one. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
  addEventListener<K extends keyof ChannelEvents>(
    type: K,
    listener: ((event: ChannelEvents[K]) => void) | { handleEvent(event: ChannelEvents[K]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ChannelEvents>(
    type: K,
    listener: ((event: ChannelEvents[K]) => void) | { handleEvent(event: ChannelEvents[K]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Open a channel. It connects by itself, and again when the connection breaks, until it is closed. */
export declare function connect(options?: Options): Channel;

/** The error of a close code. */
export declare function errorOf(code: number, reason?: string): GuesthouseError;

export declare class GuesthouseError extends Error {
  constructor(message: string, code?: number, retry?: Retry);
  /** The close code, or 0. */
  readonly code: number;
  readonly retry: Retry;
}

/** The connection broke, or could not be made. */
export declare class ConnectionLost extends GuesthouseError {}
/** The node ended the channel for a reason that passes. */
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
export declare class QueueFull extends GuesthouseError {}
export declare class MessageTooBig extends GuesthouseError {}
/** The process answered with an error. */
export declare class RequestFailed extends GuesthouseError {}
export declare class RequestTimedOut extends GuesthouseError {}
