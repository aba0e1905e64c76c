// Who has access: the tokens that are in use, and the keys of the API.

import { button, clean, confirm, day, duration, h, note, number, table } from "./dom.js";

export function showTokens(app, main, signal) {
  const listed = h("div");
  main.append(h("div", { class: "title" }, h("h1", {}, "Tokens"), button("Refresh", () => app.quietly(list()))),
    h("p", { class: "lead" }, "Tokens of users by which channels are open. The node stores no tokens, so those that are not in use are not listed; ",
      h("code", {}, "guesthouse revoke --all"), " ends these, too."),
    h("div", { class: "card flush" }, listed));
  app.quietly(list());

  async function list() {
    const { tokens, count } = await app.ask("listTokens");
    if (signal.aborted) return;
    const some = (names) => h("ul", { class: "plain" }, names.map((name) => h("li", {}, clean(name))));
    listed.replaceChildren(table("Tokens in use", [
      ["Token", (row) => h("code", {}, clean(row.family)), ""], ["Channels", (row) => number(row.channels), "num"], ["In use for", (row) => duration(row.open_seconds), "num"],
      ["Processes", (row) => some(row.processes), ""], ["Clients", (row) => some(row.clients), ""],
      ...(app.may("push") ? [["", (row) => button("Revoke", () => revoke(row), "small danger", `Revoke token ${row.family}`), ""]] : []),
    ], tokens, "No channel was opened with a token."), count > tokens.length ? h("p", { class: "hint" }, `${tokens.length} of ${number(count)} are shown.`) : "");
  }

  async function revoke(row) {
    const text = `${row.channels === 1 ? "Its channel is" : `Its ${number(row.channels)} channels are`} closed, and its user has to log in again.`;
    if (!(await confirm("Revoke this token?", [h("p", {}, h("code", {}, clean(row.family))), h("p", {}, text)], "Revoke", "danger"))) return;
    await app.quietly(app.ask("revokeTokens", { family: row.family }).then(() => note("The token is revoked")));
    app.quietly(list());
  }
}

export function showKeys(app, main, signal) {
  const listed = h("div");
  main.append(h("div", { class: "title" }, h("h1", {}, "API keys")),
    h("p", { class: "lead" }, "Keys of services and of dashboards. ", h("code", {}, "guesthouse api-key create"), " makes one."),
    h("div", { class: "card flush" }, listed));
  app.quietly(list());

  async function list() {
    const { keys } = await app.ask("listKeys");
    if (signal.aborted) return;
    const expires = ({ expires: until }) => (until === null ? "never" : until * 1000 < Date.now() ? `${day(until)} (over)` : day(until));
    listed.replaceChildren(table("API keys", [
      ["Name", (row) => h("b", {}, clean(row.name)), ""], ["Id", (row) => h("code", {}, row.id), ""], ["Role", (row) => row.role, ""],
      ["For", (row) => clean(row.process ?? "all processes"), ""], ["Made", (row) => day(row.created), ""], ["Expires", expires, ""],
      ["", (row) => button("Revoke", () => revoke(row), "small danger", `Revoke the key ${row.name}`), ""],
    ], keys, "There is no key."));
  }

  async function revoke(row) {
    const own = row.name === app.node.hello.name;
    const text = own ? "It is your own: you will be logged out." : "Whoever uses it is refused from now on.";
    if (!(await confirm(`Revoke the key ${row.name}?`, [h("p", {}, text)], "Revoke", "danger"))) return;
    await app.quietly(app.ask("revokeKey", { key: row.id }).then(() => note(`The key ${row.name} is revoked`)));
    if (app.node.hello) app.quietly(list());
  }
}
