/** A process: a class, or an object of handlers, whose methods are called for events. */

import type { IncomingHttpRequest, LazyLoadBlob, WebSocketOpen } from "guesthouse:process/types@0.1.0";
import { our as hostOur } from "guesthouse:process/system@0.1.0";

import { decodeUtf8 } from "./encoding.ts";
import { ChannelNotFound, type CloseError, type PushError, type SendError } from "./errors.ts";
import {
  channelClaims,
  type ChannelPolicy,
  closeChannel,
  closeChannels,
  type CustomClaims,
  type Headers,
  httpRequestClaims,
  push,
  pushToMany,
  setChannelPolicy,
} from "./http_server.ts";
import { printToLog } from "./log.ts";
import type { IncomingRequest, IncomingResponse, Sent } from "./messaging.ts";

/** One client's WebSocket. */
export class Channel {
  readonly id: number;
  /** The requested path; `/` for a registered channel. */
  readonly path: string;
  /** Parameters of the bound path, such as `room` of `/rooms/:room`. */
  readonly urlParams: Readonly<Record<string, string>>;
  readonly queryParams: Readonly<Record<string, string>>;
  readonly subprotocol: string | undefined;
  readonly sourceSocketAddr: string | undefined;
  readonly forwardedFor: string | undefined;
  /** What the service that issued the client's token says of it, such as who it is. */
  readonly claims: CustomClaims | undefined;
  /** For whatever the process wants to remember of it. */
  data: unknown;
  readonly #process: Process;
  #waits = false;

  constructor(opened: WebSocketOpen, process: Process) {
    this.id = opened.channelId;
    this.path = opened.path;
    this.urlParams = Object.fromEntries(opened.urlParams);
    this.queryParams = Object.fromEntries(opened.queryParams);
    this.subprotocol = opened.subprotocol ?? undefined;
    this.sourceSocketAddr = opened.sourceSocketAddr ?? undefined;
    this.forwardedFor = opened.forwardedFor ?? undefined;
    this.claims = channelClaims(opened.channelId);
    this.#process = process;
  }

  /**
   * Send a text message (a string) or a binary one.
   *
   * @throws ChannelFull the client reads too slowly; the message was dropped.
   * @throws ChannelNotFound the client has left; `onClose` follows.
   */
  send(message: string | Uint8Array): void {
    push(hostOur().node, this.id, message, this.#waits);
  }

  /** Send a value as JSON text. @throws PushError as for `send`. */
  sendJson(value: unknown): void {
    this.send(JSON.stringify(value));
  }

  /** Close it. It leaves `channels` at once, without `onClose`. Closing one whose client has left does nothing. */
  close(code = 1000, reason = ""): void {
    try {
      closeChannel(this.id, code, reason);
    } catch (error) {
      if (!(error instanceof ChannelNotFound)) throw error;
      return;
    }
    this.#process.forget(this.id);
  }

  /** What happens to messages when the client reads too slowly; `whenFull` of the process by default. */
  setPolicy(policy: ChannelPolicy): void {
    setChannelPolicy(this.id, policy);
    this.#waits = policy === "wait";
  }
}

/** An HTTP request to a path that `bindHttpPath` bound. */
export class HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly boundPath: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly urlParams: Readonly<Record<string, string>>;
  readonly queryParams: Readonly<Record<string, string>>;
  readonly sourceSocketAddr: string | undefined;
  readonly body: Uint8Array;
  /** As `claims` of a channel, if the path is bound as `authenticated`. */
  readonly claims: CustomClaims | undefined;

  constructor(raw: IncomingHttpRequest, blob: LazyLoadBlob | undefined) {
    this.method = raw.method;
    this.url = raw.url;
    this.boundPath = raw.boundPath;
    this.headers = raw.headers;
    this.urlParams = Object.fromEntries(raw.urlParams);
    this.queryParams = Object.fromEntries(raw.queryParams);
    this.sourceSocketAddr = raw.sourceSocketAddr ?? undefined;
    this.body = blob?.bytes ?? new Uint8Array();
    this.claims = httpRequestClaims();
  }

  /** The first header of that name, in any case. */
  header(name: string): string | undefined {
    return this.headers.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1];
  }

  text(): string {
    return decodeUtf8(this.body);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** What `onHttp` may return; text without a mime type is `text/plain; charset=utf-8`. */
export class HttpResponse {
  readonly body: string | Uint8Array;
  readonly status: number;
  readonly headers: Headers;
  readonly mime: string | undefined;

  constructor(body: string | Uint8Array = "", init: { status?: number; headers?: Headers; mime?: string } = {}) {
    this.body = body;
    this.status = init.status ?? 200;
    this.headers = init.headers ?? [];
    this.mime = init.mime;
  }

  /** A value as JSON. */
  static json(value: unknown, init: { status?: number; headers?: Headers } = {}): HttpResponse {
    return new HttpResponse(JSON.stringify(value), { ...init, mime: "application/json" });
  }
}

/** A request that a client made over its channel, by `request()` of a client library. */
export interface ChannelRequest {
  readonly number: number;
  readonly body: unknown;
}

type Answer = HttpResponse | string | Uint8Array | undefined;
type Later<T> = T | Promise<T>;

/** The methods of a process. All are optional, and may be `async`. */
export interface Handlers {
  /** The process starts: load state, bind paths. An exception ends it. */
  onStart?(): Later<void>;
  /** A client opened a channel. If it fails, the channel is closed with 1011. */
  onOpen?(channel: Channel): Later<void>;
  /** A channel was open before this process was restarted. Calls `onOpen` by default. */
  onResume?(channel: Channel): Later<void>;
  /** A client sent text (a string) or a binary message. */
  onMessage?(channel: Channel, message: string | Uint8Array): Later<void>;
  /** A client made a request over its channel: return the body of the answer, or throw `RequestRefused`. */
  onChannelRequest?(channel: Channel, request: ChannelRequest): unknown;
  /** The client has left; not after the process's own `close`. */
  onClose?(channel: Channel): Later<void>;
  /** A request to a path bound by `bindHttpPath`. */
  onHttp?(request: HttpRequest): Later<Answer>;
  /** Another process sent a request; what is returned is the answer. */
  onRequest?(source: string, request: IncomingRequest): Later<Sent | undefined>;
  /** A response that no promise waits for. */
  onResponse?(source: string, response: IncomingResponse): Later<void>;
  /** A request without a promise was not delivered. */
  onSendError?(error: SendError): Later<void>;
  /** Another version will replace this one; only with `handover = true` in the manifest. */
  onHandover?(): Later<void>;
}

/** The base class of a process; see `Handlers` for its methods. */
export class Process {
  /**
   * What happens to what is sent to a client that reads too slowly. By default it is refused with `ChannelFull`. With
   * `"wait"` `channel.send` waits, and all that the process does with it; `broadcast` is refused all the same.
   */
  readonly whenFull: ChannelPolicy = "refuse";
  /** The open channels: from just before `onOpen` until just before `onClose`, or until this process closes one. */
  readonly channels = new Set<Channel>();
  readonly #byId = new Map<number, Channel>();
  readonly #watchers: ((channel: Channel) => void)[] = [];

  /** This process's address. */
  get our(): string {
    const { node, process } = hostOur();
    return `${node}@${process.processName}:${process.packageName}:${process.publisherNode}`;
  }

  onHttp(_request: HttpRequest): Later<Answer> {
    return new HttpResponse("not found\n", { status: 404 });
  }

  onRequest(source: string, _request: IncomingRequest): Later<Sent | undefined> {
    printToLog(`a request from ${source} was dropped: the process has no onRequest`, "warning");
    return undefined;
  }

  onSendError(error: SendError): Later<void> {
    printToLog(error.message, "warning");
  }

  /**
   * Send one message to all channels, or to some; it is passed to the host once.
   *
   * @returns the channels that refused it, and why: usually `ChannelFull`.
   */
  broadcast(message: string | Uint8Array, to: Iterable<Channel> = this.channels): Map<Channel, PushError | ChannelNotFound> {
    const channels = new Map(Array.from(to, (channel) => [channel.id, channel]));
    if (channels.size === 0) return new Map();
    return new Map(pushToMany([...channels.keys()], message).map(([id, error]) => [channels.get(id)!, error]));
  }

  /** Close channels by one call to the host. @returns which were not closed, and why. */
  closeAll(channels: Iterable<Channel>, code = 1000, reason = ""): Map<Channel, CloseError | ChannelNotFound> {
    const byId = new Map(Array.from(channels, (channel) => [channel.id, channel]));
    const refused = new Map(closeChannels([...byId.keys()], code, reason).map(([id, error]) => [byId.get(id)!, error]));
    for (const [id, channel] of byId) if (!refused.has(channel)) this.forget(id);
    return refused;
  }

  /** Called by the SDK. */
  remember(channel: Channel): void {
    this.#byId.set(channel.id, channel);
    this.channels.add(channel);
  }

  /** Called by the SDK. */
  byId(channelId: number): Channel | undefined {
    return this.#byId.get(channelId);
  }

  /** Called by the SDK. */
  forget(channelId: number): Channel | undefined {
    const channel = this.#byId.get(channelId);
    if (channel === undefined) return undefined;
    this.#byId.delete(channelId);
    this.channels.delete(channel);
    for (const closed of this.#watchers) closed(channel);
    return channel;
  }

  /** Call a function with each channel that leaves `channels`. */
  watch(closed: (channel: Channel) => void): void {
    this.#watchers.push(closed);
  }
}

export interface Process extends Handlers {
  onHttp(request: HttpRequest): Later<Answer>;
  onRequest(source: string, request: IncomingRequest): Later<Sent | undefined>;
  onSendError(error: SendError): Later<void>;
}

/** A process of an object of handlers, in which `this` is the `Process`. */
export function defineProcess(
  handlers: Handlers & { readonly whenFull?: ChannelPolicy } & ThisType<Process>,
): Handlers {
  return handlers;
}
