#include "iolib/wire/client_hello.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "iolib/wire/bytes.h"

namespace sluice::wire {
namespace {

constexpr std::size_t kRecordHeader = 5;   // type, version, length
constexpr std::size_t kMessageHeader = 4;  // type, length
constexpr std::size_t kLongestRecord = 1 << 14;
constexpr std::size_t kRandom = 32;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kClientHello = 1;
constexpr std::uint8_t kTlsMajor = 3;
constexpr std::size_t kServerNameExtension = 0;
constexpr std::size_t kAlpnExtension = 16;
constexpr std::size_t kHostName = 0;
constexpr std::size_t kLongestName = 253;

// Reads fields in order. After a field that is not there, everything is empty and `good` is false.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  // A number of that many bytes.
  std::size_t number(std::size_t bytes) {
    std::size_t number = 0;
    for (const char byte : take(bytes)) number = number << 8 | static_cast<std::uint8_t>(byte);
    return number;
  }
  std::string_view take(std::size_t bytes) {
    good_ = good_ && bytes <= rest_.size();
    if (!good_) return rest_ = {};
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  // A field behind its length, a number of that many bytes.
  Fields vector(std::size_t length_bytes) { return Fields(take(number(length_bytes))); }
  std::string_view bytes() const { return rest_; }

 private:
  std::string_view rest_;
  bool good_ = true;
};

using Message = std::variant<NeedsBytes, NotHello, std::string_view>;

// The length of the message, as far as its first bytes tell.
std::size_t whole_of(std::string_view message) {
  if (message.size() < kMessageHeader) return kMessageHeader;
  return kMessageHeader + Fields(message.substr(1)).number(3);
}

std::size_t missing_of(std::string_view message) {
  const std::size_t whole = whole_of(message);
  return whole - std::min(whole, message.size());
}

// More bytes, unless that would be too many.
Message needs(std::size_t total) {
  if (total > kLongestHello) return NotHello{};
  return NeedsBytes{total};
}

// The first message, without a copy if one record carries it all, which is usual. Otherwise joins
// its records in `message`. Refuses as soon as it cannot be a hello. What is
// missing of the message needs at least one more record. Asking for all of it makes the looks few,
// however small the records are.
Message message_of(std::string_view seen, std::string& message) {
  for (std::size_t at = 0;;) {
    const std::string_view record = seen.substr(at);
    if (!record.empty() && byte_at(record, 0) != kHandshake) return NotHello{};
    if (record.size() > 1 && byte_at(record, 1) != kTlsMajor) return NotHello{};
    // Until here the next byte can show that it is none: a short message must not wait for more.
    if (at == 0 && record.size() < kRecordHeader) return needs(seen.size() + 1);
    if (record.size() < kRecordHeader) {
      return needs(at + kRecordHeader + missing_of(message));
    }
    const std::size_t length = Fields(record.substr(3)).number(2);
    if (length == 0 || length > kLongestRecord) return NotHello{};
    if (at == 0 && record.size() == kRecordHeader) return needs(seen.size() + 1);
    const std::size_t before = message.size();
    const std::string_view part = record.substr(kRecordHeader, length);
    const bool is_all = at == 0 && part.size() >= kMessageHeader && missing_of(part) == 0;
    if (is_all && byte_at(part, 0) == kClientHello) return part.substr(0, whole_of(part));
    message += part;
    if (!message.empty() && byte_at(message, 0) != kClientHello) return NotHello{};
    const std::size_t missing = missing_of(message);
    if (missing == 0 && message.size() >= kMessageHeader) {
      return std::string_view(message).substr(0, whole_of(message));
    }
    const std::size_t of_record = before + length - message.size();
    at += kRecordHeader + length;
    if (seen.size() >= at) continue;
    if (missing <= of_record) return needs(seen.size() + missing);
    return needs(at + kRecordHeader + missing - of_record);
  }
}

std::string server_name_of(Fields extension) {
  Fields names = extension.vector(2);
  while (names.good() && !names.empty()) {
    const std::size_t type = names.number(1);
    const Fields name = names.vector(2);
    if (!names.good()) break;
    if (type == kHostName) return normal_host_name(name.bytes());
  }
  return "";
}

std::vector<std::string> protocols_of(Fields extension) {
  std::vector<std::string> found;
  Fields names = extension.vector(2);
  while (names.good() && !names.empty()) {
    const Fields name = names.vector(1);
    if (names.good()) found.emplace_back(name.bytes());
  }
  return names.good() ? found : std::vector<std::string>();
}

std::variant<NeedsBytes, NotHello, ClientHello> read_hello(std::string_view message) {
  Fields hello(message.substr(kMessageHeader));
  hello.take(2 + kRandom);  // version, random
  hello.vector(1);          // session
  hello.vector(2);          // ciphers
  hello.vector(1);          // compressions
  ClientHello found;
  if (!hello.good()) return NotHello{};
  if (hello.empty()) return found;  // TLS 1.2 allows no extensions
  Fields extensions = hello.vector(2);
  while (hello.good() && extensions.good() && !extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Fields extension = extensions.vector(2);
    if (!extensions.good()) break;
    if (type == kServerNameExtension) found.server_name = server_name_of(extension);
    if (type == kAlpnExtension) found.protocols = protocols_of(extension);
  }
  if (!hello.good() || !extensions.good()) return NotHello{};
  return found;
}

}  // namespace

std::variant<NeedsBytes, NotHello, ClientHello> parse_client_hello(
    std::span<const std::byte> seen) {
  std::string joined;
  const Message message = message_of(as_text(seen), joined);
  if (const auto* needs = std::get_if<NeedsBytes>(&message)) return *needs;
  if (std::holds_alternative<NotHello>(message)) return NotHello{};
  return read_hello(std::get<std::string_view>(message));
}

std::string normal_host_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kLongestName) return "";
  std::string normal;
  for (const char c : name) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool fits = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.';
    if (!fits) return "";
    normal += upper ? static_cast<char>(c | 0x20) : c;
  }
  const bool empty_label =
      normal.starts_with('.') || normal.ends_with('.') || normal.find("..") != normal.npos;
  return empty_label ? "" : normal;
}

}  // namespace sluice::wire
