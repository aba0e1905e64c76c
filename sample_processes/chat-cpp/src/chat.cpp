// A chat room, as the sample `chat` is in Python. Every behaviour is here; the page in `ui/` only shows what it is told.
#include <guesthouse.hpp>

#include <algorithm>
#include <ctime>
#include <deque>
#include <set>

using namespace guesthouse;

namespace {

constexpr size_t max_history = 50, max_name = 32, max_text = 2000, max_channels = 10000;

/// The characters of a text, as their bytes.
std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> all;
    for (size_t at = 0, size; at < text.size(); at += size) {
        auto first = static_cast<unsigned char>(text[at]);
        size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
        all.push_back(text.substr(at, size));
    }
    return all;
}

bool is_space(std::string_view character) {
    return character == " " || (character >= "\t" && character <= "\r" && character.size() == 1) || character == "\u00A0" ||
           character == "\u3000" || (character >= "\u2000" && character <= "\u200A");
}

/// Controls, and what is invisible or turns the direction of text.
bool is_invisible(std::string_view character) {
    return (character.size() == 1 && (character[0] < ' ' || character[0] == '\x7F')) ||
           (character >= "\u0080" && character <= "\u009F") || (character >= "\u200B" && character <= "\u200F") ||
           (character >= "\u2028" && character <= "\u202E") || (character >= "\u2060" && character <= "\u206F") ||
           character == "\u00AD" || character == "\uFEFF" || (character >= "\uE000" && character <= "\uF8FF");
}

std::string trimmed(std::string_view text) {
    auto all = characters(text);
    size_t from = 0, to = all.size();
    while (from < to && is_space(all[from]))
        from++;
    while (to > from && is_space(all[to - 1]))
        to--;
    std::string made;
    for (size_t i = from; i < to; i++)
        made += all[i];
    return made;
}

/// With single spaces between its words.
std::string spaced(std::string_view text) {
    std::string whole = trimmed(text), made;
    for (auto character : characters(whole))
        if (!is_space(character))
            made += character;
        else if (made.back() != ' ')
            made += ' ';
    return made;
}

/// For comparing names: letters of ASCII in lower case.
std::string folded(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char character) { return character >= 'A' && character <= 'Z' ? character + 32 : character; });
    return text;
}

} // namespace

/// One room for all channels.
class Chat : public Process {
    std::map<uint32_t, std::string> names_;
    /// Those who took a name or said something: only they are announced.
    std::set<uint32_t> people_;
    std::deque<Json> history_;
    int64_t said_ = 0;

    void on_start() override { bind_ws_path("/"); }

    void on_open(Channel &channel) override {
        if (names_.size() >= max_channels) {
            channel.close(1013, "the chat is full: come back later");
            return;
        }
        std::string name = free_name("guest");
        names_[channel.id] = name;
        Json history = Json::array();
        for (const Json &entry : history_)
            history.push(entry);
        tell(channel, Json::object({{"type", "welcome"}, {"name", name}, {"people", people()}, {"history", history}}));
    }

    void on_message(Channel &channel, const Message &message) override {
        auto value = is_utf8(message.data) ? message.json() : std::nullopt;
        std::string problem = value ? obey(channel, *value) : "Messages are JSON.";
        if (!problem.empty())
            tell(channel, Json::object({{"type", "error"}, {"reason", problem}}));
    }

    void on_close(Channel &channel) override { left({channel.id}); }

    /// Returns what is wrong with the message, for its user; nothing if all is well.
    std::string obey(Channel &channel, const Json &message) {
        if (message.string() != nullptr)
            return say(channel, *message.string());
        if (message["type"].text() == "say" && message["text"].string() != nullptr)
            return say(channel, *message["text"].string());
        if (message["type"].text() == "name" && message["name"].string() != nullptr)
            return rename(channel, *message["name"].string());
        return R"(Send {"type": "say", "text": …} or {"type": "name", "name": …}.)";
    }

    std::string say(Channel &channel, std::string_view given) {
        std::string text = trimmed(given);
        size_t length = characters(text).size();
        if (length == 0)
            return "An empty message says nothing.";
        if (length > max_text)
            return "A message may have " + std::to_string(max_text) + " characters; yours has " + std::to_string(length) + ".";
        join(channel);
        if (!channel.is_open()) // it was too slow for that
            return "";
        Json entry = Json::object({{"id", ++said_}, {"name", names_[channel.id]}, {"text", text}, {"at", std::time(nullptr)}});
        history_.push_back(entry);
        if (history_.size() > max_history)
            history_.pop_front();
        tell_all(entry.set("type", "said"));
        return "";
    }

    std::string rename(Channel &channel, std::string_view given) {
        std::string name = spaced(given);
        auto all = characters(name);
        if (all.empty() || all.size() > max_name || std::any_of(all.begin(), all.end(), is_invisible))
            return "A name has 1 to " + std::to_string(max_name) + " visible characters.";
        std::string before = names_[channel.id];
        if (name != before)
            name = free_name(name, channel.id);
        bool is_new = people_.count(channel.id) == 0;
        names_[channel.id] = name;
        if (name != before || is_new)
            tell(channel, Json::object({{"type", "named"}, {"name", name}}));
        if (!channel.is_open())
            return "";
        join(channel);
        if (!is_new && name != before)
            tell_all(Json::object({{"type", "renamed"}, {"before", before}, {"name", name}, {"people", people()}}));
        return "";
    }

    /// Announces a channel, if it was not yet.
    void join(Channel &channel) {
        if (people_.insert(channel.id).second)
            tell_all(Json::object({{"type", "joined"}, {"name", names_[channel.id]}, {"people", people()}}));
    }

    Json people() const {
        std::vector<std::string> all;
        for (uint32_t id : people_)
            all.push_back(names_.at(id));
        std::sort(all.begin(), all.end(),
                  [](const auto &one, const auto &other) { return folded(one) < folded(other); });
        return Json(Json::Array(all.begin(), all.end()));
    }

    std::string free_name(const std::string &wanted, uint32_t but = 0) const {
        std::set<std::string> taken;
        for (const auto &each : names_)
            if (each.first != but)
                taken.insert(folded(each.second));
        std::string beginning, name = wanted;
        auto all = characters(wanted);
        for (size_t i = 0; i < all.size() && i < max_name - 5; i++)
            beginning += all[i];
        for (int number = 2; taken.count(folded(name)) == 1; number++)
            name = beginning + " " + std::to_string(number);
        return name;
    }

    void tell(Channel &channel, const Json &message) {
        auto told = channel.send_json(message);
        if (!told && told.error() == PushError::channel_full)
            drop({&channel});
    }

    void tell_all(const Json &message) {
        std::vector<Channel *> slow;
        for (const Refused &refused : broadcast_json(message))
            if (refused.error == PushError::channel_full)
                slow.push_back(refused.channel);
        drop(slow);
    }

    /// Closes channels of clients that read too slowly, so that nobody misses a message unknowingly.
    void drop(const std::vector<Channel *> &channels) {
        std::vector<uint32_t> ids;
        for (Channel *channel : channels) {
            channel->close(1013, "you read too slowly: connect again").ignore();
            ids.push_back(channel->id);
        }
        left(ids);
    }

    void left(const std::vector<uint32_t> &ids) {
        std::vector<std::string> gone;
        for (uint32_t id : ids) {
            if (people_.erase(id) == 1)
                gone.push_back(names_[id]);
            names_.erase(id);
        }
        for (const std::string &name : gone)
            tell_all(Json::object({{"type", "left"}, {"name", name}, {"people", people()}}));
    }
};

GUESTHOUSE_PROCESS(Chat)
