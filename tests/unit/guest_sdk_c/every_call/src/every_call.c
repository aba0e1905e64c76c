/* Uses every call of the SDK, as the texts it is pushed tell it to, and prints what it sees. */
#include "lines.h"

static char line[1024];
static size_t line_len;

void add(gh_string text) {
    for (size_t i = 0; i < text.len && line_len < sizeof line; i++)
        line[line_len++] = text.ptr[i];
}

void add_text(const char *text) { add(gh_text(text)); }

void add_bytes(gh_bytes bytes) { add((gh_string){(const char *)bytes.ptr, bytes.len}); }

void add_number(uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    add((gh_string){digits + at, sizeof digits - at});
}

static void add_option(gh_option_string option) {
    if (option.some)
        add(option.value);
    else
        add_text("none");
}

static void add_pairs(gh_pairs pairs) {
    for (size_t i = 0; i < pairs.len; i++) {
        add_text(" ");
        add(pairs.ptr[i].name);
        add_text("=");
        add(pairs.ptr[i].value);
    }
}

void add_address(gh_address address) {
    add(address.node);
    add_text("@");
    add(address.process.process_name);
    add_text(":");
    add(address.process.package_name);
    add_text(":");
    add(address.process.publisher_node);
}

void print(void) {
    gh_print(GH_INFO, (gh_string){line, line_len});
    line_len = 0;
}

void print_code(const char *what, int code) {
    add_text(what);
    add_text(" ");
    add_number((uint64_t)code);
    print();
}

gh_bytes bytes_of(const char *text) {
    gh_string string = gh_text(text);
    return (gh_bytes){(const uint8_t *)string.ptr, string.len};
}

const gh_address *friend(void) {
    static gh_address address;
    address.node = gh_text("n.os");
    address.process = (gh_process_id){gh_text("friend"), gh_text("tests"), gh_text("guesthouse.os")};
    return &address;
}

gh_lazy_load_blob a_blob(void) {
    return (gh_lazy_load_blob){{true, gh_text("text/plain")}, bytes_of("the blob")};
}

gh_request a_request(uint64_t seconds) {
    return (gh_request){
        .expects_response = {true, seconds},
        .body = bytes_of("a question"),
        .metadata = {true, gh_text("{\"a\": 1}")},
    };
}

static void add_claims(gh_option_string claims) {
    if (claims.some) {
        add_text(" claims ");
        add(claims.value);
    }
}

static void on_open(const gh_web_socket_open *open) {
    add_text("open ");
    add(open->path);
    add_text(" ");
    add_number(open->channel_id);
    add_text(" ");
    add_option(open->source_socket_addr);
    add_text(" ");
    add_option(open->forwarded_for);
    add_pairs(open->url_params);
    add_pairs(open->query_params);
    add_text(open->resumed ? " resumed" : " new");
    add_claims(gh_channel_claims(open->channel_id));
    print();
}

static void print_capability(const gh_capability *capability) {
    add_text("missing ");
    add(capability->params);
    add_text(" of ");
    add_address(capability->issuer);
    print();
}

void print_missing(void) {
    gh_option_capability missing = gh_missing();
    if (missing.some)
        print_capability(&missing.value);
}

static void state(void) {
    gh_option_bytes before = gh_get_state();
    add_text(before.some ? "had " : "had none");
    if (before.some)
        add_bytes(before.value);
    print();
    print_code("set", gh_set_state(bytes_of("new state")));
    print_missing();
    print_code("clear", gh_clear_state());
}

static void ask(void) {
    gh_request request = a_request(5);
    gh_bytes context = bytes_of("what I asked");
    gh_lazy_load_blob blob = a_blob();
    gh_send_request(friend(), &request, &context, &blob);
    gh_send_request(friend(), &(gh_request){.inherit = true, .body = bytes_of("told")}, NULL, NULL);
}

static void await(void) {
    gh_request request = a_request(7);
    const gh_answer *answer = gh_send_and_await_response(friend(), &request, NULL);
    if (answer->failed) {
        print_code("await failed", answer->error.kind);
        return;
    }
    add_text("answer ");
    add_bytes(answer->message.response.response.body);
    add_text(" of ");
    add_address(answer->message.response.source);
    print();
}

static void bindings(void) {
    print_code("bind ws", gh_bind_ws_path(gh_text("/live"), true));
    print_missing();
    gh_unbind_ws_path(gh_text("/live"));
    print_code("bind http", gh_bind_http_path(gh_text("/page"), true, false));
    print_missing();
    gh_unbind_http_path(gh_text("/page"));
}

static void scratch(void) {
    size_t mark = gh_mark();
    for (int i = 0; i < 1000; i++) {
        if (!gh_get_blob().some)
            gh_print(GH_ERROR, gh_text("the blob is gone"));
        gh_release(mark);
    }
    print_code("scratch", (int)(gh_mark() - mark));
}

static void on_text(uint32_t channel_id, gh_string command) {
    if (gh_same(command, gh_text("state")))
        state();
    else if (gh_same(command, gh_text("ask")))
        ask();
    else if (gh_same(command, gh_text("await")))
        await();
    else if (gh_same(command, gh_text("bindings")))
        bindings();
    else if (gh_same(command, gh_text("scratch")))
        scratch();
    else if (gh_same(command, gh_text("foreign")))
        print_code("push", gh_send_ws_text(999, gh_text("not mine")));
    else if (more(channel_id, command))
        return;
    else if (gh_same(command, gh_text("close")))
        print_code("close", gh_close_channel(channel_id, 4000, gh_text("bye")));
    else
        print_code("text", gh_send_ws_text(channel_id, command));
}

static void on_push(const gh_address *our, const gh_web_socket_push *push) {
    gh_option_string text = gh_get_blob_text();
    if (push->message_type == GH_TEXT && text.some) {
        on_text(push->channel_id, text.value);
        return;
    }
    gh_option_blob blob = gh_get_blob();
    add_text(gh_has_blob() ? "blob " : "no blob ");
    add_option(blob.value.mime);
    print();
    print_code("push", gh_send_ws_push(our->node, push->channel_id, push->message_type, &blob.value));
}

static void on_http(const gh_http_request *http) {
    add(http->method);
    add_text(" ");
    add(http->url);
    add_text(" ");
    add(http->bound_path);
    add_pairs(http->headers);
    add_claims(gh_http_request_claims());
    print();
    gh_pair header = {gh_text("x-made-by"), gh_text("c")};
    gh_lazy_load_blob body = a_blob();
    gh_send_http_response(201, (gh_pairs){&header, 1}, &body);
}

static void on_request(const gh_incoming_request *request) {
    add_address(request->source);
    add_text(" asks ");
    add_bytes(request->request.body);
    add_text(" with ");
    add_option(request->request.metadata);
    add_text(" within ");
    add_number(request->request.expects_response.value);
    print();
    gh_lazy_load_blob blob = a_blob();
    gh_send_response(&(gh_response){.body = bytes_of("an answer"), .metadata = {true, gh_text("7")}}, &blob);
}

static void on_response(const gh_incoming_response *response) {
    add_text("response ");
    add_bytes(response->response.body);
    add_text(" to ");
    add_bytes(response->context.value);
    print();
}

static void on_failure(const gh_send_failure *failure) {
    add_text("failed ");
    add_number(failure->error.kind);
    add_text(" ");
    add_address(failure->error.target);
    add_text(" ");
    add_bytes(failure->error.request.body);
    add_text(" ");
    add_bytes(failure->error.blob.value.bytes);
    add_text(" ");
    add_bytes(failure->context.value);
    print();
    if (failure->error.missing.some)
        print_capability(&failure->error.missing.value);
}

void gh_run(const gh_address *our) {
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed) {
            on_failure(&received->failure);
            continue;
        }
        if (received->message.kind == GH_REQUEST)
            on_request(&received->message.request);
        if (received->message.kind == GH_RESPONSE)
            on_response(&received->message.response);
        if (received->message.kind != GH_HTTP_SERVER)
            continue;
        const gh_http_server_request *event = &received->message.http_server;
        if (event->kind == GH_WEB_SOCKET_OPEN)
            on_open(&event->open);
        if (event->kind == GH_WEB_SOCKET_PUSH)
            on_push(our, &event->push);
        if (event->kind == GH_WEB_SOCKET_CLOSE)
            print_code("closed", (int)event->closed);
        if (event->kind == GH_HTTP)
            on_http(&event->http);
    }
}
