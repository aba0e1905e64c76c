/// JSON (RFC 8259): a value, read from and written as text.
#ifndef GUESTHOUSE_JSON_HPP
#define GUESTHOUSE_JSON_HPP

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace guesthouse {

/// A value of JSON. What is not there, or of another type, is null or empty: nothing here fails.
class Json {
public:
    using Array = std::vector<Json>;
    /// In the order in which they were set or read; of two members of a name the last one counts.
    using Object = std::vector<std::pair<std::string, Json>>;

    static constexpr int max_depth = 64;

    Json() = default;
    Json(std::nullptr_t) {}
    Json(bool value) : value_(value) {}
    Json(double value) : value_(value) {}
    Json(const char *text) : value_(std::string(text)) {}
    Json(std::string text) : value_(std::move(text)) {}
    Json(std::string_view text) : value_(std::string(text)) {}
    Json(Array items) : value_(std::move(items)) {}
    Json(Object members) : value_(std::move(members)) {}
    /// An integer, up to 64 bits with a sign.
    template <typename Integer,
              std::enable_if_t<std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>, int> = 0>
    Json(Integer value) : value_(static_cast<int64_t>(value)) {}

    /// `Json::object({{"type", "say"}, {"text", text}})`
    static Json object(std::initializer_list<std::pair<std::string, Json>> members = {}) {
        return Json(Object(members.begin(), members.end()));
    }
    static Json array(std::initializer_list<Json> items = {}) { return Json(Array(items)); }

    /// Reads a text; nothing if it is not JSON, or nested deeper than `max_depth`.
    static std::optional<Json> parse(std::string_view text);
    /// As text, in one line. Infinities and NaN become null; strings must be UTF-8.
    std::string dump() const {
        std::string out;
        write(out);
        return out;
    }

    bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
    bool is_bool() const { return std::holds_alternative<bool>(value_); }
    bool is_integer() const { return std::holds_alternative<int64_t>(value_); }
    bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
    bool is_string() const { return std::holds_alternative<std::string>(value_); }
    bool is_array() const { return std::holds_alternative<Array>(value_); }
    bool is_object() const { return std::holds_alternative<Object>(value_); }

    bool boolean(bool otherwise = false) const { return get<bool>(otherwise); }
    int64_t integer(int64_t otherwise = 0) const { return get<int64_t>(otherwise); }
    double number(double otherwise = 0) const {
        const auto *whole = std::get_if<int64_t>(&value_);
        return whole != nullptr ? static_cast<double>(*whole) : get<double>(otherwise);
    }
    /// The text, if this is one. It is valid as long as this value.
    const std::string *string() const { return std::get_if<std::string>(&value_); }
    std::string text(std::string_view otherwise = {}) const {
        return string() != nullptr ? *string() : std::string(otherwise);
    }
    /// The items; none if this is no array.
    const Array &items() const {
        static const Array none;
        const auto *found = std::get_if<Array>(&value_);
        return found != nullptr ? *found : none;
    }
    /// The members; none if this is no object.
    const Object &members() const {
        static const Object none;
        const auto *found = std::get_if<Object>(&value_);
        return found != nullptr ? *found : none;
    }
    /// A member; null if there is none.
    const Json &operator[](std::string_view name) const {
        static const Json null;
        const Object &all = members();
        for (auto each = all.rbegin(); each != all.rend(); ++each)
            if (each->first == name)
                return each->second;
        return null;
    }
    bool contains(std::string_view name) const {
        for (const auto &member : members())
            if (member.first == name)
                return true;
        return false;
    }
    /// Sets a member. What is no object becomes one.
    Json &set(std::string name, Json value) {
        if (!is_object())
            value_ = Object();
        auto &all = std::get<Object>(value_);
        for (auto &member : all)
            if (member.first == name) {
                member.second = std::move(value);
                return *this;
            }
        all.emplace_back(std::move(name), std::move(value));
        return *this;
    }
    /// Appends an item. What is no array becomes one.
    Json &push(Json value) {
        if (!is_array())
            value_ = Array();
        std::get<Array>(value_).push_back(std::move(value));
        return *this;
    }

private:
    std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_;

    template <typename T> T get(T otherwise) const {
        const T *found = std::get_if<T>(&value_);
        return found != nullptr ? *found : otherwise;
    }

    void write(std::string &out) const;
    static void write_string(std::string &out, std::string_view text);

    friend class JsonReader;
};

inline void Json::write_string(std::string &out, std::string_view text) {
    out += '"';
    for (char character : text) {
        switch (character) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default:
            if (static_cast<unsigned char>(character) < 0x20) {
                char escape[8];
                std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(character));
                out += escape;
            } else {
                out += character;
            }
        }
    }
    out += '"';
}

inline void Json::write(std::string &out) const {
    if (const auto *flag = std::get_if<bool>(&value_)) {
        out += *flag ? "true" : "false";
    } else if (const auto *whole = std::get_if<int64_t>(&value_)) {
        out += std::to_string(*whole);
    } else if (const auto *real = std::get_if<double>(&value_)) {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%.17g", *real);
        out += std::isfinite(*real) ? digits : "null";
    } else if (const auto *text = std::get_if<std::string>(&value_)) {
        write_string(out, *text);
    } else if (const auto *items = std::get_if<Array>(&value_)) {
        out += '[';
        for (size_t i = 0; i < items->size(); i++) {
            out += i == 0 ? "" : ",";
            (*items)[i].write(out);
        }
        out += ']';
    } else if (const auto *members = std::get_if<Object>(&value_)) {
        out += '{';
        for (size_t i = 0; i < members->size(); i++) {
            out += i == 0 ? "" : ",";
            write_string(out, (*members)[i].first);
            out += ':';
            (*members)[i].second.write(out);
        }
        out += '}';
    } else {
        out += "null";
    }
}

/// Reads one text. Every method returns false at the first error.
class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    bool read_whole(Json &value) {
        return read(value, 0) && (skip_space(), at_ == text_.size());
    }

private:
    std::string_view text_;
    size_t at_ = 0;

    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
            at_++;
    }
    bool take(char character) {
        if (at_ >= text_.size() || text_[at_] != character)
            return false;
        at_++;
        return true;
    }
    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word)
            return false;
        at_ += word.size();
        return true;
    }

    bool read(Json &value, int depth) {
        skip_space();
        if (at_ >= text_.size() || depth > Json::max_depth)
            return false;
        switch (text_[at_]) {
        case '{': return read_object(value, depth);
        case '[': return read_array(value, depth);
        case '"': return read_string(value.value_.emplace<std::string>());
        case 't': value.value_ = true; return take("true");
        case 'f': value.value_ = false; return take("false");
        case 'n': return take("null");
        default: return read_number(value);
        }
    }
    bool read_object(Json &value, int depth) {
        auto &members = value.value_.emplace<Json::Object>();
        at_++;
        skip_space();
        if (take('}'))
            return true;
        do {
            skip_space();
            auto &member = members.emplace_back();
            if (!read_string(member.first) || (skip_space(), !take(':')) || !read(member.second, depth + 1))
                return false;
            skip_space();
        } while (take(','));
        return take('}');
    }
    bool read_array(Json &value, int depth) {
        auto &items = value.value_.emplace<Json::Array>();
        at_++;
        skip_space();
        if (take(']'))
            return true;
        do {
            if (!read(items.emplace_back(), depth + 1))
                return false;
            skip_space();
        } while (take(','));
        return take(']');
    }
    bool digits() {
        size_t from = at_;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
            at_++;
        return at_ > from;
    }
    bool read_number(Json &value) {
        size_t from = at_;
        bool whole = true;
        take('-');
        if (!take('0') && !digits())
            return false;
        if (take('.')) {
            whole = false;
            if (!digits())
                return false;
        }
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+'))
                take('-');
            if (!digits())
                return false;
        }
        std::string_view all = text_.substr(from, at_ - from);
        int64_t integer = 0;
        if (whole && std::from_chars(all.data(), all.data() + all.size(), integer).ec == std::errc())
            value.value_ = integer;
        else
            value.value_ = std::strtod(std::string(all).c_str(), nullptr);
        return true;
    }
    bool read_unit(uint32_t &unit) {
        if (text_.size() - at_ < 4)
            return false;
        const char *from = text_.data() + at_;
        at_ += 4;
        return std::from_chars(from, from + 4, unit, 16).ptr == from + 4;
    }
    /// An escape `\u` and what may follow it; half of a pair becomes U+FFFD.
    bool read_code_point(std::string &out) {
        uint32_t code = 0, low = 0;
        if (!read_unit(code))
            return false;
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
            size_t before = at_;
            at_ += 2;
            if (!read_unit(low))
                return false;
            if (low >= 0xDC00 && low < 0xE000)
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            else
                at_ = before;
        }
        append(out, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
        return true;
    }
    static void append(std::string &out, uint32_t code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
            return;
        }
        if (code < 0x800) {
            out += static_cast<char>(0xC0 | code >> 6);
        } else {
            if (code < 0x10000) {
                out += static_cast<char>(0xE0 | code >> 12);
            } else {
                out += static_cast<char>(0xF0 | code >> 18);
                out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
            }
            out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        }
        out += static_cast<char>(0x80 | (code & 0x3F));
    }
    bool read_string(std::string &out) {
        if (!take('"'))
            return false;
        while (at_ < text_.size()) {
            char character = text_[at_++];
            if (character == '"')
                return true;
            if (static_cast<unsigned char>(character) < 0x20)
                return false;
            if (character != '\\') {
                out += character;
                continue;
            }
            if (at_ >= text_.size())
                return false;
            switch (text_[at_++]) {
            case '"': out += '"'; break;
            case '\\': out += '\\'; break;
            case '/': out += '/'; break;
            case 'b': out += '\b'; break;
            case 'f': out += '\f'; break;
            case 'n': out += '\n'; break;
            case 'r': out += '\r'; break;
            case 't': out += '\t'; break;
            case 'u':
                if (!read_code_point(out))
                    return false;
                break;
            default: return false;
            }
        }
        return false;
    }
};

inline std::optional<Json> Json::parse(std::string_view text) {
    Json value;
    if (!JsonReader(text).read_whole(value))
        return std::nullopt;
    return value;
}

} // namespace guesthouse

#endif
