/** Requests to other processes and to the runtime modules, whose answers are promises. */

import {
  sendAndAwaitResponse,
  sendRequest as hostSendRequest,
  sendResponse as hostSendResponse,
  type Message,
} from "guesthouse:process/messaging@0.1.0";
import { our as hostOur } from "guesthouse:process/system@0.1.0";
import type {
  Capability,
  IncomingResponse as HostResponse,
  LazyLoadBlob,
  Request as HostRequest,
  SendError as HostSendError,
} from "guesthouse:process/types@0.1.0";

import { formatAddress, formatProcessId, parseAddress } from "./address.ts";
import { decodeUtf8, encodeUtf8, ownBytes } from "./encoding.ts";
import { MailboxFull, NoSuchProcess, NotAuthorised, Offline, refusalOf, type SendError, TimedOut } from "./errors.ts";

declare const GUESTHOUSE_ENGINE: string;

export type { Capability };

/** What a request or a response carries. */
export interface Sent {
  /** Text, bytes, or anything else as JSON. */
  body?: unknown;
  /** The payload. */
  blob?: string | Uint8Array | { mime?: string; bytes: Uint8Array };
  metadata?: string;
  capabilities?: Capability[];
}

/** A request or a response of another process. */
export class Received {
  /** Its address: `node@process:package:publisher`. */
  readonly source: string;
  readonly body: Uint8Array;
  readonly blob: LazyLoadBlob | undefined;
  readonly metadata: string | undefined;
  readonly capabilities: Capability[];

  constructor(source: string, message: HostRequest | HostResponse["response"], blob: LazyLoadBlob | undefined) {
    this.source = source;
    this.body = ownBytes(message.body);
    this.metadata = message.metadata ?? undefined;
    this.capabilities = message.capabilities;
    this.blob = blob;
  }

  /** The body as text. */
  text(): string {
    return decodeUtf8(this.body);
  }

  /** The body, decoded from JSON. */
  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** A request that another process sent. */
export class IncomingRequest extends Received {
  /** Whether it waits for an answer. */
  readonly expectsResponse: boolean;

  constructor(source: string, request: HostRequest, blob: LazyLoadBlob | undefined) {
    super(source, request, blob);
    this.expectsResponse = request.expectsResponse !== undefined && request.expectsResponse !== null;
  }
}

/** The answer to a request of this process. */
export class IncomingResponse extends Received {}

const CONTEXT = "@guesthouse/sdk:";
const waiting = new Map<number, { target: string; answered: (response: IncomingResponse) => void; failed: (error: SendError) => void }>();
let last = 0;
let blocking = false;

/** The SDK waits for answers on the spot while `run` runs, so that no message comes between. */
export function whileBlocking(run: () => void): void {
  const before = blocking;
  blocking = true;
  try {
    run();
  } finally {
    blocking = before;
  }
}

/**
 * Send a request and get its answer. Other messages are handled meanwhile, except within `onHttp` and `onRequest`,
 * whose client waits.
 *
 * @param target an address, or a process id of this node such as `"kv:distro:sys"`.
 * @param seconds how long to wait.
 * @throws SendError it was not delivered or not answered; the subclass says why.
 */
export function request(target: string, sent: Sent = {}, seconds = 5): Promise<IncomingResponse> {
  if (!blocking) return requestMeanwhile(target, sent, seconds);
  const address = parseAddress(target, hostOur().node);
  const wanted = hostRequest(sent, seconds);
  return new Promise((resolve) => resolve(answerNow(address, wanted, blobOf(sent.blob))));
}

/** `request` that never waits on the spot: a timer that is set in `onHttp` holds up nothing. */
export function requestMeanwhile(target: string, sent: Sent, seconds: number): Promise<IncomingResponse> {
  const address = parseAddress(target, hostOur().node);
  const wanted = hostRequest(sent, seconds);
  const blob = blobOf(sent.blob);
  const number = ++last;
  return new Promise((answered, failed) => {
    hostSendRequest(address, wanted, encodeUtf8(`${CONTEXT}${number}`), blob);
    waiting.set(number, { target, answered, failed });
  });
}

function answerNow(
  address: ReturnType<typeof parseAddress>,
  wanted: HostRequest,
  blob: LazyLoadBlob | undefined,
): IncomingResponse {
  let message: Message;
  try {
    message = sendAndAwaitResponse(address, wanted, blob);
  } catch (error) {
    throw sendError(refusalOf(error) as HostSendError);
  }
  if (message.tag !== "response") throw new TypeError(`a ${message.tag} came for a response`);
  return new IncomingResponse(formatAddress(message.val.source), message.val.response, receivedBlob());
}

/**
 * Send a request that nobody answers.
 *
 * @param target an address, or a process id of this node.
 */
export function sendRequest(target: string, sent: Sent = {}): void {
  hostSendRequest(parseAddress(target, hostOur().node), hostRequest(sent, undefined), undefined, blobOf(sent.blob));
}

/** Answer the request received last. */
export function sendResponse(sent: Sent): void {
  hostSendResponse({ inherit: false, ...parts(sent) }, blobOf(sent.blob));
}

/** A response arrived: whether it was for a promise. */
export function settleResponse(response: HostResponse): boolean {
  const pending = taken(response.context);
  if (pending === undefined) return false;
  pending.answered(new IncomingResponse(formatAddress(response.source), response.response, receivedBlob()));
  return true;
}

/** A request failed: whether it was one with a promise. */
export function settleFailure(error: SendError, context: Uint8Array | undefined): boolean {
  const pending = taken(context);
  pending?.failed(error);
  return pending !== undefined;
}

function taken(context: Uint8Array | undefined): ReturnType<typeof waiting.get> {
  if (context === undefined || context === null) return undefined;
  const text = decodeUtf8(context);
  if (!text.startsWith(CONTEXT)) return undefined;
  const number = Number(text.slice(CONTEXT.length));
  const pending = waiting.get(number);
  waiting.delete(number);
  return pending;
}

/** The SDK's error for one of the contract. */
export function sendError(error: HostSendError): SendError {
  const target = formatProcessId(error.target.process);
  switch (error.kind) {
    case "offline":
      return new Offline(`the node of ${target} cannot be reached`, target);
    case "timeout":
      return new TimedOut(`${target} did not answer in time`, target);
    case "no-such-process":
      return new NoSuchProcess(`there is no process ${target}, or it ended before it answered`, target);
    case "mailbox-full":
      return new MailboxFull(`the mailbox of ${target} is full: send less, or later`, target);
    case "not-authorised":
      return new NotAuthorised(
        `this process may not message ${target}: add "${target}" to request-capabilities in package.toml`,
        target,
        error.missing ?? undefined,
      );
  }
}

let receivedBlob: () => LazyLoadBlob | undefined = () => undefined;

/** Set by the loop: reads the payload of the message received last. */
export function readBlobsBy(read: typeof receivedBlob): void {
  receivedBlob = read;
}

function hostRequest(sent: Sent, seconds: number | undefined): HostRequest {
  if (seconds !== undefined && !(Number.isInteger(seconds) && seconds > 0)) {
    throw new RangeError(`a request waits for a whole number of seconds, not ${seconds}`);
  }
  // QuickJS's bindings have numbers for u64, StarlingMonkey's and the types bigint.
  const native = (GUESTHOUSE_ENGINE === "quickjs" ? seconds : seconds && BigInt(seconds)) as bigint | undefined;
  return { inherit: false, ...(native === undefined ? {} : { expectsResponse: native }), ...parts(sent) };
}

function parts(sent: Sent): { body: Uint8Array; metadata?: string; capabilities: Capability[] } {
  const { body = "", metadata, capabilities = [] } = sent;
  return { body: bytesOf(body), capabilities, ...(metadata === undefined ? {} : { metadata }) };
}

function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  return encodeUtf8(typeof body === "string" ? body : JSON.stringify(body));
}

function blobOf(blob: Sent["blob"]): LazyLoadBlob | undefined {
  if (blob === undefined) return undefined;
  if (typeof blob === "string") return { bytes: encodeUtf8(blob) };
  return blob instanceof Uint8Array ? { bytes: blob } : blob;
}
