#include "tests/support/log_line.h"

#include <charconv>
#include <cstddef>

#include "iolib/json/json.h"

namespace sluice::test {
namespace {

std::string value_of(const LogFields& fields, std::string_view key) {
  const auto at = fields.find(key);
  return at == fields.end() ? std::string() : at->second;
}

std::uint64_t number_of(const LogFields& fields, std::string_view key) {
  const std::string text = value_of(fields, key);
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// Takes one word from the front; a quoted part keeps its spaces and loses its quotes.
std::string take_word(std::string_view& line) {
  std::string word;
  bool quoted = false;
  std::size_t at = 0;
  for (; at < line.size() && (quoted || line[at] != ' '); ++at) {
    if (line[at] == '"') {
      quoted = !quoted;
    } else {
      word += line[at];
    }
  }
  line.remove_prefix(at);
  return word;
}

}  // namespace

LogFields parse_text_line(std::string_view line) {
  LogFields fields;
  while (!line.empty()) {
    if (line.front() == ' ') {
      line.remove_prefix(1);
      continue;
    }
    const std::string word = take_word(line);
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) fields[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return fields;
}

std::optional<LogFields> parse_json_line(std::string_view line) {
  boost::json::error_code error;
  const boost::json::value value =
      boost::json::parse(boost::json::string_view(line.data(), line.size()), error);
  if (error || !value.is_object()) return std::nullopt;
  LogFields fields;
  for (const auto& member : value.get_object()) {
    const boost::json::value& content = member.value();
    fields[std::string(member.key())] =
        content.is_string() ? std::string(content.get_string()) : boost::json::serialize(content);
  }
  return fields;
}

std::vector<ConnectionEnd> connection_ends(std::string_view log) {
  std::vector<ConnectionEnd> ends;
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(std::min(line.size() + 1, log.size()));
    if (line.find("reason") == std::string_view::npos) continue;
    std::optional<LogFields> json;
    if (line.front() == '{') json = parse_json_line(line);
    const LogFields fields = json ? *json : parse_text_line(line);
    if (!fields.contains("id") || !fields.contains("reason")) continue;
    ends.push_back({.id = value_of(fields, "id"),
                    .route = value_of(fields, "route"),
                    .client = value_of(fields, "client"),
                    .upstream = value_of(fields, "upstream"),
                    .to_upstream = number_of(fields, "to_upstream"),
                    .to_client = number_of(fields, "to_client"),
                    .spliced_to_upstream = number_of(fields, "spliced_to_upstream"),
                    .spliced_to_client = number_of(fields, "spliced_to_client"),
                    .reason = value_of(fields, "reason"),
                    .line = std::string(line)});
  }
  return ends;
}

std::uint64_t count_rejected(std::string_view log, std::string_view reason,
                             std::string_view limit) {
  std::uint64_t count = 0;
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(std::min(line.size() + 1, log.size()));
    if (line.find(" reason=") == std::string_view::npos) continue;
    const LogFields fields = parse_text_line(line);
    if (value_of(fields, "reason") != reason) continue;
    if (!limit.empty() && value_of(fields, "limit") != limit) continue;
    count += fields.contains("times") ? number_of(fields, "times") : 1;
  }
  return count;
}

}  // namespace sluice::test
