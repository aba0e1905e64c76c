/**
 * Rooms: some of a process's channels, who get the same messages and see who is there. A room exists as long as a
 * channel is in it. A channel that is closed, by either end, leaves its rooms at once. Rooms are in memory: after a
 * restart each channel that stayed open comes to `onResume`; join its rooms there.
 */

import { ChannelNotFound, type CloseError, GuestError, type PushError } from "./errors.ts";
import { logException } from "./log.ts";
import type { Channel, Process } from "./process.ts";

/** A channel could not join a room. */
export class RoomError extends GuestError {}
export class RoomFull extends RoomError {}
export class TooManyRooms extends RoomError {}
export class TooManyJoined extends RoomError {}

/** A channel in a room, and what the process says of it there, such as a name. */
export interface Member<T> {
  readonly channel: Channel;
  readonly info: T;
}

/** What changed in a room. */
export interface PresenceChange<T> {
  room: string;
  joined: Member<T>[];
  left: Member<T>[];
  /** Members with another info: before and after. */
  updated: [Member<T>, Member<T>][];
}

export interface RoomLimits {
  /** Rooms with members. */
  rooms?: number;
  /** Members of one room. */
  members?: number;
  /** Rooms that one channel is in. */
  joined?: number;
}

const MAX_NAME = 256;

/** The rooms of a process. Make one in its constructor or in `onStart`. */
export class Rooms<T = unknown> {
  readonly #process: Process;
  readonly #onChange: ((change: PresenceChange<T>) => unknown) | undefined;
  readonly #limits: Required<RoomLimits>;
  readonly #rooms = new Map<string, Map<Channel, Member<T>>>();
  readonly #joined = new Map<Channel, Set<string>>();
  readonly #waiting = new Map<string, PresenceChange<T>[]>();
  #held = false;

  /**
   * @param process whose channels join.
   * @param onChange called with each change of a room, in order within the room, once the members are as it says. One
   *   that is made while it runs follows when it returns; members that leave meanwhile are one change.
   */
  constructor(process: Process, onChange?: (change: PresenceChange<T>) => unknown, limits: RoomLimits = {}) {
    this.#process = process;
    this.#onChange = onChange;
    this.#limits = { rooms: 10_000, members: 20_000, joined: 100, ...limits };
    process.watch((channel) => {
      for (const room of [...(this.#joined.get(channel) ?? [])]) this.#remove(room, channel);
      this.#tell();
    });
  }

  /**
   * Add an open channel to a room, or replace its info there.
   *
   * @returns whether it was not in the room before.
   * @throws RoomError it would be over a limit; the subclass says which.
   * @throws ChannelNotFound the channel is closed.
   */
  join(room: string, channel: Channel, info: T): boolean {
    if (room.length < 1 || room.length > MAX_NAME) {
      throw new RangeError(`the name of a room has 1 to ${MAX_NAME} characters, not ${room.length}`);
    }
    if (!this.#process.channels.has(channel)) {
      throw new ChannelNotFound(channel.id, `channel ${channel.id} is closed: it cannot join a room`);
    }
    const members = this.#rooms.get(room);
    const before = members?.get(channel);
    const after = { channel, info };
    if (before !== undefined) {
      if (Object.is(before.info, info)) return false;
      members!.set(channel, after);
      this.#queue({ room, joined: [], left: [], updated: [[before, after]] });
    } else {
      this.#checkLimits(members, channel);
      if (members === undefined) this.#rooms.set(room, new Map([[channel, after]]));
      else members.set(channel, after);
      const joined = this.#joined.get(channel);
      if (joined === undefined) this.#joined.set(channel, new Set([room]));
      else joined.add(room);
      this.#queue({ room, joined: [after], left: [], updated: [] });
    }
    this.#tell();
    return before === undefined;
  }

  /** Remove a channel from a room. Returns whether it was there. */
  leave(room: string, channel: Channel): boolean {
    const was = this.#remove(room, channel);
    this.#tell();
    return was;
  }

  /** Who is in a room, in the order in which they joined. */
  members(room: string): Member<T>[] {
    return [...(this.#rooms.get(room)?.values() ?? [])];
  }

  /** A channel's membership of a room. */
  member(room: string, channel: Channel): Member<T> | undefined {
    return this.#rooms.get(room)?.get(channel);
  }

  /** The rooms that a channel is in. */
  joined(channel: Channel): string[] {
    return [...(this.#joined.get(channel) ?? [])];
  }

  /** The rooms that have members. */
  names(): string[] {
    return [...this.#rooms.keys()];
  }

  /** Send one message to the members of a room except some. Returns who refused it, and why. */
  broadcast(room: string, message: string | Uint8Array, but: Iterable<Channel> = []): Map<Channel, PushError | ChannelNotFound> {
    const leftOut = new Set(but);
    const members = this.#rooms.get(room)?.keys() ?? [];
    return this.#process.broadcast(message, [...members].filter((channel) => !leftOut.has(channel)));
  }

  /** Close channels by one call to the host; they leave their rooms, by one change for each room. */
  close(channels: Iterable<Channel>, code = 1000, reason = ""): Map<Channel, CloseError | ChannelNotFound> {
    const before = this.#held;
    this.#held = true;
    try {
      return this.#process.closeAll(channels, code, reason);
    } finally {
      this.#held = before;
      this.#tell();
    }
  }

  #checkLimits(members: Map<Channel, Member<T>> | undefined, channel: Channel): void {
    const { rooms, members: most, joined } = this.#limits;
    if (members === undefined && this.#rooms.size >= rooms) {
      throw new TooManyRooms(`this process has ${rooms} rooms, which is the limit`);
    }
    if (members !== undefined && members.size >= most) {
      throw new RoomFull(`the room has ${most} members, which is the limit`);
    }
    if ((this.#joined.get(channel)?.size ?? 0) >= joined) {
      throw new TooManyJoined(`the channel is in ${joined} rooms, which is the limit`);
    }
  }

  #remove(room: string, channel: Channel): boolean {
    const members = this.#rooms.get(room);
    const member = members?.get(channel);
    if (members === undefined || member === undefined) return false;
    members.delete(channel);
    if (members.size === 0) this.#rooms.delete(room);
    const joined = this.#joined.get(channel);
    joined?.delete(room);
    if (joined?.size === 0) this.#joined.delete(channel);
    this.#queue({ room, joined: [], left: [member], updated: [] });
    return true;
  }

  #queue(change: PresenceChange<T>): void {
    if (this.#onChange === undefined) return;
    const waiting = this.#waiting.get(change.room) ?? [];
    const last = waiting.at(-1);
    if (change.left.length > 0 && last !== undefined && last.left.length > 0) last.left.push(...change.left);
    else waiting.push(change);
    this.#waiting.set(change.room, waiting);
  }

  /** Calls `onChange`, never from within itself: a broadcast that finds a slow client, whose end is broadcast in
   * turn, would recurse once for each slow client. */
  #tell(): void {
    if (this.#held || this.#onChange === undefined) return;
    this.#held = true;
    try {
      for (let change = this.#take(); change !== undefined; change = this.#take()) {
        try {
          this.#onChange(change);
        } catch (error) {
          logException("onChange", error);
        }
      }
    } finally {
      this.#held = false;
    }
  }

  #take(): PresenceChange<T> | undefined {
    for (const [room, waiting] of this.#waiting) {
      const change = waiting.shift();
      if (waiting.length === 0) this.#waiting.delete(room);
      return change;
    }
    return undefined;
  }
}
