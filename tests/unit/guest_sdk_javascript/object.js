import { defineProcess } from "@guesthouse/sdk";

export default defineProcess({
  whenFull: "drop-oldest",
  onMessage(_channel, message) {
    this.broadcast(`${message} to ${this.channels.size}`);
  },
});
