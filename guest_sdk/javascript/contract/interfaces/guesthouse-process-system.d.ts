/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/system@0.1.0' {
  /**
   * This process's own address. Does not block.
   */
  export function our(): Address;
  /**
   * Writes a line to the process's log. Lines over its rate are counted, and the count is logged.
   * Does not block.
   */
  export function print(verbosity: Verbosity, text: string): void;
  /**
   * The stored bytes, if any. Blocks. Traps when the node cannot read them.
   */
  export function getState(): Uint8Array | undefined;
  /**
   * Replaces the stored bytes. Durable once it returns. Blocks.
   */
  export function setState(bytes: Uint8Array): void;
  /**
   * Deletes the stored bytes. Durable once it returns. Blocks.
   */
  export function clearState(): void;
  /**
   * What happens when this process ends. Does not block.
   */
  export function getOnExit(): OnExit;
  /**
   * Changes what happens when this process ends. Does not block.
   */
  export function setOnExit(onExit: OnExit): void;
  export type Address = import('guesthouse:process/types@0.1.0').Address;
  export type Capability = import('guesthouse:process/types@0.1.0').Capability;
  export type OnExit = import('guesthouse:process/types@0.1.0').OnExit;
  /**
   * Log levels.
   * # Variants
   * 
   * ## `"error"`
   * 
   * ## `"warning"`
   * 
   * ## `"info"`
   * 
   * ## `"debug"`
   */
  export type Verbosity = 'error' | 'warning' | 'info' | 'debug';
  /**
   * Why state was not stored.
   */
  export type StateError = StateErrorTooBig | StateErrorStorage;
  /**
   * Larger than this process may store: it lacks this capability of `state:distro:sys`.
   */
  export interface StateErrorTooBig {
    tag: 'too-big',
    val: Capability,
  }
  /**
   * The node could not write it; the log says why. The state stored before is untouched.
   */
  export interface StateErrorStorage {
    tag: 'storage',
  }
}
