/* Does what each request says, by words, so that tests can ask the node what any application could ask it.
 *
 *   ask TARGET BODY                sends BODY (with a blob that says `blob`) and answers the response's body, or `failed N`
 *   ours                           answers the capabilities that it holds
 *   shown                          answers the capabilities that came with this request
 *   show TARGET PARAMS             asks TARGET `shown`, with a capability of its own of these params
 *   spawn NAME GRANTEE PARAMS      starts another of its kind, which may use what this one may of `vfs`, and which
 *                                  grants GRANTEE that; answers 0, or 1 and the error
 *   say TEXT                       answers TEXT */
#include "standard.h"

static address self;
static char own[512];

static text cut(text *rest, char at) {
    size_t i = 0;
    while (i < rest->len && rest->ptr[i] != at)
        i++;
    text head = {rest->ptr, i};
    size_t skip = i < rest->len ? i + 1 : i;
    *rest = (text){rest->ptr + skip, rest->len - skip};
    return head;
}

static process_id parse_id(text whole) {
    process_id made = {.process = cut(&whole, ':'), .package = cut(&whole, ':')};
    made.publisher = whole;
    return made;
}

static address parse(text whole) {
    if (!has(whole, "@"))
        return (address){t("our"), parse_id(whole)};
    address made = {.node = cut(&whole, '@')};
    made.process = parse_id(whole);
    return made;
}

static void reply(text body) { send_response(false, body.ptr, body.len, false, 0, 0, 0, 0, false, false, 0, 0, 0, 0); }

static void reply_number(uint64_t value) {
    writer out = {.len = 0};
    add_number(&out, value);
    reply(written(&out));
}

static void reply_capabilities(capabilities held) {
    writer out = {.len = 0};
    for (size_t i = 0; i < held.len; i++) {
        add(&out, t(i == 0 ? "" : ", "));
        add(&out, held.ptr[i].params);
        add(&out, t(" of "));
        add(&out, held.ptr[i].issuer.process.process);
    }
    reply(written(&out));
}

static void pass_on(const asked *question) {
    answer got;
    send_and_await_response(question, &got);
    if (!got.failed) {
        reply(got.message.response.body);
        return;
    }
    writer out = {.len = 0};
    add(&out, t("failed "));
    add_number(&out, got.error.kind);
    reply(written(&out));
}

static void ask(text rest) {
    asked question = {.target = parse(cut(&rest, ' ')), .request = {.expects_response = {true, 5}, .body = rest}};
    question.blob = (option_blob){true, {{false, {0, 0}}, t("blob")}};
    pass_on(&question);
}

static void show(text rest) {
    asked question = {.target = parse(cut(&rest, ' ')), .request = {.expects_response = {true, 5}}};
    capability own_one = {self, rest};
    question.request.body = t("shown");
    question.request.capabilities = (capabilities){&own_one, 1};
    pass_on(&question);
}

static void start(text rest) {
    text name = cut(&rest, ' ');
    process_id grantee = parse_id(cut(&rest, ' '));
    writer path = {.len = 0};
    add(&path, self.process.package);
    add(&path, t(":"));
    add(&path, self.process.publisher);
    add(&path, t("/pkg/asker.wasm"));
    capability wanted = {{self.node, {t("vfs"), t("distro"), t("sys")}}, t("\"messaging\"")};
#if ERA >= 8
    struct { process_id process; text params; } granted = {grantee, rest};
#else
    process_id granted = grantee;
#endif
    spawned child;
    spawn(true, name.ptr, name.len, path.bytes, path.len, 1, 0, 0, &wanted, 1, &granted, 1, false, &child);
    reply_number(child.failed ? 1u + child.error : 0);
}

static void obey(const request *told) {
    text rest = told->body, word = cut(&rest, ' ');
    if (same(word, t("ask")))
        ask(rest);
    else if (same(word, t("ours"))) {
        capabilities held;
        our_capabilities(&held);
        reply_capabilities(held);
    } else if (same(word, t("shown")))
        reply_capabilities(told->capabilities);
    else if (same(word, t("show")))
        show(rest);
    else if (same(word, t("spawn")))
        start(rest);
    else if (same(word, t("say")))
        reply(rest);
}

__attribute__((export_name("init"))) void init(const char *our, size_t len) {
    if (len >= sizeof own)
        __builtin_trap();
    memcpy(own, our, len);
    self = parse((text){own, len});
    for (;;) {
        size_t mark = heap_used;
        received got;
        receive(&got);
        if (!got.failed && !got.message.is_response)
            obey(&got.message.request);
        heap_used = mark;
    }
}
