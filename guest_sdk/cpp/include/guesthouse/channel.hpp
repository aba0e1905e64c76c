/// Channels: the WebSockets of a process.
#ifndef GUESTHOUSE_CHANNEL_HPP
#define GUESTHOUSE_CHANNEL_HPP

#include <guesthouse/host.hpp>

#include <cstdint>
#include <functional>

namespace guesthouse {

using Params = std::map<std::string, std::string, std::less<>>;

/// What becomes of a push to a channel whose client reads too slowly.
enum class ChannelPolicy {
    refuse = GH_POLICY_REFUSE,           ///< it is refused: PushError::channel_full
    wait = GH_POLICY_WAIT,               ///< `send` waits for room
    drop_oldest = GH_POLICY_DROP_OLDEST, ///< the oldest messages are dropped
    close = GH_POLICY_CLOSE,             ///< the channel is closed with 1013
};

/// A message of a client. It is valid until the handler returns, or the process waits for a response.
struct Message {
    std::string_view data; ///< UTF-8 if it is text
    bool is_text;

    /// The value that it says in JSON, if it does.
    std::optional<Json> json() const { return Json::parse(data); }
};

class Process;

/// One client. The process owns it: it is there until the handler that closes it, or `on_close`, returns.
class Channel {
public:
    const uint32_t id;
    const std::string path; ///< as bound, such as `/rooms/:room`
    const Params url_params;
    const Params query_params;
    const std::string subprotocol; ///< the selected one, or empty

    Channel(const Channel &) = delete;
    Channel &operator=(const Channel &) = delete;

    /// Whether it is open, as far as the process was told.
    bool is_open() const { return open_; }
    /// Whether its client, of a resumable channel, is away: see `Process::watch_presence`.
    bool is_away() const { return away_; }

    /// The custom claims of the token that it was opened with: what the service that issued it says of its bearer. None
    /// once it is closed.
    std::optional<Json> claims() const {
        detail::Scope scope;
        gh_option_string text = gh_channel_claims(id);
        return text.some ? Json::parse(detail::view(text.value)) : std::nullopt;
    }

    /// Sends text, which must be UTF-8.
    Result<PushError> send(std::string_view text) {
        detail::Scope scope;
        if (!is_utf8(text))
            return {GH_PUSH_NOT_UTF8, "text to a channel"};
        if (policy_ != ChannelPolicy::wait)
            return {gh_send_ws_text(id, detail::borrowed(text)), "text to a channel"};
        gh_lazy_load_blob blob = detail::borrowed_blob(text);
        return {gh_send_ws_push_waiting(id, GH_TEXT, &blob), "text to a channel"};
    }
    /// Sends a binary message.
    Result<PushError> send_bytes(std::string_view bytes) {
        detail::Scope scope;
        gh_lazy_load_blob blob = detail::borrowed_blob(bytes);
        return {policy_ == ChannelPolicy::wait ? gh_send_ws_push_waiting(id, GH_BINARY, &blob)
                                               : gh_send_ws_push(gh_our().node, id, GH_BINARY, &blob),
                "bytes to a channel"};
    }
    /// Sends a message of the same type and bytes.
    Result<PushError> send(const Message &message) {
        return message.is_text ? send(message.data) : send_bytes(message.data);
    }
    Result<PushError> send_json(const Json &value) { return send(value.dump()); }

    /// Closes it. `on_close` is not called for it.
    Result<CloseError> close(uint16_t code = 1000, std::string_view reason = {}) {
        detail::Scope scope;
        std::string text = to_utf8(reason);
        int refused = gh_close_channel(id, code, detail::borrowed(text));
        if (open_ && (refused == GH_OK || refused == GH_CLOSE_CHANNEL_NOT_FOUND)) {
            open_ = false;
            closed_.push_back(id);
        }
        return {refused, "closing a channel"};
    }

    Result<PushError> set_policy(ChannelPolicy policy) {
        detail::Scope scope;
        int refused = gh_set_channel_policy(id, static_cast<gh_channel_policy>(policy));
        if (refused == GH_OK)
            policy_ = policy;
        return {refused, "the policy of a channel"};
    }

private:
    friend class Process;

    Channel(const gh_web_socket_open &open, std::vector<uint32_t> &closed)
        : id(open.channel_id), path(detail::view(open.path)), url_params(params(open.url_params)),
          query_params(params(open.query_params)), subprotocol(detail::owned(open.subprotocol).value_or("")),
          closed_(closed) {}

    static Params params(const gh_pairs &pairs) {
        Params all;
        for (size_t i = 0; i < pairs.len; i++)
            all.emplace(detail::view(pairs.ptr[i].name), detail::view(pairs.ptr[i].value));
        return all;
    }

    std::vector<uint32_t> &closed_; // where those are noted that the process closes
    bool open_ = true;
    bool away_ = false;
    ChannelPolicy policy_ = ChannelPolicy::refuse;
};

} // namespace guesthouse

#endif
