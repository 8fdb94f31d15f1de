#include "tools/capture/printer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "iolib/base/text.h"
#include "tools/common/text.h"

namespace sluice::capture {
namespace {

constexpr std::size_t kBytesPerLine = 16;
constexpr std::size_t kTextPerLine = 96;

unsigned long long number(std::uint64_t value) { return value; }

void print_hex(std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty() && std::ferror(stdout) == 0) {
    const auto line = bytes.first(std::min(kBytesPerLine, bytes.size()));
    std::string text;
    for (const std::byte byte : line) {
      text += to_hex({&byte, 1}) + ' ';
    }
    text.append((kBytesPerLine - line.size()) * 3, ' ');
    for (const char c : text_of(line)) text += c >= 0x20 && c < 0x7f ? c : '.';
    std::printf("    %08llx  %s\n", number(offset), text.c_str());
    bytes = bytes.subspan(line.size());
    offset += line.size();
  }
}

void print_text(std::string_view text) {
  while (!text.empty() && std::ferror(stdout) == 0) {
    const std::size_t end = text.find('\n');
    const std::size_t size =
        std::min({end == text.npos ? text.size() : end + 1, text.size(), kTextPerLine});
    std::printf("    %s\n", printable(text.substr(0, size)).c_str());
    text.remove_prefix(size);
  }
}

std::string detail(const Event& event, const Connection& connection) {
  const RecordHeader& header = event.header;
  switch (static_cast<Kind>(header.kind)) {
    case Kind::open:
      return printable(connection.info.client) + " > " + printable(connection.info.upstream) +
             " route " + printable(connection.info.route);
    case Kind::data:
      return std::to_string(event.fresh_offset()) + '+' + std::to_string(event.fresh().size());
    case Kind::gap: {
      const GapInfo gap = *decode_gap(event.payload);
      return std::to_string(event.fresh_offset()) + '+' +
             std::to_string(gap.bytes - event.effect.skip_bytes) + ' ' + reason_name(gap.reason);
    }
    case Kind::close:
      return printable(connection.reason);
    default:
      return std::to_string(header.offset);
  }
}

bool is_of_a_side(const RecordHeader& header) {
  return !header.is(Kind::open) && !header.is(Kind::close);
}

std::string kind_name(const RecordHeader& header) {
  constexpr std::array<std::string_view, 12> kNames = {"padding", "segment",    "open",   "data",
                                                       "eof",     "reset",      "gap",    "close",
                                                       "clock",   "checkpoint", "footer", "lost"};
  if (header.kind >= kNames.size()) return "kind " + std::to_string(header.kind);
  return std::string(header.is(Kind::open) && header.continued() ? "continued"
                                                                 : kNames[header.kind]);
}

}  // namespace

Result<> Printer::take(const Event& event, const At& at) {
  const Result<Connection*> taken = table_.take(event, at);
  if (!taken) return taken.error();
  const Connection* connection = *taken;
  names_.take(event, at);
  if (event.type == Event::Type::finding) {
    print_finding(event, at, names_);
  } else if (connection != nullptr) {
    if (passes(invocation_, event, *connection)) {
      if (invocation_.json) {
        json::object object = to_json(event, *connection);
        if (event.header.is(Kind::data)) object["hex"] = to_hex(event.fresh());
        std::puts(json::serialize(object).c_str());
      } else {
        print(event, *connection);
      }
    }
    if (connection->closed) table_.forget(*connection, at);
  }
  return {};
}

bool passes(const Invocation& invocation, const Event& event, const Connection& connection) {
  const bool of_other_side =
      invocation.side && is_of_a_side(event.header) && event.header.side() != *invocation.side;
  return !of_other_side && invocation.filter.takes_time(event.header.wall_ns) &&
         invocation.filter.takes(connection.info);
}

void Printer::print(const Event& event, const Connection& connection) const {
  const RecordHeader& header = event.header;
  const std::string side =
      is_of_a_side(header) ? std::string(kSideNames[static_cast<std::size_t>(header.side())]) + ' '
                           : "";
  std::printf("%s %s %s%s %s\n", format_time(header.wall_ns).c_str(),
              printable(connection.info.id).c_str(), side.c_str(), kind_name(header).c_str(),
              detail(event, connection).c_str());
  if (!header.is(Kind::data)) return;
  if (invocation_.hex) {
    print_hex(event.fresh(), event.fresh_offset());
  } else {
    print_text(text_of(event.fresh()));
  }
}

json::object to_json(const Event& event, const Connection& connection) {
  const RecordHeader& header = event.header;
  json::object object;
  object["time"] = format_time(header.wall_ns);
  object["monotonic_ns"] = header.monotonic_ns;
  object["connection"] = valid_utf8(connection.info.id);
  object["kind"] = kind_name(header);
  if (is_of_a_side(header)) {
    object["side"] = kSideNames[static_cast<std::size_t>(header.side())];
    object["offset"] = event.fresh_offset();
  }
  if (header.is(Kind::open)) {
    object["client"] = valid_utf8(connection.info.client);
    object["upstream"] = valid_utf8(connection.info.upstream);
    object["route"] = valid_utf8(connection.info.route);
  }
  if (header.is(Kind::gap)) {
    const GapInfo gap = *decode_gap(event.payload);
    object["bytes"] = gap.bytes - event.effect.skip_bytes;
    object["reason"] = reason_name(gap.reason);
  }
  if (header.is(Kind::close)) object["reason"] = valid_utf8(connection.reason);
  return object;
}

}  // namespace sluice::capture
