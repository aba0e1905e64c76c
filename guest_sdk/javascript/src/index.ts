/** The guest SDK of Guesthouse for TypeScript and JavaScript; see `docs/guest-javascript.md`. */

/// <reference path="../contract/process.d.ts" />
/// <reference path="../contract/wasi-random.d.ts" />
/// <reference path="./globals.d.ts" />

export { formatAddress, parseAddress, formatProcessId, type Address, type ProcessId } from "./address.ts";
export {
  capability,
  dropCapabilities,
  messagingCapability,
  ourCapabilities,
  saveCapabilities,
} from "./capabilities.ts";
export * from "./errors.ts";
export {
  bindHttpPath,
  bindHttpStaticPath,
  bindWsPath,
  type ChannelPolicy,
  type CustomClaims,
  type Headers,
  type HttpBinding,
  sendHttpResponse,
  serveUi,
  unbindHttpPath,
  unbindWsPath,
  type WsBinding,
} from "./http_server.ts";
export { Kv, KvError } from "./kv.ts";
export { printToLog, type Verbosity } from "./log.ts";
export {
  type Capability,
  IncomingRequest,
  IncomingResponse,
  request,
  sendRequest,
  sendResponse,
  type Sent,
} from "./messaging.ts";
export { Busy, hashPassword, isOutdated, PasswordError, verifyPassword } from "./passwords.ts";
export { Channel, type ChannelRequest, defineProcess, type Handlers, HttpRequest, HttpResponse, Process } from "./process.ts";
export {
  NameTaken,
  NoFileAtPath,
  spawn,
  SpawnError,
  SpawnNotAuthorised,
  type SpawnOptions,
  TooManyProcesses,
} from "./spawning.ts";
export { clearState, getState, getStateJson, our, setState, setStateJson } from "./system.ts";
export * as tracing from "./tracing.ts";
export {
  AlreadyExists,
  Drive,
  DriveFull,
  type Entry,
  NotEmpty,
  NotFound,
  NotStored,
  ReadOnly,
  VfsError,
} from "./vfs.ts";
