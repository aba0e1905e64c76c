/// <reference path="./testing_globals.d.ts" />
/**
 * A host for tests in Node.js: `const host = await FakeHost.load("app.ts")`. The app is bundled as for a component and
 * runs in a realm of its own, with the language and what the SDK adds, and without what Node.js has.
 */

import { createContext, Script } from "node:vm";
import { randomFillSync } from "node:crypto";
import { resolve } from "node:path";

import { type Answer, FakeKv } from "./testing_kv.ts";
import { FakeVfs } from "./testing_vfs.ts";
import { BUNDLE, bundled, lineTable } from "../bundle.mjs";

interface Guest {
  start?(): void;
  step?(our: object): void;
}

const NODE = "fake.os";
const KV = "kv:distro:sys";
const MODULES = [KV, "vfs:distro:sys"];
const PACKAGE = "app:test.os";
const OUR = { node: NODE, process: { processName: "app", packageName: "app", publisherNode: "test.os" } };

/** A client of the app. */
export class FakeChannel {
  readonly id: number;
  /** What it got, in order. */
  readonly received: (string | Uint8Array)[] = [];
  /** How the app closed it. */
  closed: { code: number; reason: string } | undefined;
  isFull = false;
  /** What the app wants to happen when it is full. */
  policy = "refuse";
  /** What the service that issued its token says of it. */
  claims: Record<string, unknown> | undefined;
  readonly #host: FakeHost;

  constructor(id: number, host: FakeHost) {
    this.id = id;
    this.#host = host;
  }

  /** Send a message, and let the app handle it. */
  send(message: string | Uint8Array): void {
    this.#host.deliver(
      event("web-socket-push", { channelId: this.id, messageType: typeof message === "string" ? "text" : "binary" }),
      message,
    );
  }

  sendJson(value: unknown): void {
    this.send(JSON.stringify(value));
  }

  /** The messages received so far, decoded from JSON. */
  get json(): unknown[] {
    return this.received.map((message) => JSON.parse(String(message)) as unknown);
  }

  /** From now on its outbox is full. */
  stopReading(): void {
    this.isFull = true;
  }

  /** The client leaves. */
  close(): void {
    this.#host.leave(this);
  }
}

export interface FakeResponse {
  status: number;
  headers: [string, string][];
  body: Uint8Array;
  text: string;
}

/** A capability: its issuer and its purpose as JSON. */
export interface FakeCapability {
  issuer: { node: string; process: { processName: string; packageName: string; publisherNode: string } };
  params: string;
}

type SentRequest = [
  target: typeof OUR,
  request: { body: Uint8Array; expectsResponse?: unknown },
  context?: Uint8Array,
  blob?: { bytes: Uint8Array },
];

type Module = (body: Record<string, unknown>, blob: Uint8Array | undefined) => Answer;

/** A span that the app made; the first is the whole run. */
export interface FakeSpan {
  name: string;
  attributes: Record<string, unknown>;
  events: { name: string; attributes: Record<string, unknown> }[];
  error?: string;
}

/** A node with one process. */
export class FakeHost {
  /** Lines of the log. */
  readonly log: { level: string; text: string }[] = [];
  readonly bound: string[] = [];
  /** What the app added to traces. */
  readonly spans: FakeSpan[] = [{ name: "run", attributes: {}, events: [] }];
  state: Uint8Array | undefined;
  /** Milliseconds; timers that are due fire in `advance`. */
  now = 0;
  /** The capabilities that the app holds; those that it issues itself can be saved. */
  readonly capabilities: FakeCapability[] = [];
  /** Paths of components that `spawn` finds; others are refused, as without the capability. */
  readonly components = new Set<string>();
  /** Names of the children that were started. */
  readonly spawned: string[] = [];
  /** Other processes by their ids, which answer requests. */
  readonly processes = new Map<string, Module>();
  /** The values of the package, which `kv:distro:sys` keeps once it is granted; also over `start`. */
  readonly kv = new FakeKv();
  /** Files that came with the package, by their paths in the drive `pkg`. */
  readonly packageFiles = new Map<string, string | Uint8Array>();
  /** The drives of the package, which `vfs:distro:sys` keeps once it is granted; also over `start`. */
  readonly vfs = new FakeVfs(PACKAGE, () => this.packageFiles);
  readonly #granted = new Set<string>();
  readonly #channels = new Map<number, FakeChannel>();
  readonly #messages: { message: object; blob: string | Uint8Array | undefined }[] = [];
  readonly #timers: { due: number; response: object }[] = [];
  #blob: string | Uint8Array | undefined;
  #response: FakeResponse | undefined;
  #claims: Record<string, unknown> | undefined;
  #answer: { body: Uint8Array } | undefined;
  #last = 0;
  #guest: Guest = {};
  #bytes: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes;

  /**
   * Load an app and start it.
   *
   * @param source its entry.
   */
  static async load(source: string): Promise<FakeHost> {
    const host = new FakeHost();
    await host.start(source);
    return host;
  }

  /** Start an app, also again: channels that are open are resumed. */
  async start(source: string): Promise<void> {
    const path = resolve(source);
    const { text, map } = await bundled(path, "node", "cjs");
    const context = createContext({ module: { exports: {} }, require: (name: string) => this.#imports(name) });
    this.#bytes = new Script("(bytes) => Uint8Array.from(bytes)").runInContext(context) as (bytes: Uint8Array) => Uint8Array;
    new Script(text, { filename: BUNDLE }).runInContext(context);
    context["__guesthouseLines"] = lineTable(text, map, path);
    this.#guest = (context["module"] as { exports: { guest: Guest } }).exports.guest;
    this.#guest.start?.();
    for (const channel of this.#channels.values()) this.deliver(opened(channel.id, "/", true));
  }

  /** Let the app use a module of the node, `kv:distro:sys` or `vfs:distro:sys`, as `request-capabilities` would. */
  grant(module: string): void {
    if (!MODULES.includes(module)) throw new Error(`${module} is no module of this host: it has ${MODULES.join(" and ")}`);
    this.#granted.add(module);
  }

  /** A client opens a channel. */
  open(
    path = "/",
    params: { urlParams?: Record<string, string>; queryParams?: Record<string, string>; claims?: Record<string, unknown> } = {},
  ): FakeChannel {
    const channel = new FakeChannel(++this.#last, this);
    channel.claims = params.claims;
    this.#channels.set(channel.id, channel);
    this.deliver(opened(channel.id, path, false, params.urlParams, params.queryParams));
    return channel;
  }

  /** A client requests a path. */
  http(
    method: string,
    url: string,
    body?: string | Uint8Array,
    headers: [string, string][] = [],
    claims?: Record<string, unknown>,
  ): FakeResponse {
    this.#response = undefined;
    this.#claims = claims;
    const path = url.split("?")[0]!;
    const [boundPath, urlParams] = this.#bound(path);
    const raw = { method, url, boundPath, headers, urlParams, queryParams: [...new URL(url, "http://a").searchParams] };
    this.deliver(event("http", raw), body);
    if (this.#response === undefined) throw new Error("the app did not answer");
    return this.#response;
  }

  /** Another process sends a request; what it is answered. */
  request(body: unknown, source = "other:other:test.os"): unknown {
    this.#answer = undefined;
    const [processName, packageName, publisherNode] = source.split(":");
    const request = { inherit: false, expectsResponse: 5, body: this.#bytes(utf8(JSON.stringify(body))), capabilities: [] };
    this.deliver({ tag: "request", val: { source: { node: NODE, process: { processName, packageName, publisherNode } }, request } });
    const answer = this.#answer as { body: Uint8Array } | undefined;
    return answer === undefined ? undefined : (JSON.parse(new TextDecoder().decode(answer.body)) as unknown);
  }

  /** Let time pass; timers that are due fire, in order. */
  advance(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      this.#timers.sort((one, other) => one.due - other.due);
      const first = this.#timers[0];
      if (first === undefined || first.due > end) break;
      this.#timers.shift();
      this.now = first.due;
      this.deliver(first.response);
    }
    this.now = end;
  }

  /** Called by `FakeChannel`. */
  leave(channel: FakeChannel): void {
    if (this.#channels.delete(channel.id)) this.deliver(event("web-socket-close", channel.id));
  }

  /** Hand a message to the app, and let it handle that and what follows from it. */
  deliver(message: object, blob?: string | Uint8Array): void {
    this.#messages.push({ message, blob });
    while (this.#messages.length > 0) this.#guest.step?.(OUR);
  }

  /** The bound path that a path is on, and the parameters in it. */
  #bound(path: string): [string, [string, string][]] {
    const parts = path.split("/");
    for (const bound of this.bound) {
      const names = bound.split("/");
      const fits = names.length === parts.length && names.every((name, place) => name.startsWith(":") || name === parts[place]);
      if (!fits) continue;
      const places = names.flatMap((name, place) => (name.startsWith(":") ? [place] : []));
      return [bound, places.map((place) => [names[place]!.slice(1), decodeURIComponent(parts[place]!)])];
    }
    return [path, []];
  }

  #receive(): object {
    const { message, blob } = this.#messages.shift()!;
    if ("failure" in message) throw refused(message.failure);
    this.#blob = blob;
    return message;
  }

  #imports(name: string): object {
    switch (name.replace(/^.*\/|@.*$/g, "")) {
      case "messaging":
        return {
          receive: () => this.#receive(),
          hasBlob: () => this.#blob !== undefined,
          getBlobText: () => (typeof this.#blob === "string" ? this.#blob : undefined),
          getBlob: () => (this.#blob === undefined ? undefined : { bytes: this.#bytes(asBytes(this.#blob)) }),
          sendRequest: (...given: SentRequest) => this.#sent(...given),
          sendAndAwaitResponse: (target: never, request: never, blob: never) => this.#awaited(target, request, blob),
          sendResponse: (response: { body: Uint8Array }) => (this.#answer = response),
        };
      case "http-server":
        return this.#httpServer();
      case "system":
        return {
          our: () => OUR,
          print: (level: string, text: string) => this.log.push({ level, text }),
          getState: () => this.state && this.#bytes(this.state),
          setState: (bytes: Uint8Array) => (this.state = bytes),
          clearState: () => (this.state = undefined),
        };
      case "tracing":
        return this.#tracing();
      case "capabilities":
        return this.#rights();
      case "spawning":
        return { spawn: (name: string | undefined, path: string) => this.#spawn(name, path) };
      case "random":
        return { getRandomBytes: (length: number | bigint) => this.#bytes(randomFillSync(new Uint8Array(Number(length)))) };
      default:
        return {};
    }
  }

  /** Every message is of one trace. */
  #tracing(): object {
    const spanOf = (number: number): FakeSpan | undefined => this.spans[number];
    const plain = (given: [string, { val: unknown }][]): Record<string, unknown> => Object.fromEntries(given.map(([name, { val }]) => [name, val]));
    return {
      traceparent: () => `00-0af7651916cd43dd8448eb211c80319c-${String(this.spans.length).padStart(16, "0")}-01`,
      startSpan: (name: string) => this.spans.push({ name, attributes: {}, events: [] }) - 1,
      endSpan: (number: number, error?: string) => {
        const span = spanOf(number);
        if (span !== undefined && error !== undefined) span.error = error;
      },
      setAttributes: (number: number, given: [string, { val: unknown }][]) => Object.assign(spanOf(number)?.attributes ?? {}, plain(given)),
      addEvent: (number: number, name: string, given: [string, { val: unknown }][]) =>
        spanOf(number)?.events.push({ name, attributes: plain(given) }),
    };
  }

  #httpServer(): object {
    const bind = (path: string): void => {
      if (!path.startsWith("/")) throw refused({ tag: "bad-path" });
      this.bound.push(path);
    };
    const text = (ids: Iterable<number>, message: string | Uint8Array): [number, string][] =>
      [...ids].flatMap((id): [number, string][] => {
        const refusal = this.#push(id, message);
        return refusal === undefined ? [] : [[id, refusal]];
      });
    const one = (id: number, message: string | Uint8Array): void => {
      const refusal = this.#push(id, message);
      if (refusal !== undefined) throw refused(refusal);
    };
    const close = (id: number, code: number, reason: string): string | undefined => {
      const channel = this.#channels.get(id);
      if (channel === undefined) return "channel-not-found";
      if (!(code === 1000 || (code >= 1001 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code < 5000))) {
        return "bad-code";
      }
      if (utf8(reason).length > 123) return "reason-too-long";
      channel.closed = { code, reason };
      this.#channels.delete(id);
      return undefined;
    };
    return {
      bindWsPath: bind,
      bindHttpPath: bind,
      bindHttpStaticPath: bind,
      serveUi: bind,
      unbindWsPath: () => undefined,
      unbindHttpPath: () => undefined,
      setChannelPolicy: (id: number, policy: string) => {
        const channel = this.#channels.get(id);
        if (channel === undefined) throw refused("channel-not-found");
        channel.policy = policy;
      },
      sendWsPushWaiting: (id: number, type: string, { bytes }: { bytes: Uint8Array }) =>
        one(id, type === "text" ? new TextDecoder().decode(Uint8Array.from(bytes)) : bytes),
      sendWsText: one,
      sendWsPush: (_: string, id: number, __: string, blob: { bytes: Uint8Array }) => one(id, blob.bytes),
      sendWsTextMany: text,
      sendWsPushMany: (ids: Iterable<number>, _: string, blob: { bytes: Uint8Array }) => text(ids, blob.bytes),
      closeChannel: (id: number, code: number, reason: string) => {
        const refusal = close(id, code, reason);
        if (refusal !== undefined) throw refused(refusal);
      },
      closeChannels: (ids: Iterable<number>, code: number, reason: string) =>
        [...ids].flatMap((id) => {
          const refusal = close(id, code, reason);
          return refusal === undefined ? [] : [[id, refusal]];
        }),
      channelClaims: (id: number) => written(this.#channels.get(id)?.claims),
      httpRequestClaims: () => written(this.#claims),
      sendHttpResponse: (status: number, headers: [string, string][], blob?: { mime?: string; bytes: Uint8Array }) => {
        const body = Uint8Array.from(blob?.bytes ?? []);
        const all: [string, string][] = blob?.mime === undefined ? headers : [...headers, ["content-type", blob.mime]];
        this.#response ??= { status, headers: all, body, text: new TextDecoder().decode(body) };
      },
    };
  }

  #rights(): object {
    const places = (wanted: FakeCapability): number =>
      this.capabilities.findIndex(({ issuer, params }) => params === wanted.params && idOf(issuer) === idOf(wanted.issuer));
    return {
      ours: () => [...this.capabilities],
      save: (saved: FakeCapability[]) => {
        for (const each of saved) if (places(each) < 0 && idOf(each.issuer) === idOf(OUR)) this.capabilities.push(each);
      },
      drop: (dropped: FakeCapability[]) => {
        for (const each of dropped) if (places(each) >= 0) this.capabilities.splice(places(each), 1);
      },
    };
  }

  #spawn(name: string | undefined, path: string): object {
    if (this.components.size === 0) {
      const issuer = { node: NODE, process: { processName: "kernel", packageName: "distro", publisherNode: "sys" } };
      throw refused({ tag: "not-authorised", val: { issuer, params: '"spawn"' } });
    }
    if (!this.components.has(path)) throw refused({ tag: "no-file-at-path" });
    const chosen = name ?? `child-${this.spawned.length}`;
    if (this.spawned.includes(chosen)) throw refused({ tag: "name-taken" });
    this.spawned.push(chosen);
    return { ...OUR.process, processName: chosen };
  }

  #push(id: number, message: string | Uint8Array): string | undefined {
    const channel = this.#channels.get(id);
    if (channel === undefined) return "channel-not-found";
    if (channel.isFull) return this.#full(channel);
    channel.received.push(typeof message === "string" ? message : Uint8Array.from(message));
    return undefined;
  }

  #full(channel: FakeChannel): string | undefined {
    if (channel.policy === "drop-oldest") return undefined; // the client never reads it
    if (channel.policy === "wait") throw new Error(`the app waits for channel ${channel.id}, which never reads again`);
    if (channel.policy !== "close") return "channel-full";
    channel.closed = { code: 1013, reason: "" };
    this.#channels.delete(channel.id);
    this.#messages.push({ message: event("web-socket-close", channel.id), blob: undefined });
    return undefined;
  }

  #sent(...[target, request, context, blob]: SentRequest): void {
    const body = parsed(request.body);
    const id = idOf(target);
    const response = (answer: unknown): object => ({
      tag: "response",
      val: { source: target, response: { inherit: false, body: this.#bytes(utf8(JSON.stringify(answer))), capabilities: [] }, context },
    });
    if (id === "timer:distro:sys" && typeof body["SetTimer"] === "number") {
      this.#timers.push({ due: this.now + body["SetTimer"], response: response("Ok") });
      return;
    }
    const process = this.#process(id);
    if (process === "not granted") {
      this.#messages.push({ message: { failure: { error: notAuthorised(target), context } }, blob: undefined });
      return;
    }
    if (process === undefined) throw new Error(`the test has no process ${id}: set host.processes`);
    const answer = process(body, blob?.bytes);
    if (request.expectsResponse !== undefined) this.#messages.push({ message: response(answer.body), blob: answer.blob });
  }

  /** What answers for an id: the test's own, or a module of the node. */
  #process(id: string): Module | "not granted" | undefined {
    const own = this.processes.get(id);
    if (own !== undefined || !MODULES.includes(id)) return own;
    if (!this.#granted.has(id)) return "not granted";
    return id === KV ? (body, blob) => this.kv.carryOut(body, blob, this.now) : (body, blob) => this.vfs.carryOut(body, blob);
  }

  #awaited(target: typeof OUR, request: { body: Uint8Array }, blob?: { bytes: Uint8Array }): object {
    const process = this.#process(idOf(target));
    if (process === "not granted") throw refused(notAuthorised(target));
    if (process === undefined) throw refused({ kind: "no-such-process", target, request });
    const answer = process(parsed(request.body), blob?.bytes);
    this.#blob = answer.blob;
    return {
      tag: "response",
      val: { source: target, response: { inherit: false, body: this.#bytes(utf8(JSON.stringify(answer.body))), capabilities: [] } },
    };
  }
}

function event(tag: string, val: unknown): object {
  return { tag: "http-server", val: { tag, val } };
}

function opened(
  channelId: number,
  path: string,
  resumed: boolean,
  urlParams: Record<string, string> = {},
  queryParams: Record<string, string> = {},
): object {
  return event("web-socket-open", { path, channelId, resumed, urlParams: Object.entries(urlParams), queryParams: Object.entries(queryParams) });
}

function written(claims: Record<string, unknown> | undefined): string | undefined {
  return claims && JSON.stringify(claims);
}

function notAuthorised(target: typeof OUR): object {
  return { kind: "not-authorised", target, missing: { issuer: target, params: '"messaging"' } };
}

function refused(payload: unknown): Error {
  return Object.assign(new Error(JSON.stringify(payload)), { payload });
}

function idOf({ process }: typeof OUR): string {
  return `${process.processName}:${process.packageName}:${process.publisherNode}`;
}

function parsed(body: Uint8Array): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(body))) as Record<string, unknown>;
}

function asBytes(blob: string | Uint8Array): Uint8Array {
  return typeof blob === "string" ? utf8(blob) : blob;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
