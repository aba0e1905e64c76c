declare module 'guesthouse:process/tracing@0.1.0' {
  /**
   * The context of the innermost open span, as a `traceparent` header (W3C Trace Context, section 3.2), to be
   * passed on to others. Requests to processes of this node have it without that. None when the message is not traced.
   */
  export function traceparent(): string | undefined;
  /**
   * Begins a span in the innermost open one, and returns its number; 0 when it is not recorded. It ends with
   * `end-span`, with a span that it is in, or with the message.
   */
  export function startSpan(name: string): number;
  /**
   * Ends a span and those in it, with an error if it has failed. Without effect for 0.
   */
  export function endSpan(span: number, error: string | undefined): void;
  /**
   * Sets attributes of an open span, or with 0 of the whole run for this message.
   */
  export function setAttributes(span: number, attributes: Array<[string, AttributeValue]>): void;
  /**
   * Adds an event to an open span, or with 0 to the whole run for this message.
   */
  export function addEvent(span: number, name: string, attributes: Array<[string, AttributeValue]>): void;
  /**
   * The value of an attribute.
   */
  export type AttributeValue = AttributeValueText | AttributeValueInteger | AttributeValueNumber | AttributeValueTruth;
  export interface AttributeValueText {
    tag: 'text',
    val: string,
  }
  export interface AttributeValueInteger {
    tag: 'integer',
    val: bigint,
  }
  export interface AttributeValueNumber {
    tag: 'number',
    val: number,
  }
  export interface AttributeValueTruth {
    tag: 'truth',
    val: boolean,
  }
}
