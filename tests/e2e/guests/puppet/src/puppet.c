/* A process that does what each request says: a word, and what that word takes. What it learns by the way
 * (responses with their contexts, failures, notes) goes into a journal that `journal` answers.
 *
 *   say TEXT                        answers TEXT
 *   ignore                          answers nothing
 *   blob                            answers the request's blob, as body
 *   note TEXT                       a line in the journal
 *   journal                         answers the journal
 *   ask TARGET SECONDS BODY         sends, waits, and answers what came: the body, or `failed KIND BODY`
 *   carry TARGET SECONDS BLOB BODY  the same with a blob
 *   tell TARGET BODY                sends a request that wants no response
 *   post TARGET SECONDS CONTEXT BODY
 *   forward TARGET BODY             hands the request being handled on (inherit, no response expected)
 *   burst TARGET COUNT SIZE SECONDS sends COUNT requests `ignore` with blobs of SIZE bytes (SECONDS 0: no response)
 *   count TARGET COUNT BODY         sends COUNT requests: BODY, and the number of each
 *   failures                        answers how many failures came
 *   set TEXT, get                   state
 *   leave TARGET BODY               sets on-exit to that request
 *   trap, return                    the end */
#include "puppet.h"

static char journal[16384];
static size_t journal_used;
static uint32_t failures;

static void write_down(gh_string text) {
    if (journal_used + text.len + 1 > sizeof journal)
        return;
    __builtin_memcpy(journal + journal_used, text.ptr, text.len);
    journal_used += text.len;
}

static void line_of(const char *what, gh_string context, gh_string body) {
    write_down(gh_text(what));
    write_down(gh_text(" "));
    write_down(context);
    write_down(gh_text(" "));
    write_down(body);
    write_down(gh_text("\n"));
}

gh_string next_word(gh_string *text) { return gh_cut(text, ' '); }

uint32_t number(gh_string digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits.len; i++)
        value = 10 * value + (uint32_t)(digits.ptr[i] - '0');
    return value;
}

gh_bytes bytes_of(gh_string text) { return (gh_bytes){(const uint8_t *)text.ptr, text.len}; }

gh_string text_of(gh_bytes bytes) { return (gh_string){(const char *)bytes.ptr, bytes.len}; }

void answer(gh_string text) {
    gh_response response = {.body = bytes_of(text)};
    gh_send_response(&response, NULL);
}

void answer_number(uint32_t value) {
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    answer((gh_string){digits + at, sizeof digits - at});
}

static const char *const KINDS[] = {"offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"};

static void failed(const gh_send_error *error) {
    note_missing(error->missing);
    static char text[1024];
    gh_string kind = gh_text(KINDS[error->kind]), body = text_of(error->request.body);
    size_t used = 0, room = sizeof text;
    gh_string parts[] = {gh_text("failed "), kind, gh_text(" "), body};
    for (size_t i = 0; i < 4; i++) {
        size_t len = parts[i].len < room - used ? parts[i].len : room - used;
        __builtin_memcpy(text + used, parts[i].ptr, len);
        used += len;
    }
    answer((gh_string){text, used});
}

/* The answer's blob travels on. */
void ask_and_answer(const gh_address *target, const gh_request *request, const gh_lazy_load_blob *blob) {
    const gh_answer *came = gh_send_and_await_response(target, request, blob);
    if (came->failed) {
        failed(&came->error);
        return;
    }
    gh_option_blob got = gh_get_blob();
    note_handed(came->message.response.response.capabilities);
    gh_response response = {.body = came->message.response.response.body};
    gh_send_response(&response, got.some ? &got.value : NULL);
}

static void ask(gh_string rest, bool with_blob) {
    gh_address target = gh_parse_address(next_word(&rest));
    gh_request request = {.expects_response = {true, number(next_word(&rest))}};
    gh_lazy_load_blob blob = {.mime = {.some = false}};
    if (with_blob)
        blob.bytes = bytes_of(next_word(&rest));
    request.body = bytes_of(rest);
    ask_and_answer(&target, &request, with_blob ? &blob : NULL);
}

static void post(gh_string rest) {
    gh_address target = gh_parse_address(next_word(&rest));
    gh_request request = {.expects_response = {true, number(next_word(&rest))}};
    gh_bytes context = bytes_of(next_word(&rest));
    request.body = bytes_of(rest);
    gh_send_request(&target, &request, &context, NULL);
    answer(gh_text("posted"));
}

static void burst(gh_string rest) {
    static uint8_t noise[65536];
    gh_address target = gh_parse_address(next_word(&rest));
    uint32_t count = number(next_word(&rest));
    gh_lazy_load_blob blob = {{.some = false}, {noise, number(next_word(&rest))}};
    uint32_t seconds = number(rest);
    gh_request request = {.expects_response = {seconds != 0, seconds}, .body = bytes_of(gh_text("ignore"))};
    while (count--)
        gh_send_request(&target, &request, NULL, blob.bytes.len ? &blob : NULL);
    answer(gh_text("sent"));
}

static void count(gh_string rest) {
    gh_address target = gh_parse_address(next_word(&rest));
    uint32_t end = number(next_word(&rest));
    char body[128];
    for (uint32_t i = 0; i < end; i++) {
        size_t len = rest.len < sizeof body - 10 ? rest.len : sizeof body - 10;
        __builtin_memcpy(body, rest.ptr, len);
        for (uint32_t unit = 1000; unit; unit /= 10)
            body[len++] = (char)('0' + i / unit % 10);
        gh_request request = {.body = {(const uint8_t *)body, len}};
        gh_send_request(&target, &request, NULL, NULL);
    }
    answer(gh_text("sent"));
}

static void send(gh_string rest, bool inherit) {
    gh_address target = gh_parse_address(next_word(&rest));
    gh_request request = {.inherit = inherit, .body = bytes_of(rest)};
    gh_send_request(&target, &request, NULL, NULL);
}

static void set(gh_string text) {
    int code = gh_set_state(bytes_of(text));
    note_missing(gh_missing());
    answer_number((uint32_t)code);
}

static void get(void) {
    gh_option_bytes state = gh_get_state();
    answer(state.some ? text_of(state.value) : gh_text("(none)"));
}

static void blob(void) {
    gh_option_string text = gh_get_blob_text();
    answer(text.some ? text.value : gh_text("(none)"));
}

/* Returns whether the process goes on. */
static bool obey(gh_string rest) {
    gh_string word = next_word(&rest);
    if (gh_same(word, gh_text("say")))
        answer(rest);
    else if (gh_same(word, gh_text("note")))
        line_of("note", rest, gh_text(""));
    else if (gh_same(word, gh_text("journal")))
        answer((gh_string){journal, journal_used});
    else if (gh_same(word, gh_text("ask")))
        ask(rest, false);
    else if (gh_same(word, gh_text("carry")))
        ask(rest, true);
    else if (gh_same(word, gh_text("tell")))
        send(rest, false);
    else if (gh_same(word, gh_text("forward")))
        send(rest, true);
    else if (gh_same(word, gh_text("post")))
        post(rest);
    else if (gh_same(word, gh_text("burst")))
        burst(rest);
    else if (gh_same(word, gh_text("count")))
        count(rest);
    else if (gh_same(word, gh_text("failures")))
        answer_number(failures);
    else if (gh_same(word, gh_text("set")))
        set(rest);
    else if (gh_same(word, gh_text("get")))
        get();
    else if (gh_same(word, gh_text("blob")))
        blob();
    else if (gh_same(word, gh_text("trap")))
        __builtin_trap();
    else if (gh_same(word, gh_text("return")))
        return false;
    else if (!obey_more(word, rest) && !gh_same(word, gh_text("ignore")))
        line_of("strange", word, rest);
    return true;
}

void gh_run(const gh_address *our) {
    (void)our;
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed) {
            failures++;
            const gh_send_failure *failure = &received->failure;
            note_missing(failure->error.missing);
            line_of(KINDS[failure->error.kind], text_of(failure->context.value),
                    text_of(failure->error.request.body));
        } else if (received->message.kind == GH_RESPONSE) {
            const gh_incoming_response *response = &received->message.response;
            line_of("response", text_of(response->context.value), text_of(response->response.body));
        } else if (received->message.kind == GH_REQUEST) {
            if (received->message.request.request.capabilities.len)
                note_handed(received->message.request.request.capabilities);
            if (!obey(text_of(received->message.request.request.body)))
                return;
        }
    }
}
