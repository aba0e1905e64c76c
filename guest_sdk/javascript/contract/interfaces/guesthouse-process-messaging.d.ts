/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/messaging@0.1.0' {
  /**
   * Waits for the next message. A failed request of this process
   * arrives as the error.
   */
  export function receive(): Message;
  /**
   * Waits for the next message as `receive` does. A text or binary message of a client is taken with its payload, in one
   * call: its channel, and the payload as text or as bytes. Of any other message it returns none, and leaves it to
   * `receive`, which then returns it without waiting.
   */
  export function receiveWsPush(): [number, string | undefined, Uint8Array | undefined] | undefined;
  /**
   * The payload of the message received last, if any. Does not block.
   */
  export function getBlob(): LazyLoadBlob | undefined;
  /**
   * The same payload as text, in one copy; none when there is none or it is not UTF-8
   * (`has-blob` tells the two apart). The payload of a text push is always UTF-8. Does not block.
   */
  export function getBlobText(): string | undefined;
  /**
   * Whether the message received last has a payload. Does not block.
   */
  export function hasBlob(): boolean;
  /**
   * The payload seen last, kept while messages without one arrive. Does not block.
   */
  export function lastBlob(): LazyLoadBlob | undefined;
  /**
   * Sends a request. A failure arrives later through `receive`, with `context` and what was sent.
   * Does not block.
   */
  export function sendRequest(target: Address, request: Request, context: Context | undefined, lazyLoadBlob: LazyLoadBlob | undefined): void;
  /**
   * Sends several requests, in order, as `send-request` does. Does not block.
   */
  export function sendRequests(requests: Array<[Address, Request, Context | undefined, LazyLoadBlob | undefined]>): void;
  /**
   * Answers the last received request that expects an answer; without one, it is logged and
   * dropped. Does not block.
   */
  export function sendResponse(response: Response, lazyLoadBlob: LazyLoadBlob | undefined): void;
  /**
   * Sends a request and waits for its response. Other messages queue meanwhile. Traps when the
   * request expects no response or is sent to the process itself. Blocks.
   */
  export function sendAndAwaitResponse(target: Address, request: Request, lazyLoadBlob: LazyLoadBlob | undefined): Message;
  export type Address = import('guesthouse:process/types@0.1.0').Address;
  export type Context = import('guesthouse:process/types@0.1.0').Context;
  export type LazyLoadBlob = import('guesthouse:process/types@0.1.0').LazyLoadBlob;
  export type Message = import('guesthouse:process/types@0.1.0').Message;
  export type Request = import('guesthouse:process/types@0.1.0').Request;
  export type Response = import('guesthouse:process/types@0.1.0').Response;
  export type SendError = import('guesthouse:process/types@0.1.0').SendError;
  export type SendFailure = import('guesthouse:process/types@0.1.0').SendFailure;
}
