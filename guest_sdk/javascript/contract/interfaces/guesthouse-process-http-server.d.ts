/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/http-server@0.1.0' {
  /**
   * Pushes a message to a channel of this process on `node`'s HTTP server. A `close` push closes
   * the channel with the code and reason in the payload (RFC 6455, section 5.5.1). Does not block.
   * On another node, the channel's process has to have given this one the capability `{"channel": ID}`; a
   * push that fails there comes back by `receive`, as a request to that HTTP server.
   */
  export function sendWsPush(node: string, channelId: number, messageType: WsMessageType, blob: LazyLoadBlob): void;
  /**
   * Pushes a text message on this node, in one copy. Does not block.
   */
  export function sendWsText(channelId: number, text: string): void;
  /**
   * Pushes one message to many channels on this node. The payload is copied once. Returns the
   * channels that refused it, and why. Does not block.
   */
  export function sendWsPushMany(channelIds: Uint32Array, messageType: WsMessageType, blob: LazyLoadBlob): Array<[number, PushError]>;
  /**
   * `send-ws-push-many` for text, in one copy. Does not block.
   */
  export function sendWsTextMany(channelIds: Uint32Array, text: string): Array<[number, PushError]>;
  /**
   * `send-ws-push-many` to all open channels of this process with that path, as bound or
   * as requested. Does not block.
   */
  export function sendWsPushToPath(path: string, messageType: WsMessageType, blob: LazyLoadBlob): Array<[number, PushError]>;
  /**
   * `send-ws-push-to-path` for text, in one copy. Does not block.
   */
  export function sendWsTextToPath(path: string, text: string): Array<[number, PushError]>;
  /**
   * `send-ws-push` on this node that, under the policy `wait`, blocks until the outbox has room or the
   * channel is closed. Under any other policy it does not wait.
   */
  export function sendWsPushWaiting(channelId: number, messageType: WsMessageType, blob: LazyLoadBlob): void;
  /**
   * Sets what happens to pushes to a channel of this process when its outbox is full, for this
   * run. The only error is `channel-not-found`. Blocks.
   */
  export function setChannelPolicy(channelId: number, policy: ChannelPolicy): void;
  /**
   * Pushes a message in the extension framing to a channel that an extension opened. With seconds it is a request:
   * returns the extension's answer, or none when it does not come in time. Without, returns none; any answer of
   * the extension arrives as a request. Blocks.
   */
  export function sendWsExtensionPush(channelId: number, blob: LazyLoadBlob, responseSeconds: number | undefined): LazyLoadBlob | undefined;
  /**
   * Closes a channel of this process with a code (default 1000) and a reason. The process
   * gets no `web-socket-close` for it. Does not block.
   */
  export function closeChannel(channelId: number, code: number | undefined, reason: string): void;
  /**
   * Closes many channels as `close-channel` does, also those whose outbox is full. Returns the channels that were not
   * closed, and why. Does not block.
   */
  export function closeChannels(channelIds: Uint32Array, code: number | undefined, reason: string): Array<[number, CloseError]>;
  /**
   * The custom claims of the token with which a channel of this process was opened, as a JSON object of at most 1 KiB:
   * what the service that issued the token says of its bearer. None if it has none, for another process's channel,
   * and once this process has closed it or received its `web-socket-close`. Does not block.
   */
  export function channelClaims(channelId: number): string | undefined;
  /**
   * `channel-claims` of the token that came with the HTTP request received last, if its path is bound as
   * `authenticated`. Does not block.
   */
  export function httpRequestClaims(): string | undefined;
  /**
   * Accepts WebSockets on `/<process-id><path>`. Blocks until the path is bound.
   */
  export function bindWsPath(path: string, binding: WsBinding): void;
  /**
   * Stops accepting WebSockets on the path; its open channels are closed with 1001. Blocks.
   */
  export function unbindWsPath(path: string): void;
  /**
   * Delivers HTTP requests to `/<process-id><path>` to this process. Blocks until the path is bound.
   */
  export function bindHttpPath(path: string, binding: HttpBinding): void;
  /**
   * Serves this content on `/<process-id><path>`, without asking the process. Blocks.
   */
  export function bindHttpStaticPath(path: string, binding: HttpBinding, content: LazyLoadBlob): void;
  /**
   * Serves the files of the package's `ui` folder under `/<process-id><path>`, which has no
   * parameters. Blocks.
   */
  export function serveUi(path: string, binding: HttpBinding): void;
  /**
   * Stops serving the path. Blocks.
   */
  export function unbindHttpPath(path: string): void;
  /**
   * Answers the HTTP request received last. Without one, it is logged and dropped. Does
   * not block.
   */
  export function sendHttpResponse(status: number, headers: Array<[string, string]>, body: LazyLoadBlob | undefined): void;
  export type Capability = import('guesthouse:process/types@0.1.0').Capability;
  export type LazyLoadBlob = import('guesthouse:process/types@0.1.0').LazyLoadBlob;
  export type WsMessageType = import('guesthouse:process/types@0.1.0').WsMessageType;
  /**
   * Why a push was refused. A refused push reached nobody.
   * # Variants
   * 
   * ## `"channel-not-found"`
   * 
   * No such channel, or not a channel of this process: which of the two is not revealed.
   * ## `"channel-full"`
   * 
   * The channel's outbox has no room: its client reads too slowly. Wait, drop or close.
   * ## `"ping-pong-too-long"`
   * 
   * A ping, pong or close payload is over 125 bytes (RFC 6455, section 5.5).
   * ## `"not-utf8"`
   * 
   * The payload of a text message is not UTF-8.
   * ## `"too-big"`
   * 
   * The payload is larger than the node allows.
   * ## `"node-unreachable"`
   * 
   * The named node cannot be reached.
   * ## `"bad-close"`
   * 
   * The payload of a close is not a valid code with a reason in UTF-8 (RFC 6455, section 7.4).
   */
  export type PushError = 'channel-not-found' | 'channel-full' | 'ping-pong-too-long' | 'not-utf8' | 'too-big' | 'node-unreachable' | 'bad-close';
  /**
   * How a WebSocket path is bound.
   */
  export interface WsBinding {
    /**
     * Requires a valid auth cookie: of a login on the requested host, or of a token for this process.
     * Pages of other origins are refused.
     */
    authenticated: boolean,
    /**
     * Only on the package's own host, for clients who logged in there; a login to the node is
     * not enough. Implies `authenticated`.
     */
    secure: boolean,
    /**
     * For programs of the node's user on its machine, which show the secret of the node's home and may use the
     * extension framing. Closed to browsers.
     */
    extension: boolean,
    /**
     * The supported subprotocols, in order of preference; at most 16.
     */
    subprotocols: Array<string>,
  }
  /**
   * How an HTTP path is bound.
   */
  export interface HttpBinding {
    /**
     * Requires an auth cookie as in `ws-binding`.
     */
    authenticated: boolean,
    /**
     * Only from the node's own machine, by a name or address of it: programs that show the secret of the node's
     * home, and logged-in browsers. Closed to other users of the machine and to proxies.
     */
    localOnly: boolean,
    /**
     * As in `ws-binding`.
     */
    secure: boolean,
    /**
     * Seconds for the process to answer, up to the node's limit; none for the node's default.
     */
    responseSeconds?: number,
  }
  /**
   * Why a path was not bound.
   */
  export type BindError = BindErrorBadPath | BindErrorTooMany | BindErrorNoSubdomain | BindErrorBadSubprotocol | BindErrorNoUi | BindErrorNotAuthorised;
  /**
   * Not an absolute path, over 2048 bytes, or one that cannot be requested: with an empty, `.` or `..` segment, an
   * invalid character, two wildcards, or a repeated parameter. For `serve-ui`, one with a parameter.
   */
  export interface BindErrorBadPath {
    tag: 'bad-path',
  }
  /**
   * The process has as many bindings, or as much static content, as the node allows.
   */
  export interface BindErrorTooMany {
    tag: 'too-many',
  }
  /**
   * Secure, and another package of this node's run had the same host name first, whether it is still
   * there or not.
   */
  export interface BindErrorNoSubdomain {
    tag: 'no-subdomain',
  }
  /**
   * A subprotocol is not a token (RFC 9110, section 5.6.2), or there are over 16.
   */
  export interface BindErrorBadSubprotocol {
    tag: 'bad-subprotocol',
  }
  /**
   * The package has no `ui` folder.
   */
  export interface BindErrorNoUi {
    tag: 'no-ui',
  }
  /**
   * The process lacks this capability: `"messaging"` of `http-server:distro:sys`.
   */
  export interface BindErrorNotAuthorised {
    tag: 'not-authorised',
    val: Capability,
  }
  /**
   * What happens to a push when the channel's outbox is full.
   * # Variants
   * 
   * ## `"refuse"`
   * 
   * It is refused with `channel-full`. The default.
   * ## `"wait"`
   * 
   * `send-ws-push-waiting` waits for room; other pushes are refused.
   * ## `"drop-oldest"`
   * 
   * The oldest messages are dropped to make room.
   * ## `"close"`
   * 
   * The channel is closed with 1013, and the process gets `web-socket-close`.
   */
  export type ChannelPolicy = 'refuse' | 'wait' | 'drop-oldest' | 'close';
  /**
   * Why a channel was not closed.
   * # Variants
   * 
   * ## `"channel-not-found"`
   * 
   * ## `"bad-code"`
   * 
   * Not a code an endpoint may send (RFC 6455, section 7.4).
   * ## `"reason-too-long"`
   * 
   * The reason is over 123 bytes.
   */
  export type CloseError = 'channel-not-found' | 'bad-code' | 'reason-too-long';
}
