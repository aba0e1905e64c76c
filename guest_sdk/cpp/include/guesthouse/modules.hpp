/// The node's modules: values by key (`kv:distro:sys`) and durable timers (`timer:distro:sys`). The manifest has to
/// request the capability of each. Each call waits for the node's answer.
#ifndef GUESTHOUSE_MODULES_HPP
#define GUESTHOUSE_MODULES_HPP

#include <guesthouse/host.hpp>

namespace guesthouse {

/// What a module answered.
struct ModuleAnswer {
    std::string error; ///< its kind, such as `Conflict`, or empty
    Json value;        ///< of an error, what it says more
    std::optional<std::string> blob;

    explicit operator bool() const { return error.empty(); }
};

/// Asks a module of the node and waits for its answer.
inline ModuleAnswer ask_module(std::string_view name, const Json &body, std::optional<std::string> blob = std::nullopt) {
    Request request;
    request.target = module_address(name);
    request.body = body.dump();
    request.blob = std::move(blob);
    SendError failed{};
    auto answer = ask(request, 30, &failed);
    if (!answer) {
        if (failed.kind == GH_NOT_AUTHORISED)
            log(Level::error, "this process may not use " + std::string(name) + ":distro:sys: add \"" + std::string(name) +
                                  ":distro:sys\" to its request-capabilities in package.toml, and have it granted");
        return {failed.name(), {}, std::nullopt};
    }
    auto value = Json::parse(answer->body).value_or(Json());
    if (!value.contains("Err"))
        return {"", std::move(value), std::move(answer->blob)};
    const Json &error = value["Err"];
    if (error.string() != nullptr)
        return {*error.string(), {}, std::move(answer->blob)};
    const auto &members = error.members();
    return {members.empty() ? "unknown" : members[0].first, members.empty() ? Json() : members[0].second,
            std::move(answer->blob)};
}

/// A database of values by key, which all processes of the package share. Keys are UTF-8 of 1 to 1024 bytes.
class KeyValues {
public:
    explicit KeyValues(std::string name) : name_(std::move(name)) {}

    /// The value of a key; nothing if it has none. `error`, if given, is why it could not be read, or empty.
    std::optional<std::string> get(std::string_view key, std::string *error = nullptr) const {
        ModuleAnswer answer = act("Get", key);
        if (error != nullptr)
            *error = answer.error == "KeyNotFound" ? "" : answer.error;
        return answer ? std::move(answer.blob) : std::nullopt;
    }
    /// Stores a value: durable once it returns true.
    bool set(std::string_view key, std::string_view value, std::optional<uint32_t> ttl_seconds = std::nullopt) const {
        Json fields = Json::object({{"key", key}});
        if (ttl_seconds)
            fields.set("ttl", *ttl_seconds);
        return done(call(Json::object({{"Set", fields}}), std::string(value)));
    }
    bool remove(std::string_view key) const { return done(act("Delete", key)); }
    /// Stores a value only if the present one is `expected`; nothing stands for none.
    bool compare_and_set(std::string_view key, std::optional<std::string_view> expected,
                         std::optional<std::string_view> value) const {
        Json fields = Json::object({{"key", key}, {"expected", expected ? bytes(*expected) : Json()}});
        auto blob = value ? std::optional<std::string>(*value) : std::nullopt;
        ModuleAnswer answer = call(Json::object({{"CompareAndSet", fields}}), std::move(blob));
        return answer.error == "Conflict" ? false : done(answer);
    }
    /// Up to `limit` keys in the order of their bytes: those that begin with `prefix`, after `after`.
    std::vector<std::string> keys(std::string_view prefix = {}, std::string_view after = {}, uint32_t limit = 1000) const {
        std::vector<std::string> found;
        Json fields = Json::object({{"prefix", prefix}, {"after", after}, {"limit", limit}});
        ModuleAnswer answer = call(Json::object({{"List", fields}}), std::nullopt);
        done(answer);
        for (const Json &key : answer.value["List"]["keys"].items()) {
            std::string &bytes = found.emplace_back();
            for (const Json &each : key.items())
                bytes += static_cast<char>(each.integer());
        }
        return found;
    }

private:
    std::string name_;

    ModuleAnswer act(const char *action, std::string_view key) const {
        return call(Json::object({{action, Json::object({{"key", key}})}}), std::nullopt);
    }
    ModuleAnswer call(const Json &action, std::optional<std::string> blob) const {
        return ask_module("kv", Json::object({{"db", name_}, {"action", action}}), std::move(blob));
    }
    static bool done(const ModuleAnswer &answer) {
        if (!answer)
            log(Level::error, "kv: " + answer.error);
        return static_cast<bool>(answer);
    }
    static Json bytes(std::string_view value) {
        if (is_utf8(value))
            return Json(value);
        Json all = Json::array();
        for (char each : value)
            all.push(static_cast<unsigned char>(each));
        return all;
    }
};

/// Sets a durable timer, which comes to `Process::on_timer` even if process or node were restarted meanwhile.
inline bool set_timer(std::string_view id, std::chrono::milliseconds time) {
    Json fields = Json::object({{"id", id}, {"milliseconds", time.count()}});
    return static_cast<bool>(ask_module("timer", Json::object({{"Set", fields}})));
}
/// Cancels a durable timer; one that is not set is none.
inline bool cancel_timer(std::string_view id) {
    return static_cast<bool>(ask_module("timer", Json::object({{"Cancel", id}})));
}

} // namespace guesthouse

#endif
