#include <guesthouse.hpp>

class Echo : public guesthouse::Process {
    void on_start() override {
        bind_ws_path("/");
        bind_ws_path("/public", false);
    }
    void on_message(guesthouse::Channel &channel, const guesthouse::Message &message) override {
        channel.send(message);
    }
};
GUESTHOUSE_PROCESS(Echo)
