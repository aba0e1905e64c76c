/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/spawning@0.1.0' {
  /**
   * Starts a process from a component of this package, such as `/child.wasm`. Without a name it gets a free one.
   * It gets the requested capabilities that this process holds itself, and its own messaging capability
   * is granted to the named processes. It lives until it ends or the node does. Needs the capability `"spawn"`
   * of `kernel:distro:sys`. Blocks until the component is compiled and the process starts.
   */
  export function spawn(name: string | undefined, wasmPath: string, onExit: OnExit, requestCapabilities: Array<Capability>, grantCapabilities: Array<ProcessId>, public_: boolean): ProcessId;
  export type Capability = import('guesthouse:process/types@0.1.0').Capability;
  export type OnExit = import('guesthouse:process/types@0.1.0').OnExit;
  export type ProcessId = import('guesthouse:process/types@0.1.0').ProcessId;
  /**
   * Why no process was started.
   */
  export type SpawnError = SpawnErrorNameTaken | SpawnErrorNoFileAtPath | SpawnErrorNotAuthorised | SpawnErrorTooMany;
  /**
   * The package has a process of that name, or the name is invalid.
   */
  export interface SpawnErrorNameTaken {
    tag: 'name-taken',
  }
  /**
   * The package has no component there, or it cannot be compiled.
   */
  export interface SpawnErrorNoFileAtPath {
    tag: 'no-file-at-path',
  }
  /**
   * This process lacks this capability: `"spawn"` of `kernel:distro:sys`.
   */
  export interface SpawnErrorNotAuthorised {
    tag: 'not-authorised',
    val: Capability,
  }
  /**
   * The package has as many processes as the node allows.
   */
  export interface SpawnErrorTooMany {
    tag: 'too-many',
  }
}
