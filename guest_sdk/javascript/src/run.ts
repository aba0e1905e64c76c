/** The loop of a process. */

import { getBlob, getBlobText, hasBlob, receive, type Message } from "guesthouse:process/messaging@0.1.0";
import type {
  Address,
  HttpServerRequest,
  IncomingHttpRequest,
  LazyLoadBlob,
  Request,
  SendFailure,
} from "guesthouse:process/types@0.1.0";

import { formatAddress } from "./address.ts";
import { ownBytes } from "./encoding.ts";
import { ChannelNotFound, refusalOf, RequestRefused } from "./errors.ts";
import { sendHttpResponse } from "./http_server.ts";
import { logException, printToLog } from "./log.ts";
import {
  IncomingRequest,
  IncomingResponse,
  readBlobsBy,
  sendError,
  sendResponse,
  settleFailure,
  settleResponse,
  whileBlocking,
} from "./messaging.ts";
import { ChannelOrder } from "./order.ts";
import { Channel, type ChannelRequest, HttpRequest, HttpResponse, type Process } from "./process.ts";
import { runJobs } from "./promise.ts";

const FAILED = "the process failed to answer";
const REQUEST_START = '{"request":';

let order = new ChannelOrder();

/** Run a process until its node ends it. */
export function runProcess(process: Process, our: Address): void {
  startProcess(process);
  for (;;) step(process, our);
}

/** Receive one message and handle it, with all that it queues. */
export function step(process: Process, our: Address): void {
  handleNext(process, our);
  drain();
}

/** Call `onStart`. */
export function startProcess(process: Process): void {
  readBlobsBy(receivedBlob);
  const kept = (order = new ChannelOrder());
  process.watch((channel) => kept.drop(channel));
  let failure: { reason: unknown } | undefined;
  const settled = settledNow("onStart", () => process.onStart?.(), (reason) => (failure = { reason }));
  if (!settled && failure === undefined) {
    failure = { reason: new Error("onStart waits for what a later message brings, and none is received before it ends") };
  }
  if (failure !== undefined) {
    logException("onStart", failure.reason);
    throw failure.reason;
  }
}

function drain(): void {
  runJobs((reason) => logException("a promise", reason));
}

function handleNext(process: Process, our: Address): void {
  let message: Message;
  try {
    message = receive();
  } catch (error) {
    const failure = refusalOf(error) as SendFailure;
    const reason = sendError(failure.error);
    if (!settleFailure(reason, failure.context)) guarded("onSendError", () => process.onSendError(reason));
    return;
  }
  switch (message.tag) {
    case "http-server":
      handleEvent(process, message.val);
      break;
    case "request":
      handleRequest(process, message.val.source, message.val.request, our);
      break;
    case "response":
      if (!settleResponse(message.val)) {
        const response = new IncomingResponse(formatAddress(message.val.source), message.val.response, receivedBlob());
        guarded("onResponse", () => process.onResponse?.(response.source, response));
      }
  }
}

function handleEvent(process: Process, event: HttpServerRequest): void {
  switch (event.tag) {
    case "web-socket-push": {
      const channel = process.byId(event.val.channelId);
      if (channel === undefined) return; // closed by us while this message was under way
      if (event.val.messageType === "text") handleMessage(process, channel, getBlobText() ?? "");
      else if (event.val.messageType === "binary") {
        handleMessage(process, channel, receivedBlob()?.bytes ?? new Uint8Array());
      }
      break;
    }
    case "web-socket-open": {
      const channel = new Channel(event.val, process);
      process.remember(channel);
      const resumed = event.val.resumed && process.onResume !== undefined;
      const name = resumed ? "onResume" : "onOpen";
      const opening = (): unknown => {
        if (process.whenFull !== "refuse") channel.setPolicy(process.whenFull);
        return process[name]?.(channel);
      };
      const failed = (): void => channel.close(1011, "the process failed to open the channel");
      order.run(channel, 0, () => guarded(name, opening, failed));
      break;
    }
    case "web-socket-close": {
      const channel = process.forget(event.val);
      if (channel !== undefined) guarded("onClose", () => process.onClose?.(channel));
      break;
    }
    case "http":
      handleHttp(process, event.val);
  }
}

function handleMessage(process: Process, channel: Channel, message: string | Uint8Array): void {
  if (process.onChannelRequest !== undefined && typeof message === "string") {
    const request = channelRequest(message);
    if (request !== undefined) {
      answerChannelRequest(process, channel, request);
      return;
    }
  }
  order.run(channel, message.length, () => guarded("onMessage", () => process.onMessage?.(channel, message)));
}

/** A client's request in the envelope of `docs/clients.md`; `undefined` for an ordinary message. */
export function channelRequest(message: string): ChannelRequest | undefined {
  if (!message.startsWith(REQUEST_START)) return undefined;
  let fields: { request: unknown; body?: unknown };
  try {
    fields = JSON.parse(message);
  } catch {
    return undefined;
  }
  const number = fields.request;
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number <= 0) return undefined;
  return { number, body: fields.body ?? null };
}

function answerChannelRequest(process: Process, channel: Channel, { number, body }: ChannelRequest): void {
  const answer = (fields: object): void => {
    try {
      channel.sendJson({ response: number, ...fields });
    } catch (error) {
      if (error instanceof ChannelNotFound) return;
      logException("the answer to a request", error);
      if (!("error" in fields)) answer({ error: FAILED });
    }
  };
  const failed = (error: unknown): void => {
    if (error instanceof RequestRefused) answer({ error: error.message });
    else {
      logException("onChannelRequest", error);
      answer({ error: FAILED });
    }
  };
  settle(() => process.onChannelRequest?.(channel, { number, body }), (result) => answer({ body: result ?? null }), failed);
}

function handleHttp(process: Process, raw: IncomingHttpRequest): void {
  const request = new HttpRequest(raw, receivedBlob());
  answerNow(
    "onHttp",
    () => process.onHttp(request),
    (answer) => {
      if (answer === undefined) return; // it answered by sendHttpResponse
      const { status, headers, body, mime } = answer instanceof HttpResponse ? answer : new HttpResponse(answer);
      sendHttpResponse(status, headers, body, mime);
    },
    () => sendHttpResponse(500, [], `${FAILED}\n`),
  );
}

function handleRequest(process: Process, source: Address, raw: Request, our: Address): void {
  const request = new IncomingRequest(formatAddress(source), raw, receivedBlob());
  if (request.source === `${our.node}@kernel:distro:sys` && request.text().startsWith('{"handover": ')) {
    settledNow("onHandover", () => process.onHandover?.(), (error) => logException("onHandover", error));
    return;
  }
  answerNow(
    "onRequest",
    () => process.onRequest(request.source, request),
    (answer) => {
      if (answer !== undefined) sendResponse(answer);
    },
    () => undefined,
  );
}

/** Run a handler whose client gets its result; the host answers the request received last, so it has to end before the next. */
function answerNow<T>(name: string, handler: () => T | Promise<T>, answer: (result: T) => void, refuse: () => void): void {
  let done = false;
  const failed = (error: unknown): void => {
    done = true;
    logException(name, error);
    refuse();
  };
  const settled = settledNow(
    name,
    handler,
    (error) => (done ? logException(`${name}, after it was answered`, error) : failed(error)),
    (result) => {
      if (done) return;
      done = true;
      answer(result);
    },
  );
  if (!settled && !done) {
    failed(
      new Error(
        `${name} waits for what a later message brings, such as a timer: only answers to request() can be awaited in it, ` +
          "because it has to answer before the next message is received",
      ),
    );
  }
}

/** Run a handler and what its promises queue, with requests answered on the spot. @returns whether it ended. */
function settledNow<T>(
  name: string,
  handler: () => T | Promise<T>,
  failed: (error: unknown) => void,
  answered: (result: T) => void = () => undefined,
): boolean {
  let settled = false;
  whileBlocking(() => {
    settle(
      handler,
      (result) => {
        settled = true;
        try {
          answered(result);
        } catch (error) {
          printToLog(`${name} returned what cannot be sent`, "error");
          throw error;
        }
      },
      (error) => {
        settled = true;
        failed(error);
      },
    );
    drain();
  });
  return settled;
}

/**
 * Run a handler; a failure is logged and closes nothing but what `closing` says.
 *
 * @returns a promise that is fulfilled when it is done, or nothing if it is done already.
 */
function guarded(
  name: string,
  handler: () => unknown,
  closing: () => void = () => undefined,
): PromiseLike<unknown> | undefined {
  return settle(
    handler,
    () => undefined,
    (error) => {
      logException(name, error);
      closing();
    },
  );
}

function settle<T>(
  handler: () => T | Promise<T>,
  done: (result: T) => void,
  failed: (error: unknown) => void,
): PromiseLike<unknown> | undefined {
  let result: T | Promise<T>;
  try {
    result = handler();
    if (!isThenable(result)) {
      done(result);
      return undefined;
    }
  } catch (error) {
    failed(error);
    return undefined;
  }
  return (result as Promise<T>).then(done).then(undefined, failed);
}

function isThenable(value: unknown): value is Promise<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

function receivedBlob(): LazyLoadBlob | undefined {
  const blob = hasBlob() ? (getBlob() ?? undefined) : undefined;
  return blob === undefined ? undefined : { ...blob, bytes: ownBytes(blob.bytes) };
}
