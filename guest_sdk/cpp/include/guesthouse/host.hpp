/// What the host says and is told: results, text, the log, state, requests.
#ifndef GUESTHOUSE_HOST_HPP
#define GUESTHOUSE_HOST_HPP

#include <guesthouse.h>

#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <guesthouse/json.hpp>

namespace guesthouse {

/// Why a push was refused.
enum class PushError {
    channel_not_found = GH_PUSH_CHANNEL_NOT_FOUND,
    channel_full = GH_PUSH_CHANNEL_FULL,
    ping_pong_too_long = GH_PUSH_PING_PONG_TOO_LONG,
    not_utf8 = GH_PUSH_NOT_UTF8,
    too_big = GH_PUSH_TOO_BIG,
    node_unreachable = GH_PUSH_NODE_UNREACHABLE,
    bad_close = GH_PUSH_BAD_CLOSE,
};
/// Why a path was not bound.
enum class BindError {
    bad_path = GH_BIND_BAD_PATH,
    too_many = GH_BIND_TOO_MANY,
    no_subdomain = GH_BIND_NO_SUBDOMAIN,
    bad_subprotocol = GH_BIND_BAD_SUBPROTOCOL,
    no_ui = GH_BIND_NO_UI,
    not_authorised = GH_BIND_NOT_AUTHORISED,
};
/// Why a channel was not closed.
enum class CloseError {
    channel_not_found = GH_CLOSE_CHANNEL_NOT_FOUND,
    bad_code = GH_CLOSE_BAD_CODE,
    reason_too_long = GH_CLOSE_REASON_TOO_LONG,
};
/// Why state was not stored.
enum class StateError { too_big = GH_STATE_TOO_BIG, storage = GH_STATE_STORAGE };

inline const char *name_of(PushError error) {
    static const char *const names[] = {"channel-not-found", "channel-full",     "ping-pong-too-long", "not-utf8",
                                        "too-big",           "node-unreachable", "bad-close"};
    return names[static_cast<int>(error) - 1];
}
inline const char *name_of(BindError error) {
    static const char *const names[] = {"bad-path", "too-many", "no-subdomain", "bad-subprotocol", "no-ui", "not-authorised"};
    return names[static_cast<int>(error) - 1];
}
inline const char *name_of(CloseError error) {
    static const char *const names[] = {"channel-not-found", "bad-code", "reason-too-long"};
    return names[static_cast<int>(error) - 1];
}
inline const char *name_of(StateError error) { return error == StateError::too_big ? "too-big" : "storage"; }

/// How serious a log line is.
enum class Level { error = GH_ERROR, warning = GH_WARNING, info = GH_INFO, debug = GH_DEBUG };

/// Where UTF-8 ends in a text: its size if all of it is.
inline size_t utf8_until(std::string_view text) {
    const auto *at = reinterpret_cast<const unsigned char *>(text.data());
    size_t i = 0, size = text.size();
    while (i < size) {
        uint64_t eight;
        if (size - i >= 8 && (std::memcpy(&eight, at + i, 8), (eight & 0x8080808080808080) == 0)) {
            i += 8;
            continue;
        }
        unsigned char first = at[i];
        size_t more = first < 0x80 ? 0 : first < 0xC2 ? 4 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : 4;
        if (more == 4 || more >= size - i)
            return i;
        if ((first == 0xE0 && at[i + 1] < 0xA0) || (first == 0xED && at[i + 1] > 0x9F) ||
            (first == 0xF0 && at[i + 1] < 0x90) || (first == 0xF4 && at[i + 1] > 0x8F))
            return i;
        for (size_t k = 1; k <= more; k++)
            if ((at[i + k] & 0xC0) != 0x80)
                return i;
        i += more + 1;
    }
    return size;
}
inline bool is_utf8(std::string_view text) { return utf8_until(text) == text.size(); }

/// The same text in UTF-8: a byte that is not becomes `?`. The host ends a process that gives it anything else as text.
inline std::string to_utf8(std::string_view text) {
    std::string whole(text);
    for (size_t bad; (bad = utf8_until(whole)) < whole.size();)
        whole[bad] = '?';
    return whole;
}

namespace detail {

inline gh_string borrowed(std::string_view text) { return {text.data(), text.size()}; }
inline gh_bytes borrowed_bytes(std::string_view bytes) {
    return {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()};
}
inline std::string_view view(gh_string text) { return {text.ptr, text.len}; }
inline std::string_view view(gh_bytes bytes) { return {reinterpret_cast<const char *>(bytes.ptr), bytes.len}; }
inline std::optional<std::string> owned(const gh_option_string &text) {
    return text.some ? std::optional<std::string>(view(text.value)) : std::nullopt;
}
inline gh_lazy_load_blob borrowed_blob(std::string_view bytes, std::string_view mime = {}) {
    gh_lazy_load_blob blob{};
    blob.mime.some = !mime.empty();
    blob.mime.value = borrowed(mime);
    blob.bytes = borrowed_bytes(bytes);
    return blob;
}

/// Frees at its end what the host returned meanwhile.
class Scope {
public:
    Scope() = default;
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;
    ~Scope() { gh_release(mark_); }

private:
    size_t mark_ = gh_mark();
};

} // namespace detail

/// Writes a line to the process's log.
inline void log(Level level, std::string_view text) {
    if (is_utf8(text)) {
        gh_print(static_cast<gh_verbosity>(level), detail::borrowed(text));
    } else {
        std::string whole = to_utf8(text);
        gh_print(static_cast<gh_verbosity>(level), detail::borrowed(whole));
    }
}

/// Whether a call was accepted, and why not. A refusal that nobody looks at is logged, so none is lost silently:
/// `if (auto done = channel.send(text); !done) …`, or `channel.send(text).ignore()`.
template <typename Error> class Result {
public:
    Result(int code, const char *what) : code_(code), what_(what) {}
    Result(Result &&other) noexcept : code_(other.code_), what_(other.what_), seen_(other.seen_) { other.seen_ = true; }
    Result &operator=(Result &&) = delete;
    ~Result() {
        if (code_ != GH_OK && !seen_)
            log(Level::warning, std::string(what_) + " was refused: " + name_of(static_cast<Error>(code_)));
    }

    explicit operator bool() const {
        seen_ = true;
        return code_ == GH_OK;
    }
    /// Only after a refusal.
    Error error() const {
        seen_ = true;
        return static_cast<Error>(code_);
    }
    void ignore() const { seen_ = true; }

private:
    int code_;
    const char *what_;
    mutable bool seen_ = false;
};

/// `process:package:publisher`
struct ProcessId {
    std::string process, package, publisher;

    std::string text() const { return process + ":" + package + ":" + publisher; }
    friend bool operator==(const ProcessId &one, const ProcessId &other) {
        return one.process == other.process && one.package == other.package && one.publisher == other.publisher;
    }
    friend bool operator!=(const ProcessId &one, const ProcessId &other) { return !(one == other); }
};

/// `node@process:package:publisher`
struct Address {
    std::string node;
    ProcessId process;

    std::string text() const { return node + "@" + process.text(); }
    friend bool operator==(const Address &one, const Address &other) {
        return one.node == other.node && one.process == other.process;
    }
    friend bool operator!=(const Address &one, const Address &other) { return !(one == other); }
};

namespace detail {

inline Address owned(const gh_address &address) {
    return {std::string(view(address.node)),
            {std::string(view(address.process.process_name)), std::string(view(address.process.package_name)),
             std::string(view(address.process.publisher_node))}};
}
/// Valid as long as the address.
inline gh_address borrowed(const Address &address) {
    return {borrowed(address.node),
            {borrowed(address.process.process), borrowed(address.process.package), borrowed(address.process.publisher)}};
}

} // namespace detail

/// This process's address.
inline Address our() { return detail::owned(gh_our()); }

/// `name:distro:sys` of this node, such as `kv`.
inline Address module_address(std::string_view name) {
    return {std::string(detail::view(gh_our().node)), {std::string(name), "distro", "sys"}};
}

/// The stored bytes, if any.
inline std::optional<std::string> load_state() {
    detail::Scope scope;
    gh_option_bytes bytes = gh_get_state();
    return bytes.some ? std::optional<std::string>(detail::view(bytes.value)) : std::nullopt;
}
/// Replaces the stored bytes; durable once it returns.
inline Result<StateError> save_state(std::string_view bytes) {
    detail::Scope scope;
    return {gh_set_state(detail::borrowed_bytes(bytes)), "the state"};
}
/// Deletes the stored bytes.
inline Result<StateError> clear_state() {
    detail::Scope scope;
    return {gh_clear_state(), "clearing the state"};
}

/// A request to another process.
struct Request {
    Address target;
    std::string body;
    std::optional<std::string> blob;
    std::optional<std::string> metadata;
    std::string context; // comes back with its response
    bool inherit = false;
};

/// A request of another process. What it views is valid until the handler returns, or receives again.
struct IncomingRequest {
    Address source;
    std::string body;
    std::optional<std::string> metadata;
    bool expects_response = false;
};

/// An answer of another process.
struct IncomingResponse {
    Address source;
    std::string body;
    std::optional<std::string> blob;
    std::optional<std::string> metadata;
    std::string context;
};

/// Why a request failed.
struct SendError {
    gh_send_error_kind kind;
    Address target;
    std::string body;
    std::string context;

    const char *name() const {
        static const char *const names[] = {"offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"};
        return names[kind];
    }
};

namespace detail {

inline gh_request borrowed(const Request &request, std::optional<uint64_t> seconds) {
    gh_request made{};
    made.inherit = request.inherit;
    made.expects_response.some = seconds.has_value();
    made.expects_response.value = seconds.value_or(0);
    made.body = borrowed_bytes(request.body);
    made.metadata.some = request.metadata.has_value();
    if (request.metadata)
        made.metadata.value = borrowed(*request.metadata);
    return made;
}

inline std::optional<std::string> blob_bytes() {
    gh_option_blob blob = gh_get_blob();
    return blob.some ? std::optional<std::string>(view(blob.value.bytes)) : std::nullopt;
}

inline IncomingResponse owned(const gh_incoming_response &answer) {
    return {owned(answer.source), std::string(view(answer.response.body)), blob_bytes(), owned(answer.response.metadata),
            answer.context.some ? std::string(view(answer.context.value)) : std::string()};
}
inline SendError owned(const gh_send_error &error, const gh_option_bytes &context) {
    return {error.kind, owned(error.target), std::string(view(error.request.body)),
            context.some ? std::string(view(context.value)) : std::string()};
}

} // namespace detail

/// Sends a request. With seconds it expects a response, which comes to `on_response`, as a failure to `on_send_error`.
inline void send(const Request &request, std::optional<uint64_t> seconds = std::nullopt) {
    gh_address target = detail::borrowed(request.target);
    gh_request made = detail::borrowed(request, seconds);
    gh_bytes context = detail::borrowed_bytes(request.context);
    gh_lazy_load_blob blob{};
    if (request.blob)
        blob = detail::borrowed_blob(*request.blob);
    gh_send_request(&target, &made, request.context.empty() ? nullptr : &context, request.blob ? &blob : nullptr);
}

/// Sends a request and waits for its response, while other messages queue. The payload of the message that is being
/// handled is gone then.
///
/// @return the response; nothing if it failed, and then `*error` says why.
inline std::optional<IncomingResponse> ask(const Request &request, uint64_t seconds, SendError *error = nullptr) {
    detail::Scope scope;
    gh_address target = detail::borrowed(request.target);
    gh_request made = detail::borrowed(request, seconds);
    gh_lazy_load_blob blob{};
    if (request.blob)
        blob = detail::borrowed_blob(*request.blob);
    const gh_answer *answer = gh_send_and_await_response(&target, &made, request.blob ? &blob : nullptr);
    if (!answer->failed && answer->message.kind == GH_RESPONSE)
        return detail::owned(answer->message.response);
    if (answer->failed && error != nullptr)
        *error = detail::owned(answer->error, gh_option_bytes{});
    return std::nullopt;
}

} // namespace guesthouse

#endif
