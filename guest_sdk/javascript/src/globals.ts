/** What scripts expect to be there, and the engines lack or cannot drive while `run` loops. Imported first. */

import { Utf8Decoder, Utf8Encoder } from "./encoding.ts";
import { guestConsole } from "./log.ts";
import { GuestPromise, queueJob } from "./promise.ts";
import { guestCrypto, random } from "./random.ts";
import { clearGuestTimer, setGuestInterval, setGuestTimeout } from "./timers.ts";

const scope = globalThis as Record<string, unknown>;

scope["Promise"] = GuestPromise;
scope["queueMicrotask"] = queueJob;
scope["console"] = guestConsole;
scope["setTimeout"] = setGuestTimeout;
scope["setInterval"] = setGuestInterval;
scope["clearTimeout"] = clearGuestTimer;
scope["clearInterval"] = clearGuestTimer;
scope["crypto"] ??= guestCrypto; // StarlingMonkey has its own
Math.random = random;
scope["TextEncoder"] ??= Utf8Encoder;
scope["TextDecoder"] ??= Utf8Decoder;
