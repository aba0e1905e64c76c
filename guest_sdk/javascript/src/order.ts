/** Keeps the handlers of a channel in order: the next is called when the one before is done. */

import type { Channel } from "./process.ts";

/** What messages may take, in all, that wait for the handler before them on their channel. */
export const MOST_QUEUED = 1 << 20;
/** What a message counts besides its content. */
const MESSAGE = 256;

/** Calls a handler. @returns a promise that is fulfilled when it is done, or nothing if it is done already. */
export type Call = () => PromiseLike<unknown> | undefined;

export class ChannelOrder {
  readonly #queues = new Map<Channel, { call: Call; size: number }[]>();
  #queued = 0;

  /**
   * Call a handler, now or after those of its channel before it.
   *
   * @param length of the message.
   */
  run(channel: Channel, length: number, call: Call): void {
    const queue = this.#queues.get(channel);
    if (queue === undefined) {
      const done = call();
      if (done !== undefined) this.#wait(channel, done);
      return;
    }
    const size = length + MESSAGE;
    if (this.#queued + size > MOST_QUEUED) {
      channel.close(1013, "too many messages while the process waits");
      return;
    }
    this.#queued += size;
    queue.push({ call, size });
  }

  /** A channel is closed: its messages that wait are dropped. */
  drop(channel: Channel): void {
    for (const { size } of this.#queues.get(channel) ?? []) this.#queued -= size;
    this.#queues.delete(channel);
  }

  #wait(channel: Channel, done: PromiseLike<unknown>): void {
    const queue: { call: Call; size: number }[] = [];
    this.#queues.set(channel, queue);
    const goOn = (): void => {
      for (;;) {
        if (this.#queues.get(channel) !== queue) return; // it was closed
        const next = queue.shift();
        if (next === undefined) {
          this.#queues.delete(channel);
          return;
        }
        this.#queued -= next.size;
        const more = next.call();
        if (more !== undefined) {
          more.then(goOn, goOn);
          return;
        }
      }
    };
    done.then(goOn, goOn);
  }
}
