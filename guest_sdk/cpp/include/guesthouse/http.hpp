/// Requests of HTTP clients and what a process answers.
#ifndef GUESTHOUSE_HTTP_HPP
#define GUESTHOUSE_HTTP_HPP

#include <guesthouse/channel.hpp>

namespace guesthouse {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
    std::string method;
    std::string url;
    std::string path; ///< as bound, such as `/rooms/:room`
    Headers headers;
    Params url_params;
    Params query_params;
    std::string body;
    /// The custom claims of the token that came with it, on an authenticated path.
    std::optional<Json> claims;

    /// A header by its name, in any case; nothing if there is none.
    std::optional<std::string> header(std::string_view name) const {
        for (const auto &each : headers)
            if (same(each.first, name))
                return each.second;
        return std::nullopt;
    }
    std::optional<Json> json() const { return Json::parse(body); }

private:
    static bool same(std::string_view one, std::string_view other) {
        auto lower = [](char character) { return character >= 'A' && character <= 'Z' ? character + 32 : character; };
        if (one.size() != other.size())
            return false;
        for (size_t i = 0; i < one.size(); i++)
            if (lower(one[i]) != lower(other[i]))
                return false;
        return true;
    }
};

struct HttpResponse {
    std::string body;
    int status = 200;
    std::string mime = "text/plain; charset=utf-8";
    Headers headers = {};

    static HttpResponse json(const Json &value, int status = 200) { return {value.dump(), status, "application/json", {}}; }
    static HttpResponse text(std::string text, int status = 200) {
        return {std::move(text), status, "text/plain; charset=utf-8", {}};
    }
};

} // namespace guesthouse

#endif
