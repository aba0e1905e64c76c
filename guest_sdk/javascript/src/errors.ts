/** Errors, one class for each case. Every message says what to do. */

import type { Capability } from "guesthouse:process/types@0.1.0";

/** The base of every error that the SDK throws. */
export class GuestError extends Error {
  /** The capability whose lack is the cause, if it is one. */
  readonly missing: Capability | undefined;

  constructor(message: string, missing?: Capability) {
    super(missing === undefined ? message : `${message} (it lacks ${shown(missing)})`);
    this.name = new.target.name;
    this.missing = missing;
  }
}

export class BadAddress extends GuestError {}

/** An operation on a channel was refused. */
export class ChannelError extends GuestError {
  readonly channelId: number;

  constructor(channelId: number, message: string) {
    super(message);
    this.channelId = channelId;
  }
}

/** No such channel, or not a channel of this process; the host does not reveal which. */
export class ChannelNotFound extends ChannelError {}
/** A push was refused; it reached nobody. */
export class PushError extends ChannelError {}
/** The client reads too slowly: wait, drop the message, or close the channel. */
export class ChannelFull extends PushError {}
export class MessageTooBig extends PushError {}
/** A channel was not closed. */
export class CloseError extends ChannelError {}
export class BadCloseCode extends CloseError {}
export class CloseReasonTooLong extends CloseError {}

/** A path was not bound. */
export class BindError extends GuestError {
  readonly path: string;

  constructor(path: string, message: string, missing?: Capability) {
    super(message, missing);
    this.path = path;
  }
}
export class BadPath extends BindError {}
export class TooManyBindings extends BindError {}
export class NoSubdomain extends BindError {}
export class BadSubprotocol extends BindError {}
export class NoUi extends BindError {}
export class BindNotAuthorised extends BindError {}

/** State was not stored; the old state is unchanged. */
export class StateError extends GuestError {}
export class StateTooBig extends StateError {}
export class StateNotWritten extends StateError {}

/** A request was not delivered or not answered. */
export class SendError extends GuestError {
  /** Its receiver. */
  readonly target: string;

  constructor(message: string, target: string, missing?: Capability) {
    super(message, missing);
    this.target = target;
  }
}
export class Offline extends SendError {}
export class TimedOut extends SendError {}
export class NoSuchProcess extends SendError {}
export class MailboxFull extends SendError {}
export class NotAuthorised extends SendError {}

/** Throw it in `onChannelRequest`: the client gets the text as the error of its request. */
export class RequestRefused extends GuestError {}

/** The value of `err` of a host call: both engines throw an `Error` that has it as `payload`. */
export function refusalOf(error: unknown): unknown {
  if (typeof error === "object" && error !== null && "payload" in error) return error.payload;
  throw error;
}

export function pushError(channelId: number, refusal: unknown): PushError | ChannelNotFound {
  switch (refusal) {
    case "channel-not-found":
      return new ChannelNotFound(channelId, `channel ${channelId} does not exist: its client may have left`);
    case "channel-full":
      return new ChannelFull(
        channelId,
        `channel ${channelId} is full, its client reads too slowly: wait, drop the message or close the channel`,
      );
    case "too-big":
      return new MessageTooBig(channelId, "the message is larger than the node allows: send less at once");
    default:
      return new PushError(channelId, `the push to channel ${channelId} was refused: ${String(refusal)}`);
  }
}

export function closeError(channelId: number, refusal: unknown): CloseError | ChannelNotFound {
  switch (refusal) {
    case "channel-not-found":
      return new ChannelNotFound(channelId, `channel ${channelId} does not exist: its client may have left`);
    case "bad-code":
      return new BadCloseCode(channelId, "an endpoint may not send that close code: use 1000 or 3000 to 4999");
    default:
      return new CloseReasonTooLong(channelId, "the reason of a close is over 123 bytes: shorten it");
  }
}

type Tagged = { tag: string; val?: Capability };

export function bindError(path: string, refusal: unknown): BindError {
  const { tag, val } = refusal as Tagged;
  switch (tag) {
    case "bad-path":
      return new BadPath(path, `${JSON.stringify(path)} cannot be bound: use an absolute path such as "/rooms/:room"`);
    case "too-many":
      return new TooManyBindings(path, "the process has as many bindings as the node allows: unbind some");
    case "no-subdomain":
      return new NoSubdomain(path, "another package has the host name of this one: rename the package");
    case "bad-subprotocol":
      return new BadSubprotocol(path, "a subprotocol is no token, or there are over 16");
    case "no-ui":
      return new NoUi(path, "the package has no ui folder: add one");
    default:
      return new BindNotAuthorised(path, "the process may not use the HTTP server", val);
  }
}

export function stateError(refusal: unknown): StateError {
  const { tag, val } = refusal as Tagged;
  return tag === "too-big"
    ? new StateTooBig("the state is larger than this process may store", val)
    : new StateNotWritten("the node could not write the state: its log says why");
}

function shown(capability: Capability): string {
  const { node, process } = capability.issuer;
  return `${capability.params} of ${node}@${process.processName}:${process.packageName}:${process.publisherNode}`;
}
