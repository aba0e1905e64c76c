/** The trace of the message in hand. For messages that are not traced, all of this does nothing. */

import {
  addEvent as hostAddEvent,
  type AttributeValue,
  endSpan as hostEndSpan,
  setAttributes as hostSetAttributes,
  startSpan as hostStartSpan,
  traceparent as hostTraceparent,
} from "guesthouse:process/tracing@0.1.0";

export type Attributes = Record<string, string | number | bigint | boolean>;

const RUN = 0;

/**
 * The context of the innermost open span as a `traceparent` header (W3C Trace Context), for others to go on with;
 * `undefined` when the message is not traced. Requests to processes of this node have it without that.
 */
export function traceparent(): string | undefined {
  return hostTraceparent() ?? undefined;
}

/** A span that `startSpan` began. */
export class Span {
  readonly #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  /** Whether anything is recorded; asked before values that are costly to compute. */
  get recorded(): boolean {
    return this.#number !== RUN;
  }

  set(attributes: Attributes): void {
    if (this.recorded) hostSetAttributes(this.#number, listed(attributes));
  }

  event(name: string, attributes: Attributes = {}): void {
    if (this.recorded) hostAddEvent(this.#number, name, listed(attributes));
  }

  /** End it, and the spans in it; with an error if it has failed. */
  end(error?: string): void {
    if (this.recorded) hostEndSpan(this.#number, error);
  }
}

/** Begin a span in the innermost open one. It ends with `end()`, or with the message. */
export function startSpan(name: string, attributes: Attributes = {}): Span {
  const span = new Span(hostStartSpan(name));
  if (Object.keys(attributes).length > 0) span.set(attributes);
  return span;
}

/** Run a function in a span, which fails when it throws. It must not await: other messages are handled meanwhile. */
export function inSpan<T>(name: string, run: (span: Span) => T, attributes: Attributes = {}): T {
  const span = startSpan(name, attributes);
  try {
    const result = run(span);
    span.end();
    return result;
  } catch (error) {
    span.end(String(error));
    throw error;
  }
}

/** Set attributes of the whole run for the message in hand. */
export function setAttributes(attributes: Attributes): void {
  hostSetAttributes(RUN, listed(attributes));
}

/** Add an event to the whole run for the message in hand. */
export function addEvent(name: string, attributes: Attributes = {}): void {
  hostAddEvent(RUN, name, listed(attributes));
}

function listed(attributes: Attributes): [string, AttributeValue][] {
  return Object.entries(attributes).map(([name, value]) => [name, valueOf(value)]);
}

function valueOf(value: string | number | bigint | boolean): AttributeValue {
  if (typeof value === "string") return { tag: "text", val: value };
  if (typeof value === "boolean") return { tag: "truth", val: value };
  if (typeof value === "bigint") return BigInt.asIntN(64, value) === value ? { tag: "integer", val: value } : { tag: "text", val: String(value) };
  return Number.isSafeInteger(value) ? { tag: "integer", val: BigInt(value) } : { tag: "number", val: value };
}
