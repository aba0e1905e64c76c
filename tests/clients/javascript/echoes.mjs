// Sends numbered messages to an echo and checks that each comes back once, in order: in Node and in pages.

const ESCAPE = "\x10";

/** A message that says its number; some are binary, some begin with the escape, some are long. */
export function numbered(number) {
  const text = `${number} ${"x".repeat((number * 37) % 1500)}`;
  if (number % 3 === 0) return new TextEncoder().encode(text);
  return ESCAPE.repeat(number % 4) + text;
}

export const asText = (data) => (typeof data === "string" ? data : new TextDecoder().decode(data));
const bytes = (data) => (typeof data === "string" ? new TextEncoder().encode(data) : data);

/** Whether what came is what was sent. */
export function same(got, sent, encrypted) {
  return encrypted
    ? got instanceof Uint8Array && asText(got) === asText(bytes(sent))
    : typeof got === typeof sent && asText(got) === asText(sent);
}

/**
 * Echo until so many connections broke or could not be made, or the channel was away so often.
 *
 * @param channel of an echo.
 * @param {{ cuts?: number, away?: number, burst?: number, encrypted?: boolean, halfway?: () => void }} options `halfway` is called then.
 * @returns what happened.
 */
export async function echoThroughCuts(channel, { cuts = 0, away = 0, burst = 20, encrypted = false, halfway = () => {} }) {
  const told = { sent: 0, heard: 0, broken: 0, away: 0, lost: [], errors: {}, queued: 0 };
  channel.addEventListener("state", ({ detail }) => (told.away += detail === "away" ? 1 : 0));
  channel.addEventListener("lost", ({ detail }) => told.lost.push(detail));
  channel.addEventListener("error", ({ detail }) => {
    told.errors[detail.message] = (told.errors[detail.message] ?? 0) + 1;
    if (++told.broken === cuts >> 1) halfway();
  });
  const messages = channel[Symbol.asyncIterator]();
  while (told.broken < cuts || told.away < away) {
    for (let sent = 0; sent < burst; sent++) await channel.send(numbered(told.sent++));
    told.queued = Math.max(told.queued, channel.queuedBytes);
    // Some stay under way, so that cuts hit messages in both directions.
    while (told.heard < told.sent - burst / 2) await hear();
  }
  while (told.heard < told.sent) await hear();
  await channel.flush();
  return { ...told, left: channel.queuedBytes };

  async function hear() {
    const { value, done } = await messages.next();
    if (done) throw new Error("it ended");
    if (!same(value, numbered(told.heard), encrypted))
      throw new Error(`message ${told.heard} is ${asText(value).slice(0, 40)}`);
    told.heard++;
  }
}
