/* A game for everyone who has its page open. Whoever moves sends the move; the referee judges it; everyone is told. */
#include "standard.h"

#define MOST_CHANNELS 64

static uint32_t channels[MOST_CHANNELS];
static size_t channel_count;
static uint32_t moves;
static char own[512];
static address self;

/* ---- addresses ------------------------------------------------------------------------------------- */

static text cut(text *rest, char at) {
    size_t i = 0;
    while (i < rest->len && rest->ptr[i] != at)
        i++;
    text head = {rest->ptr, i};
    size_t skip = i < rest->len ? i + 1 : i;
    *rest = (text){rest->ptr + skip, rest->len - skip};
    return head;
}

static address parse(text whole) {
    address made;
    made.node = cut(&whole, '@');
    made.process.process = cut(&whole, ':');
    made.process.package = cut(&whole, ':');
    made.process.publisher = whole;
    return made;
}

/* The node's HTTP server, by the name that it had in this era; `our` is whatever node this is. */
static address http_server(void) {
    const char *name = ERA >= 10 ? "http-server" : "http_server";
    process_id process = {t(name), t(ERA == 7 ? "sys" : "distro"), t(ERA == 7 ? "nectar" : "sys")};
    return (address){t("our"), process};
}

static address neighbour(const char *name) {
    address made = self;
    made.process.process = t(name);
    return made;
}

static bool is_http_server(address source) {
    address server = http_server();
    return same(source.node, self.node) && same(source.process.process, server.process.process) &&
           same(source.process.package, server.process.package) &&
           same(source.process.publisher, server.process.publisher);
}

/* ---- requests to the HTTP server ------------------------------------------------------------------- */

static option_blob no_blob(void) { return (option_blob){.some = false}; }

static option_blob some_blob(const char *mime, text bytes) {
    return (option_blob){true, {{true, t(mime)}, bytes}};
}

static void bind(const char *body, option_blob content) {
    asked ask = {http_server(), {.expects_response = {true, 5}, .body = t(body)}, content};
    answer got;
    send_and_await_response(&ask, &got);
    if (got.failed || !got.message.is_response || !has(got.message.response.body, "{\"Ok\":")) {
        print("a path was not bound: ", t(body));
        __builtin_trap();
    }
}

static void push(uint32_t channel, text payload) {
    writer body = {.len = 0};
    add(&body, t("{\"WebSocketPush\":{\"channel_id\":"));
    add_number(&body, channel);
    add(&body, t(",\"message_type\":\"Text\"}}"));
    sent send = {http_server(), {.body = written(&body)}, {.some = false}, some_blob("application/json", payload)};
    send_request(&send);
}

static void push_to_all(text payload) {
    for (size_t i = 0; i < channel_count; i++)
        push(channels[i], payload);
}

static void close_channel(uint32_t channel) {
    writer body = {.len = 0};
    add(&body, t("{\"WebSocketClose\":"));
    add_number(&body, channel);
    add(&body, t("}"));
    sent send = {http_server(), {.body = written(&body)}, {.some = false}, no_blob()};
    send_requests(&send, 1);
}

/* Binds a path to a file of the package, which the node's file system hands out. */
static void serve_file(const char *binding, const char *file) {
    writer body = {.len = 0};
    add(&body, t("{\"path\":\"/"));
    add(&body, self.process.package);
    add(&body, t(":"));
    add(&body, self.process.publisher);
    add(&body, t("/pkg/ui/"));
    add(&body, t(file));
    add(&body, t("\",\"action\":\"Read\"}"));
    process_id vfs = {t("vfs"), t(ERA == 7 ? "sys" : "distro"), t(ERA == 7 ? "nectar" : "sys")};
    asked ask = {{t("our"), vfs}, {.expects_response = {true, 5}, .body = written(&body)}, no_blob()};
    answer got;
    send_and_await_response(&ask, &got);
    option_blob content;
    get_blob(&content);
    if (got.failed || !same(got.message.response.body, t("\"Read\"")) || !content.some) {
        print("a file was not read: ", written(&body));
        __builtin_trap();
    }
    bind(binding, some_blob("text/html", content.value.bytes));
}

/* ---- state ----------------------------------------------------------------------------------------- */

static void load(void) {
    option_text state;
    get_state(&state);
    moves = state.some ? number_after(state.value, "moves:") : 0;
}

static void store(void) {
    writer state = {.len = 0};
    add(&state, t("moves:"));
    add_number(&state, moves);
    set_state(state.bytes, state.len);
}

/* ---- the game -------------------------------------------------------------------------------------- */

static void update(text move) {
    moves++;
    store();
    writer out = {.len = 0};
    add(&out, t("{\"kind\":\"game_update\",\"data\":{\"move\":\""));
    add(&out, move);
    add(&out, t("\",\"moves\":"));
    add_number(&out, moves);
    add(&out, t("}}"));
    push_to_all(written(&out));
}

/* What this process finds around it, for whoever asks. */
static void tell_about(uint32_t channel) {
    datetime now;
    wall_clock_now(&now);
    text random;
    get_random_bytes(16, &random);
    capabilities held;
    our_capabilities(&held);
    on_exit_setting setting;
    get_on_exit(&setting);
    writer out = {.len = 0};
    add(&out, t("{\"kind\":\"about\",\"our\":\""));
    add(&out, t(own));
    add(&out, t("\",\"seconds\":"));
    add_number(&out, now.seconds);
    add(&out, t(",\"random\":"));
    add_number(&out, get_random_u64());
    add(&out, t(",\"random_bytes\":"));
    add_number(&out, random.len);
    add(&out, t(",\"clock\":"));
    add_number(&out, monotonic_clock_now());
    add(&out, t(",\"capabilities\":["));
    for (size_t i = 0; i < held.len; i++) {
        add(&out, t(i == 0 ? "[\"" : ",[\""));
        add(&out, held.ptr[i].issuer.process.process);
        add(&out, t("\","));
        add(&out, held.ptr[i].params);
        add(&out, t("]"));
    }
    add(&out, t("]"));
    add(&out, t(",\"on_exit\":"));
    add_number(&out, setting.kind);
    add(&out, t("}"));
    push(channel, written(&out));
}

static void ask(const char *process, text move, uint32_t seconds) {
    sent send = {
        neighbour(process),
        {.expects_response = {true, seconds}, .body = move},
        {true, move},
        some_blob("text/plain", move),
    };
    send_request(&send);
}

/* Starts a second referee under a name of its own, asks it, and says what became of each attempt. */
static void hire(uint32_t channel, const char *name, const char *file) {
    writer path = {.len = 0};
    add(&path, self.process.package);
    add(&path, t(":"));
    add(&path, self.process.publisher);
    add(&path, t("/pkg/"));
    add(&path, t(file));
    spawned child;
    spawn(true, name, t(name).len, path.bytes, path.len, 0, 0, 0, 0, 0, 0, 0, false, &child);
    writer out = {.len = 0};
    add(&out, t("{\"kind\":\"hired\",\"error\":"));
    add_number(&out, child.failed ? 1u + child.error : 0);
    if (!child.failed) {
        asked question = {neighbour(name), {.expects_response = {true, 5}, .body = t("e4")}, no_blob()};
        question.target.process = child.process;
        answer got;
        send_and_await_response(&question, &got);
        add(&out, t(",\"answer\":"));
        add(&out, got.failed ? t("null") : got.message.response.body);
    }
    add(&out, t("}"));
    push(channel, written(&out));
}

static void tell_event(uint32_t channel, const char *kind, text event) {
    writer out = {.len = 0};
    add(&out, t("{\"kind\":\""));
    add(&out, t(kind));
    add(&out, t("\",\"event\":"));
    add(&out, event);
    add(&out, t("}"));
    push(channel, written(&out));
}

static void on_push(uint32_t channel, text event) {
    option_blob got;
    get_blob(&got);
#if ERA >= 20
    option_blob last;
    last_blob(&last);
    if (!has_blob() || !last.some || !same(last.value.bytes, got.value.bytes))
        __builtin_trap();
#endif
    if (!got.some)
        __builtin_trap();
    text move = got.value.bytes;
    if (has(event, "\"message_type\":\"Close\"")) {
        for (size_t i = 0; i < channel_count; i++)
            if (channels[i] != channel)
                tell_event(channels[i], got.value.bytes.len == 3 ? "said bye" : "said nothing", event);
        return;
    }
    if (same(move, t("event")))
        tell_event(channel, "event", event);
    else if (same(move, t("about")))
        tell_about(channel);
    else if (same(move, t("hire"))) {
        hire(channel, "second-referee", "referee.wasm");
        hire(channel, "second-referee", "referee.wasm");
        hire(channel, "third-referee", "nobody.wasm");
    } else if (same(move, t("nobody")))
        ask("nobody", move, 5);
    else if (same(move, t("bye")))
        close_channel(channel);
    else if (same(move, t("crash")))
        __builtin_trap();
    else if (same(move, t("forget"))) {
        moves = 0;
        clear_state();
    } else
        ask("referee", move, 5);
}

static void answer_http(int status, text content) {
    writer head = {.len = 0};
    add(&head, t("{\"status\":"));
    add_number(&head, (uint64_t)status);
    add(&head, t(",\"headers\":{\"Content-Type\":\"application/json\"}}"));
    send_response(false, head.bytes, head.len, false, 0, 0, 0, 0, true, false, 0, 0, content.ptr, content.len);
}

/* Lets a process of the package answer an HTTP request in this one's place. */
static void hand_on(const char *process, text event) {
    sent send = {neighbour(process), {.inherit = true, .body = event}, {.some = false}, no_blob()};
    send_request(&send);
}

/* GET tells how many moves there were; POST makes one, and waits for the referee; PUT is the referee's to answer. */
static void on_http(text event) {
    writer out = {.len = 0};
    if (has(event, "\"method\":\"PUT\"")) {
        hand_on("referee", event);
        return;
    }
    if (has(event, "\"method\":\"POST\"")) {
        option_blob move;
        get_blob(&move);
        asked question = {
            neighbour("referee"), {.expects_response = {true, 5}, .body = move.value.bytes}, move};
        answer got;
        send_and_await_response(&question, &got);
        option_blob back;
        get_blob(&back);
        if (got.failed || !back.some || !same(back.value.bytes, move.value.bytes)) {
            answer_http(502, t("{\"error\":\"no referee\"}"));
            return;
        }
        if (!has(got.message.response.body, "true")) {
            answer_http(400, got.message.response.body);
            return;
        }
        update(move.value.bytes);
        answer_http(201, got.message.response.body);
        return;
    }
    add(&out, t("{\"moves\":"));
    add_number(&out, moves);
    add(&out, t(",\"event\":"));
    add(&out, event);
    add(&out, t("}"));
    answer_http(200, written(&out));
}

static void on_event(text body) {
    if (has(body, "{\"WebSocketOpen\":")) {
        if (channel_count < MOST_CHANNELS)
            channels[channel_count++] = number_after(body, "\"channel_id\":");
        writer out = {.len = 0};
        add(&out, t("{\"kind\":\"welcome\",\"moves\":"));
        add_number(&out, moves);
        add(&out, t(",\"event\":"));
        add(&out, body);
        add(&out, t("}"));
        push(number_after(body, "\"channel_id\":"), written(&out));
    } else if (has(body, "{\"WebSocketClose\":")) {
        uint32_t gone = number_after(body, "{\"WebSocketClose\":");
        for (size_t i = 0; i < channel_count; i++)
            if (channels[i] == gone)
                channels[i--] = channels[--channel_count];
        for (size_t i = 0; i < channel_count; i++)
            tell_event(channels[i], "left", body);
    } else if (has(body, "{\"WebSocketPush\":")) {
        on_push(number_after(body, "\"channel_id\":"), body);
    } else if (has(body, "{\"Http\":")) {
        on_http(body);
    }
}

static void on_response(const received *got) {
    if (!got->message.context.some)
        return; /* of a push: it was not delivered, so its channel is gone */
    if (has(got->message.response.body, "true"))
        update(got->message.context.value);
    else
        push_to_all(t("{\"kind\":\"refused\"}"));
}

static void on_failure(const received *got) {
    writer out = {.len = 0};
    add(&out, t("{\"kind\":\"failure\",\"timeout\":"));
    add_number(&out, got->error.kind);
    add(&out, t(",\"context\":\""));
    add(&out, got->context.value);
    add(&out, t("\",\"sent\":\""));
    add(&out, got->error.message.request.body);
    add(&out, t("\",\"blob\":\""));
    add(&out, got->error.blob.value.bytes);
#if ERA >= 10
    add(&out, t("\",\"target\":\""));
    add(&out, got->error.target.process.process);
#endif
    add(&out, t("\"}"));
    push_to_all(written(&out));
}

__attribute__((export_name("init"))) void init(const char *our_name, size_t len) {
    if (len >= sizeof own)
        __builtin_trap();
    memcpy(own, our_name, len);
    self = parse((text){own, len});
#if ERA >= 10
    address told;
    our(&told);
    if (!same(told.node, self.node) || !same(told.process.publisher, self.process.publisher))
        __builtin_trap();
#endif
#if ERA >= 8
    drop_capabilities(0, 0);
#endif
    save_capabilities(0, 0);
    print("begin as ", t(own));
    load();
    set_on_exit(1, 0, 0);
    bind("{\"WebSocketBind\":{\"path\":\"/\",\"authenticated\":true,\"encrypted\":false,\"extension\":false}}",
         no_blob());
    bind("{\"WebSocketBind\":{\"path\":\"/tables/:table\",\"authenticated\":true,\"extension\":false,"
         "\"subprotocols\":[\"v1\"]}}",
         no_blob());
    bind("{\"Bind\":{\"path\":\"/moves/:player\",\"authenticated\":true,\"local_only\":false,\"cache\":false}}",
         no_blob());
    bind("{\"Bind\":{\"path\":\"/rules\",\"authenticated\":true,\"local_only\":false,\"cache\":true}}",
         some_blob("text/html", t("<h1>One move each</h1>")));
    serve_file("{\"Bind\":{\"path\":\"/page\",\"authenticated\":true,\"local_only\":false,\"cache\":true}}",
               "index.html");
    size_t mark = heap_used;
    for (;;) {
        heap_used = mark;
        received got;
        receive(&got);
        if (got.failed)
            on_failure(&got);
        else if (got.message.is_response)
            on_response(&got);
        else if (is_http_server(got.source))
            on_event(got.message.request.body);
        else
            print("a stranger wrote: ", got.message.request.body);
    }
}
