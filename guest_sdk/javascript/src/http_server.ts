/** Paths, pushes and HTTP responses: the typed calls of `http-server:distro:sys`. */

import * as host from "guesthouse:process/http-server@0.1.0";
import type { ChannelPolicy, CloseError as CloseRefusal, PushError as PushRefusal } from "guesthouse:process/http-server@0.1.0";

import { encodeUtf8 } from "./encoding.ts";
import { bindError, type CloseError, closeError, type ChannelNotFound, type PushError, pushError, refusalOf } from "./errors.ts";

export type { ChannelPolicy };
export type Headers = Iterable<readonly [string, string]>;

declare const GUESTHOUSE_ENGINE: string;

/** How a WebSocket path is bound; see `docs/protocol.md`. */
export interface WsBinding {
  /** Only for logged-in clients; by default true. */
  authenticated?: boolean;
  secure?: boolean;
  extension?: boolean;
  subprotocols?: string[];
}

/** How an HTTP path is bound. */
export interface HttpBinding {
  /** Only for logged-in clients; by default true. */
  authenticated?: boolean;
  localOnly?: boolean;
  secure?: boolean;
  responseSeconds?: number;
}

/** Accept WebSockets on `/<process-id><path>`. @throws BindError it is not bound; the subclass says why. */
export function bindWsPath(path: string, binding: WsBinding = {}): void {
  const { authenticated = true, secure = false, extension = false, subprotocols = [] } = binding;
  bound(path, () => host.bindWsPath(path, { authenticated, secure, extension, subprotocols }));
}

/** Get HTTP requests for `/<process-id><path>` at `onHttp`. @throws BindError it is not bound. */
export function bindHttpPath(path: string, binding: HttpBinding = {}): void {
  bound(path, () => host.bindHttpPath(path, httpBinding(binding)));
}

/** Serve content on a path without asking the process. @throws BindError it is not bound. */
export function bindHttpStaticPath(path: string, content: string | Uint8Array, mime: string, binding: HttpBinding = {}): void {
  const bytes = typeof content === "string" ? encodeUtf8(content) : content;
  bound(path, () => host.bindHttpStaticPath(path, httpBinding(binding), { mime, bytes }));
}

/** Serve the files of the package's `ui` folder under a path. @throws BindError it is not bound. */
export function serveUi(path: string, binding: HttpBinding = {}): void {
  bound(path, () => host.serveUi(path, httpBinding(binding)));
}

/** Stop accepting WebSockets on a path; its open channels are closed with 1001. */
export function unbindWsPath(path: string): void {
  host.unbindWsPath(path);
}

/** Stop serving a path. */
export function unbindHttpPath(path: string): void {
  host.unbindHttpPath(path);
}

/** Answer the HTTP request received last; `onHttp` does it with what it returns. */
export function sendHttpResponse(status: number, headers: Headers = [], body: string | Uint8Array = "", mime?: string): void {
  const isText = typeof body === "string";
  const bytes = isText ? encodeUtf8(body) : body;
  const type = mime ?? (isText ? "text/plain; charset=utf-8" : undefined);
  host.sendHttpResponse(
    status,
    Array.from(headers, ([name, value]): [string, string] => [name, value]),
    type === undefined ? { bytes } : { mime: type, bytes },
  );
}

/** What the service that issued a client's token says of it: an object; undefined if it says nothing. */
export type CustomClaims = Readonly<Record<string, unknown>>;

/** The claims of the client of an open channel. */
export function channelClaims(channelId: number): CustomClaims | undefined {
  return claimsOf(host.channelClaims(channelId));
}

/** The claims of the client of the HTTP request received last. */
export function httpRequestClaims(): CustomClaims | undefined {
  return claimsOf(host.httpRequestClaims());
}

function claimsOf(text: string | undefined): CustomClaims | undefined {
  return text ? (JSON.parse(text) as CustomClaims) : undefined;
}

/** What happens to pushes to a channel whose outbox is full, for this run. @throws ChannelNotFound it is closed. */
export function setChannelPolicy(channelId: number, policy: ChannelPolicy): void {
  try {
    host.setChannelPolicy(channelId, policy);
  } catch (error) {
    throw pushError(channelId, refusalOf(error));
  }
}

/** Send to one channel. @param waits for room, under the policy `wait`. @throws PushError it was refused. */
export function push(node: string, channelId: number, message: string | Uint8Array, waits: boolean): void {
  try {
    if (waits) {
      const isText = typeof message === "string";
      const bytes = isText ? encodeUtf8(message) : bytesOf(message);
      host.sendWsPushWaiting(channelId, isText ? "text" : "binary", { bytes });
    } else if (typeof message === "string") host.sendWsText(channelId, message);
    else host.sendWsPush(node, channelId, "binary", { bytes: bytesOf(message) });
  } catch (error) {
    throw pushError(channelId, refusalOf(error));
  }
}

const MOST = 65_536;
/** Channels of one call to the host. */

/** Send one message to many channels. @returns who refused it, and why. */
export function pushToMany(channelIds: number[], message: string | Uint8Array): [number, PushError | ChannelNotFound][] {
  const refused: [number, PushRefusal][] = [];
  for (let start = 0; start < channelIds.length; start += MOST) {
    const part = idList(channelIds.slice(start, start + MOST));
    refused.push(
      ...(typeof message === "string"
        ? host.sendWsTextMany(part, message)
        : host.sendWsPushMany(part, "binary", { bytes: bytesOf(message) })),
    );
  }
  return refused.map(([id, refusal]) => [id, pushError(id, refusal)]);
}

/** Close one channel. @throws CloseError it is not closed. */
export function closeChannel(channelId: number, code: number, reason: string): void {
  try {
    host.closeChannel(channelId, code, reason);
  } catch (error) {
    throw closeError(channelId, refusalOf(error));
  }
}

/** Close many channels by one call. @returns which were not closed, and why. */
export function closeChannels(channelIds: number[], code: number, reason: string): [number, CloseError | ChannelNotFound][] {
  const refused: [number, CloseRefusal][] = [];
  for (let start = 0; start < channelIds.length; start += MOST) {
    refused.push(...host.closeChannels(idList(channelIds.slice(start, start + MOST)), code, reason));
  }
  return refused.map(([id, refusal]) => [id, closeError(id, refusal)]);
}

function bound(path: string, bind: () => void): void {
  try {
    bind();
  } catch (error) {
    throw bindError(path, refusalOf(error));
  }
}

function httpBinding({ authenticated = true, localOnly = false, secure = false, responseSeconds }: HttpBinding): host.HttpBinding {
  return { authenticated, localOnly, secure, ...(responseSeconds === undefined ? {} : { responseSeconds }) };
}

function bytesOf(message: Uint8Array): Uint8Array {
  if (message instanceof Uint8Array) return message;
  throw new TypeError(`a message is a string or a Uint8Array, not ${typeof message}: see sendJson`);
}

/** QuickJS's bindings take an array for a list of u32. */
function idList(ids: number[]): Uint32Array {
  return GUESTHOUSE_ENGINE === "quickjs" ? (ids as unknown as Uint32Array) : Uint32Array.from(ids);
}
