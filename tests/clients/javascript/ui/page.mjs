import * as client from "/guesthouse.js";
import * as echoes from "./echoes.mjs";

Object.assign(window, client, echoes, { loaded: true });
