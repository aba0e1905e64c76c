/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/capabilities@0.1.0' {
  /**
   * Saves capabilities that came with messages of this run, or that this process issues, for later runs too.
   * Others are left out; see `ours`. Blocks until it is durable.
   */
  export function save(capabilities: Array<Capability>): void;
  /**
   * Drops capabilities, for later runs too. Blocks until it is durable.
   */
  export function drop(capabilities: Array<Capability>): void;
  /**
   * The capabilities that this process holds. Blocks.
   */
  export function ours(): Array<Capability>;
  export type Capability = import('guesthouse:process/types@0.1.0').Capability;
}
