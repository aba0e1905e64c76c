/// The base class of a process.
#ifndef GUESTHOUSE_PROCESS_HPP
#define GUESTHOUSE_PROCESS_HPP

#include <guesthouse/http.hpp>
#include <guesthouse/modules.hpp>

#include <memory>
#include <queue>
#include <unordered_map>

namespace guesthouse {

/// Override what you need, and name the class in `GUESTHOUSE_PROCESS(Class)`. One message is handled after the other.
class Process {
public:
    /// A channel that refused a message to many.
    struct Refused {
        Channel *channel;
        PushError error;
    };
    using Handler = std::function<HttpResponse(const HttpRequest &)>;

    Process() = default;
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    virtual ~Process() = default;

    /// Before the first message: bind paths, load state.
    virtual void on_start() {}
    virtual void on_open(Channel &) {}
    /// The channel was open before the process was restarted. By default it is opened like a new one.
    virtual void on_resume(Channel &channel) { on_open(channel); }
    virtual void on_message(Channel &, const Message &) {}
    /// The client has left. The channel is gone when this returns.
    virtual void on_close(Channel &) {}
    /// The client of a resumable channel has no connection now, after `watch_presence`.
    virtual void on_away(Channel &) {}
    virtual void on_back(Channel &) {}
    /// A request on a path that was bound, and is no route.
    virtual HttpResponse on_http(const HttpRequest &) { return HttpResponse::text("not found\n", 404); }
    /// A request of another process; what is returned is the response.
    virtual std::optional<std::string> on_request(const IncomingRequest &) { return std::nullopt; }
    virtual void on_response(const IncomingResponse &) {}
    virtual void on_send_error(const SendError &error) {
        log(Level::warning, "a request to " + error.target.text() + " failed: " + error.name());
    }
    /// A durable timer's time has come: see `set_timer`.
    virtual void on_timer(const std::string &) {}
    /// A newer version is about to take over: save what it needs.
    virtual void on_handover() {}

    /// Handles messages forever. Called by `GUESTHOUSE_PROCESS`.
    void run() {
        on_start();
        for (;;)
            handle(*gh_receive());
    }

protected:
    /// What happens to messages of channels that open from now on, when they are full.
    ChannelPolicy when_full = ChannelPolicy::refuse;

    // --- channels

    const std::unordered_map<uint32_t, std::unique_ptr<Channel>> &channels() const { return channels_; }
    /// A channel by its id; null if it is not open.
    Channel *channel(uint32_t id) const {
        auto found = channels_.find(id);
        return found == channels_.end() || !found->second->is_open() ? nullptr : found->second.get();
    }

    /// Sends text to all channels, or those of `to`; the payload is copied once. Returns those that refused it.
    std::vector<Refused> broadcast(std::string_view text, const std::vector<uint32_t> *to = nullptr) {
        detail::Scope scope;
        if (!is_utf8(text)) {
            log(Level::error, "a broadcast was not sent: it is not UTF-8");
            return {};
        }
        std::vector<uint32_t> all;
        if (to == nullptr)
            for (const auto &each : channels_)
                if (each.second->is_open())
                    all.push_back(each.first);
        const std::vector<uint32_t> &ids = to == nullptr ? all : *to;
        std::vector<Refused> refused;
        for (size_t from = 0; from < ids.size(); from += most_at_once) {
            size_t count = ids.size() - from < most_at_once ? ids.size() - from : most_at_once;
            gh_refusals some = gh_send_ws_text_many(ids.data() + from, count, detail::borrowed(text));
            for (size_t i = 0; i < some.len; i++)
                if (Channel *found = channel(some.ptr[i].channel_id))
                    refused.push_back({found, static_cast<PushError>(some.ptr[i].error)});
        }
        return refused;
    }
    std::vector<Refused> broadcast_json(const Json &value) { return broadcast(value.dump()); }

    /// Has `on_away` and `on_back` called.
    void watch_presence() {
        Request request;
        request.target = module_address("http-server");
        request.body = R"({"WebSocketPresence":{"wanted":true}})";
        auto answer = ask(request, 10);
        auto value = answer ? Json::parse(answer->body) : std::nullopt;
        if (!value || !value->contains("Ok")) {
            log(Level::warning, "on_away and on_back will not be called: the node does not tell");
            return;
        }
        for (const Json &id : (*value)["Ok"].items())
            away_.push_back(static_cast<uint32_t>(id.integer()));
    }

    // --- paths

    Result<BindError> bind_ws_path(std::string_view path, bool authenticated = true) {
        detail::Scope scope;
        std::string text = to_utf8(path);
        return {gh_bind_ws_path(detail::borrowed(text), authenticated), "binding a path"};
    }
    Result<BindError> bind_ws_path(std::string_view path, const gh_ws_binding &binding) {
        detail::Scope scope;
        std::string text = to_utf8(path);
        return {gh_bind_ws_path_as(detail::borrowed(text), &binding), "binding a path"};
    }
    Result<BindError> bind_http_path(std::string_view path, bool authenticated = true, bool local_only = false) {
        detail::Scope scope;
        std::string text = to_utf8(path);
        return {gh_bind_http_path(detail::borrowed(text), authenticated, local_only), "binding a path"};
    }
    /// Serves the files of the package's `ui` folder.
    Result<BindError> serve_ui(std::string_view path, bool authenticated = true) {
        detail::Scope scope;
        std::string text = to_utf8(path);
        gh_http_binding binding{};
        binding.authenticated = authenticated;
        return {gh_serve_ui(detail::borrowed(text), &binding), "serving the ui"};
    }
    /// Has `handler` answer the requests of a method on a path. HEAD is answered as GET, other methods with 405.
    void route(const std::string &method, const std::string &path, Handler handler, bool authenticated = true) {
        auto found = routes_.find(path);
        if (found == routes_.end()) {
            if (!bind_http_path(path, authenticated)) {
                log(Level::error, "the route " + path + " was not bound");
                return;
            }
            found = routes_.emplace(path, std::map<std::string, Handler, std::less<>>()).first;
        }
        found->second[method] = std::move(handler);
    }

    // --- time

    using Clock = std::chrono::steady_clock;

    /// Calls after that time, between two messages. It is lost when the process ends. Needs the capability
    /// `timer:distro:sys`.
    /// @return its number, for `cancel`.
    uint64_t call_later(std::chrono::milliseconds time, std::function<void()> call) {
        uint64_t number = ++timers_made_;
        calls_.emplace(number, std::move(call));
        Request request;
        request.target = module_address("timer");
        request.body = Json::object({{"SetTimer", time.count() < 0 ? 0 : time.count()}}).dump();
        request.context = timer_context_ + std::to_string(number);
        send(request, static_cast<uint64_t>(time.count() < 0 ? 0 : time.count() / 1000) + 3600);
        return number;
    }
    void cancel(uint64_t number) { calls_.erase(number); }

private:
    static constexpr size_t most_at_once = 65536;

    std::unordered_map<uint32_t, std::unique_ptr<Channel>> channels_;
    std::map<std::string, std::map<std::string, Handler, std::less<>>, std::less<>> routes_;
    std::map<uint64_t, std::function<void()>> calls_;
    std::vector<uint32_t> away_;
    std::vector<uint32_t> closed_;
    uint64_t timers_made_ = 0;
    /// Begins the contexts of this run's timers: those of earlier runs come, too.
    const std::string timer_context_ =
        "guesthouse.hpp timer " + std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + " ";

    void handle(const gh_received &received) {
        if (received.failed) {
            SendError error = detail::owned(received.failure.error, received.failure.context);
            if (!is_timer(error.context))
                on_send_error(error);
            else if (error.kind == GH_TIMEOUT)
                ring(error.context);
            else
                failed_timer(error);
            return;
        }
        switch (received.message.kind) {
        case GH_HTTP_SERVER: handle_event(received.message.http_server); break;
        case GH_REQUEST: handle_request(received.message.request); break;
        case GH_RESPONSE: {
            IncomingResponse response = detail::owned(received.message.response);
            if (is_timer(response.context))
                ring(response.context);
            else
                on_response(response);
            break;
        }
        }
        drop_closed();
    }

    void handle_event(const gh_http_server_request &event) {
        switch (event.kind) {
        case GH_WEB_SOCKET_OPEN: handle_open(event.open); break;
        case GH_WEB_SOCKET_PUSH: handle_push(event.push); break;
        case GH_WEB_SOCKET_CLOSE: handle_close(event.closed); break;
        case GH_HTTP: handle_http(event.http); break;
        }
    }

    void handle_open(const gh_web_socket_open &open) {
        bool resumed = open.resumed;
        uint32_t id = open.channel_id;
        auto made = std::unique_ptr<Channel>(new Channel(open, closed_));
        Channel &opened = *(channels_[id] = std::move(made));
        if (when_full != ChannelPolicy::refuse)
            opened.set_policy(when_full).ignore();
        resumed ? on_resume(opened) : on_open(opened);
        for (size_t i = 0; i < away_.size(); i++)
            if (away_[i] == id) {
                away_.erase(away_.begin() + static_cast<std::ptrdiff_t>(i));
                present(id, false);
                break;
            }
    }

    void handle_push(const gh_web_socket_push &push) {
        Channel *found = channel(push.channel_id);
        if (found == nullptr) // closed by the process while this message was under way
            return;
        if (push.message_type == GH_TEXT) {
            gh_option_string text = gh_get_blob_text();
            on_message(*found, {text.some ? detail::view(text.value) : std::string_view(), true});
        } else if (push.message_type == GH_BINARY) {
            gh_option_blob blob = gh_get_blob();
            on_message(*found, {blob.some ? detail::view(blob.value.bytes) : std::string_view(), false});
        }
    }

    void handle_close(uint32_t id) {
        auto found = channels_.find(id);
        if (found == channels_.end())
            return;
        auto closed = std::move(found->second);
        channels_.erase(found);
        if (closed->open_) {
            closed->open_ = false;
            on_close(*closed);
        }
    }

    /// Channels that the process closed itself: handlers hold references until they return.
    void drop_closed() {
        for (uint32_t id : closed_)
            channels_.erase(id);
        closed_.clear();
    }

    void present(uint32_t id, bool back) {
        Channel *found = channel(id);
        if (found == nullptr || found->away_ == !back)
            return;
        found->away_ = !back;
        back ? on_back(*found) : on_away(*found);
    }

    void handle_http(const gh_http_request &raw) {
        HttpRequest request;
        request.method = detail::view(raw.method);
        request.url = detail::view(raw.url);
        request.path = detail::view(raw.bound_path);
        for (size_t i = 0; i < raw.headers.len; i++)
            request.headers.emplace_back(detail::view(raw.headers.ptr[i].name), detail::view(raw.headers.ptr[i].value));
        request.url_params = Channel::params(raw.url_params);
        request.query_params = Channel::params(raw.query_params);
        request.body = detail::blob_bytes().value_or("");
        gh_option_string claims = gh_http_request_claims();
        request.claims = claims.some ? Json::parse(detail::view(claims.value)) : std::nullopt;
        HttpResponse answer = answered(request);
        std::vector<gh_pair> pairs;
        for (const auto &each : answer.headers)
            pairs.push_back({detail::borrowed(each.first), detail::borrowed(each.second)});
        gh_lazy_load_blob body = detail::borrowed_blob(answer.body, answer.mime);
        gh_send_http_response(static_cast<uint16_t>(answer.status), {pairs.data(), pairs.size()}, &body);
    }

    HttpResponse answered(const HttpRequest &request) {
        auto methods = routes_.find(request.path);
        if (methods == routes_.end())
            return on_http(request);
        auto handler = methods->second.find(request.method == "HEAD" ? "GET" : request.method);
        if (handler != methods->second.end())
            return handler->second(request);
        std::string allowed = methods->second.count("GET") == 1 ? "HEAD, OPTIONS" : "OPTIONS";
        for (const auto &each : methods->second)
            allowed = each.first + ", " + allowed;
        HttpResponse refused = HttpResponse::text("", 204);
        if (request.method != "OPTIONS")
            refused = HttpResponse::text(request.method + " is not allowed here\n", 405);
        refused.headers.emplace_back("Allow", allowed);
        return refused;
    }

    void handle_request(const gh_incoming_request &raw) {
        IncomingRequest request{detail::owned(raw.source), std::string(detail::view(raw.request.body)),
                                detail::owned(raw.request.metadata), raw.request.expects_response.some};
        if (request.source == module_address("kernel") && request.body.rfind("{\"handover\": ", 0) == 0) {
            on_handover();
            return;
        }
        if (request.source == module_address("http-server") && told_presence(request.body))
            return;
        if (request.source == module_address("timer") && told_timer(request.body))
            return;
        std::optional<std::string> body = on_request(request);
        if (!body)
            return;
        gh_response response{};
        response.body = detail::borrowed_bytes(*body);
        gh_send_response(&response, nullptr);
    }

    bool told_presence(const std::string &body) {
        auto value = Json::parse(body);
        for (bool back : {false, true}) {
            const char *name = back ? "WebSocketBack" : "WebSocketAway";
            if (value && value->contains(name)) {
                present(static_cast<uint32_t>((*value)[name].integer()), back);
                return true;
            }
        }
        return false;
    }

    bool told_timer(const std::string &body) {
        auto value = Json::parse(body);
        const std::string *id = value ? (*value)["Timer"]["id"].string() : nullptr;
        if (id == nullptr)
            return false;
        on_timer(*id);
        return true;
    }

    static bool is_timer(const std::string &context) { return context.rfind("guesthouse.hpp timer ", 0) == 0; }

    /// The number in a context; 0 if it is of an earlier run.
    uint64_t number_of(const std::string &context) const {
        bool ours = context.rfind(timer_context_, 0) == 0;
        return ours ? std::strtoull(context.c_str() + timer_context_.size(), nullptr, 10) : 0;
    }

    void ring(const std::string &context) {
        auto found = calls_.find(number_of(context));
        if (found == calls_.end()) // cancelled, or of an earlier run
            return;
        auto call = std::move(found->second);
        calls_.erase(found);
        call();
    }

    void failed_timer(const SendError &error) {
        calls_.erase(number_of(error.context));
        log(Level::error, std::string("a timer was not set: ") + error.name() +
                              (error.kind == GH_NOT_AUTHORISED
                                   ? ": add \"timer:distro:sys\" to request-capabilities in package.toml"
                                   : ""));
    }
};

} // namespace guesthouse

#endif
