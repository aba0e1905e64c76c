// Does what a message says; the tests know the answers.
#include <guesthouse.hpp>

#include <cstdio>
#include <iostream>
#include <random>

extern "C" int counted(int number);

using namespace guesthouse;

static std::string constructed = "before main";

class App : public Process {
    std::string resumed_;
    uint32_t closed_ = 0;
    Channel *timed_ = nullptr;

    void on_start() override {
        bind_ws_path("/ws/:room", false);
        route("GET", "/rooms/:room", [](const HttpRequest &request) {
            return HttpResponse::json(Json::object({{"room", request.url_params.at("room")},
                                                    {"query", request.query_params.count("q") == 1 ? request.query_params.at("q") : ""},
                                                    {"agent", request.header("USER-AGENT").value_or("")}}));
        }, false);
        route("POST", "/rooms/:room", [](const HttpRequest &request) {
            auto value = request.json();
            return value ? HttpResponse::json((*value)["a"], 201) : HttpResponse::text("no JSON\n", 400);
        }, false);
        bind_http_path("/raw", false);
    }

    void on_resume(Channel &channel) override { channel.send("resumed"); }

    HttpResponse on_http(const HttpRequest &request) override {
        return {request.body, 200, "application/octet-stream", {{"X-Method", request.method}}};
    }

    void on_close(Channel &channel) override { closed_ = channel.id; }

    void on_timer(const std::string &id) override {
        if (timed_ != nullptr)
            timed_->send("durable " + id);
    }

    std::optional<std::string> on_request(const IncomingRequest &request) override { return "asked: " + request.body; }

    void on_message(Channel &channel, const Message &message) override {
        if (!message.is_text) {
            channel.send(message);
            return;
        }
        std::string_view text = message.data;
        if (text == "json") {
            channel.send_json(json());
        } else if (text.substr(0, 6) == "parse ") {
            auto value = Json::parse(text.substr(6));
            channel.send(value ? value->dump() : "no JSON");
        } else if (text == "state") {
            int64_t kept = 0;
            if (auto bytes = load_state())
                kept = std::atoll(bytes->c_str());
            save_state(std::to_string(kept + 1));
            channel.send(std::to_string(kept));
        } else if (text == "kv") {
            channel.send_json(kv());
        } else if (text == "timer") {
            uint64_t never = call_later(std::chrono::milliseconds(0), [&channel] { channel.send("cancelled"); });
            cancel(never);
            call_later(std::chrono::milliseconds(1), [this, id = channel.id] {
                if (Channel *found = this->channel(id))
                    found->send("due");
            });
        } else if (text == "durable") {
            timed_ = &channel;
            set_timer("é", std::chrono::milliseconds(1));
        } else if (text == "random") {
            std::random_device device;
            channel.send(std::to_string(device()) + " " + std::to_string(std::chrono::system_clock::now().time_since_epoch().count()));
        } else if (text == "print") {
            std::printf("printed %d\n", counted(41));
            std::cerr << "to the log\xff" << std::endl;
            channel.send(constructed);
        } else if (text == "not utf-8") {
            auto sent = channel.send("\xff");
            channel.send(name_of(sent.error()));
            log(Level::info, "bad \xed\xa0\x80 byte");
        } else if (text == "many") {
            std::vector<std::string> kept;
            for (int number = 0; number < 1000; number++)
                kept.push_back(load_state().value_or("none") + std::string(1000, 'x'));
            channel.send(std::to_string(kept.size()));
        } else if (text == "unseen") {
            { Result<PushError> refused{GH_PUSH_CHANNEL_FULL, "text to a channel"}; }
            channel.send("logged");
        } else if (text == "all") {
            broadcast("to all");
        } else if (text == "close") {
            channel.close(4001, "as you wish");
            channel.close(4002, "twice").ignore();
        } else if (text == "closed") {
            channel.send(std::to_string(closed_) + " " + std::to_string(channels().size()));
        } else if (text == "claims") {
            auto claims = channel.claims();
            channel.send(claims ? (*claims)["name"].text() : "none");
        } else if (text == "ask") {
            Request request;
            request.target = {our().node, {"none", "test", "os"}};
            SendError error{};
            auto answer = ask(request, 5, &error);
            channel.send(answer ? "answered" : error.name());
        } else if (text == "abort") {
            std::abort();
        } else if (text == "overflow") {
            channel.send(std::to_string(deep(0)));
        } else {
            channel.send(std::string(channel.path) + " " + (channel.url_params.count("room") == 1 ? channel.url_params.at("room") : "") + ": " +
                         std::string(text));
        }
    }

    Json json() {
        Json value = Json::object({{"text", "\"\\\n\x01é😀"}, {"whole", -9007199254740993}, {"real", 0.5}, {"yes", true}});
        value.set("items", Json::array({1, nullptr, "two"})).set("text again", value["text"]).set("yes", false);
        return value;
    }

    Json kv() {
        KeyValues values("values");
        Json told = Json::array();
        std::string error = "?";
        told.push(values.set("a", std::string("1\0\xff", 3))).push(values.get("a") == std::string("1\0\xff", 3));
        told.push(!values.get("b", &error).has_value()).push(error);
        told.push(values.compare_and_set("a", std::string_view("1\0\xff", 3), "2"));
        told.push(values.compare_and_set("a", "1", "3")).push(values.get("a").value_or("none"));
        values.set("b", "");
        for (const std::string &key : values.keys("", "a"))
            told.push(key);
        told.push(values.remove("a")).push(!values.get("a").has_value());
        return told;
    }

    __attribute__((noinline)) int deep(int depth) {
        volatile char room[1024];
        room[depth % 1024] = 1;
        return depth > 100000000 ? 0 : deep(depth + 1) + room[0];
    }
};

GUESTHOUSE_PROCESS(App)
