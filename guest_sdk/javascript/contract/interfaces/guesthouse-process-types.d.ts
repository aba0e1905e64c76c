declare module 'guesthouse:process/types@0.1.0' {
  /**
   * The name of a process: `process:package:publisher`.
   */
  export interface ProcessId {
    processName: string,
    packageName: string,
    publisherNode: string,
  }
  /**
   * Where a process runs: `node@process:package:publisher`.
   */
  export interface Address {
    node: string,
    process: ProcessId,
  }
  /**
   * JSON text.
   */
  export type Json = string;
  /**
   * Bytes of the requester's that come back with the response or error.
   */
  export type Context = Uint8Array;
  /**
   * A message's payload, which is copied into the process only when it asks for it.
   */
  export interface LazyLoadBlob {
    mime?: string,
    bytes: Uint8Array,
  }
  /**
   * A permission, named by its issuer and its purpose. It cannot be forged: the host
   * records which ones a process holds.
   */
  export interface Capability {
    issuer: Address,
    params: Json,
  }
  /**
   * A request.
   */
  export interface Request {
    /**
     * Use the id of the message being handled, and its blob if this one has none.
     */
    inherit: boolean,
    /**
     * Seconds to wait for a response; none when no response is expected.
     */
    expectsResponse?: bigint,
    body: Uint8Array,
    metadata?: Json,
    capabilities: Array<Capability>,
  }
  /**
   * The answer to a request.
   */
  export interface Response {
    /**
     * Carry the blob of the message received last if the response has none.
     */
    inherit: boolean,
    body: Uint8Array,
    metadata?: Json,
    capabilities: Array<Capability>,
  }
  /**
   * A request as it arrives. The host sets `source`; senders cannot forge it.
   */
  export interface IncomingRequest {
    source: Address,
    request: Request,
  }
  /**
   * A response as it arrives, with its request's context.
   */
  export interface IncomingResponse {
    source: Address,
    response: Response,
    context?: Context,
  }
  /**
   * Why a message was not delivered or not answered.
   * # Variants
   * 
   * ## `"offline"`
   * 
   * The other node cannot be reached.
   * ## `"timeout"`
   * 
   * No response in the request's time.
   * ## `"no-such-process"`
   * 
   * No process of that name, or it ended before it answered.
   * ## `"mailbox-full"`
   * 
   * The target's mailbox has no room.
   * ## `"not-authorised"`
   * 
   * The sender lacks the capability in `missing`.
   */
  export type SendErrorKind = 'offline' | 'timeout' | 'no-such-process' | 'mailbox-full' | 'not-authorised';
  /**
   * A message that could not be delivered or was not answered.
   */
  export interface SendError {
    kind: SendErrorKind,
    target: Address,
    request: Request,
    lazyLoadBlob?: LazyLoadBlob,
    /**
     * The capability that the sender lacks; with `not-authorised` only.
     */
    missing?: Capability,
  }
  /**
   * A send error as it arrives, with its request's context.
   */
  export interface SendFailure {
    error: SendError,
    context?: Context,
  }
  /**
   * What the host does when the process ends or traps.
   */
  export type OnExit = OnExitNone | OnExitRestart | OnExitRequests;
  export interface OnExitNone {
    tag: 'none',
  }
  /**
   * Restart it, after a pause that grows with each failure.
   */
  export interface OnExitRestart {
    tag: 'restart',
  }
  /**
   * Send these requests on its behalf.
   */
  export interface OnExitRequests {
    tag: 'requests',
    val: Array<[Address, Request, LazyLoadBlob | undefined]>,
  }
  /**
   * The kinds of WebSocket message (RFC 6455, sections 5.5 and 5.6).
   * # Variants
   * 
   * ## `"text"`
   * 
   * ## `"binary"`
   * 
   * ## `"ping"`
   * 
   * ## `"pong"`
   * 
   * ## `"close"`
   */
  export type WsMessageType = 'text' | 'binary' | 'ping' | 'pong' | 'close';
  /**
   * A client opened a channel to this process.
   */
  export interface WebSocketOpen {
    /**
     * The requested path without the process id; `/` for a registered channel.
     */
    path: string,
    channelId: number,
    sourceSocketAddr?: string,
    forwardedFor?: string,
    /**
     * Parameters of the bound path, such as `id` of `/items/:id`.
     */
    urlParams: Array<[string, string]>,
    queryParams: Array<[string, string]>,
    /**
     * The channel was already open when this process was restarted.
     */
    resumed: boolean,
    /**
     * The subprotocol that was selected from the binding's list (RFC 6455, section 1.9).
     */
    subprotocol?: string,
  }
  /**
   * A client sent a message. Its payload is the blob.
   */
  export interface WebSocketPush {
    channelId: number,
    messageType: WsMessageType,
  }
  /**
   * An HTTP request to a path that this process bound. Its body is the blob.
   */
  export interface IncomingHttpRequest {
    sourceSocketAddr?: string,
    method: string,
    url: string,
    boundPath: string,
    headers: Array<[string, string]>,
    urlParams: Array<[string, string]>,
    queryParams: Array<[string, string]>,
  }
  /**
   * Events of the HTTP server.
   */
  export type HttpServerRequest = HttpServerRequestWebSocketOpen | HttpServerRequestWebSocketPush | HttpServerRequestWebSocketClose | HttpServerRequestHttp;
  export interface HttpServerRequestWebSocketOpen {
    tag: 'web-socket-open',
    val: WebSocketOpen,
  }
  export interface HttpServerRequestWebSocketPush {
    tag: 'web-socket-push',
    val: WebSocketPush,
  }
  /**
   * The client of this channel has left.
   */
  export interface HttpServerRequestWebSocketClose {
    tag: 'web-socket-close',
    val: number,
  }
  /**
   * Answer with `http-server.send-http-response` or `messaging.send-response`.
   */
  export interface HttpServerRequestHttp {
    tag: 'http',
    val: IncomingHttpRequest,
  }
  /**
   * What `messaging.receive` hands to a process.
   */
  export type Message = MessageRequest | MessageResponse | MessageHttpServer;
  export interface MessageRequest {
    tag: 'request',
    val: IncomingRequest,
  }
  export interface MessageResponse {
    tag: 'response',
    val: IncomingResponse,
  }
  /**
   * An event of this node's own HTTP server, `http-server:distro:sys`.
   */
  export interface MessageHttpServer {
    tag: 'http-server',
    val: HttpServerRequest,
  }
}
