/** A chat room, as the sample `chat` is in Python. Every behaviour is here; the page in `ui/` only shows what it is told. */

import { bindWsPath, type Channel, ChannelFull, ChannelNotFound, Process } from "@guesthouse/sdk";
import { type PresenceChange, RoomFull, Rooms } from "@guesthouse/sdk/rooms";

const HISTORY = 50;
const MAX_NAME = 32;
const MAX_TEXT = 2000;
/** The room of all channels, each with its name. */
const EVERYONE = "everyone";
/** The room of those who took a name or said something: only they are announced. */
const PEOPLE = "people";

interface Entry {
  id: number;
  name: string;
  text: string;
  at: number;
}

/** A client sent what the chat does not understand; the text is for its user. */
class BadMessage extends Error {}

/** One room for all channels. */
export default class Chat extends Process {
  readonly #rooms = new Rooms<string>(this, (change) => this.#onPresence(change));
  readonly #history: Entry[] = [];
  #said = 0;

  override onStart(): void {
    bindWsPath("/");
  }

  override onOpen(channel: Channel): void {
    const name = this.#freeName("guest");
    try {
      this.#rooms.join(EVERYONE, channel, name);
    } catch (error) {
      if (!(error instanceof RoomFull)) throw error;
      channel.close(1013, "the chat is full: come back later");
      return;
    }
    this.#tell(channel, { type: "welcome", name, people: this.#people(), history: this.#history });
  }

  override onMessage(channel: Channel, message: string | Uint8Array): void {
    try {
      this.#obey(channel, parse(message));
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      this.#tell(channel, { type: "error", reason: error.message });
    }
  }

  #obey(channel: Channel, message: unknown): void {
    if (typeof message === "string") {
      this.#say(channel, message);
      return;
    }
    const { type, text, name } = (message ?? {}) as Record<string, unknown>;
    if (type === "say" && typeof text === "string") this.#say(channel, text);
    else if (type === "name" && typeof name === "string") this.#rename(channel, name);
    else throw new BadMessage('Send {"type": "say", "text": …} or {"type": "name", "name": …}.');
  }

  #say(channel: Channel, given: string): void {
    const text = given.trim();
    const length = [...text].length;
    if (length === 0) throw new BadMessage("An empty message says nothing.");
    if (length > MAX_TEXT) throw new BadMessage(`A message may have ${MAX_TEXT} characters; yours has ${length}.`);
    const name = this.#nameOf(channel);
    this.#rooms.join(PEOPLE, channel, name);
    const entry = { id: ++this.#said, name, text, at: Math.floor(Date.now() / 1000) };
    this.#history.push(entry);
    if (this.#history.length > HISTORY) this.#history.shift();
    this.#tellAll({ type: "said", ...entry });
  }

  #rename(channel: Channel, given: string): void {
    let name = given.trim().split(/\s+/).join(" ");
    if (name === "" || [...name].length > MAX_NAME || /[\p{C}\p{Zl}\p{Zp}]/u.test(name)) {
      throw new BadMessage(`A name has 1 to ${MAX_NAME} visible characters.`);
    }
    const before = this.#nameOf(channel);
    if (name !== before) {
      name = this.#freeName(name, channel);
      this.#rooms.join(EVERYONE, channel, name);
    }
    if (name !== before || this.#rooms.member(PEOPLE, channel) === undefined) this.#tell(channel, { type: "named", name });
    if (this.channels.has(channel)) this.#rooms.join(PEOPLE, channel, name); // it may have been too slow for that
  }

  #onPresence(change: PresenceChange<string>): void {
    if (change.room !== PEOPLE) return;
    for (const { info } of change.joined) this.#tellAll({ type: "joined", name: info, people: this.#people() });
    for (const [before, after] of change.updated) {
      this.#tellAll({ type: "renamed", before: before.info, name: after.info, people: this.#people() });
    }
    for (const { info } of change.left) this.#tellAll({ type: "left", name: info, people: this.#people() });
  }

  #people(): string[] {
    const names = this.#rooms.members(PEOPLE).map(({ info }) => info);
    return names.sort((one, other) => (one.toLowerCase() < other.toLowerCase() ? -1 : 1));
  }

  #nameOf(channel: Channel): string {
    return this.#rooms.member(EVERYONE, channel)?.info ?? "";
  }

  #freeName(wanted: string, channel?: Channel): string {
    const others = this.#rooms.members(EVERYONE).filter((member) => member.channel !== channel);
    const taken = new Set(others.map(({ info }) => info.toLowerCase()));
    let name = wanted;
    for (let number = 2; taken.has(name.toLowerCase()); number++) {
      name = `${[...wanted].slice(0, MAX_NAME - 5).join("")} ${number}`;
    }
    return name;
  }

  #tell(channel: Channel, message: object): void {
    try {
      channel.sendJson(message);
    } catch (error) {
      if (error instanceof ChannelFull) this.#drop([channel]);
      else if (!(error instanceof ChannelNotFound)) throw error; // its client has left
    }
  }

  #tellAll(message: object): void {
    const refused = this.#rooms.broadcast(EVERYONE, JSON.stringify(message));
    this.#drop([...refused].filter(([, error]) => error instanceof ChannelFull).map(([channel]) => channel));
  }

  /** Close channels of clients that read too slowly, so that nobody misses a message unknowingly. */
  #drop(channels: Channel[]): void {
    if (channels.length > 0) this.#rooms.close(channels, 1013, "you read too slowly: connect again");
  }
}

function parse(message: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof message === "string" ? message : new TextDecoder("utf-8", { fatal: true }).decode(message));
  } catch {
    throw new BadMessage("Messages are JSON.");
  }
}
