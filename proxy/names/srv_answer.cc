#include "proxy/names/srv_answer.h"

#include <arpa/nameser.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <string>
#include <variant>

#include "iolib/base/address.h"

namespace sluice {
namespace {

// The record's data are three numbers and the target (RFC 2782).
constexpr std::size_t kNumbersBytes = 6;

Error malformed() { return Error{0, "malformed answer"}; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool can_be_connected_to(const HostPort& target) {
  const auto address = parse_target_address(target.host + ":" + std::to_string(target.port));
  return address.has_value() && std::holds_alternative<HostPort>(*address) && !target.host.empty();
}

}  // namespace

Result<std::vector<NameRecord>> parse_srv_answer(std::span<const unsigned char> message) {
  ns_msg answer;
  if (ns_initparse(message.data(), static_cast<int>(message.size()), &answer) != 0) {
    return malformed();
  }
  std::vector<NameRecord> records;
  for (int i = 0; i < ns_msg_count(answer, ns_s_an); ++i) {
    ns_rr found;
    if (ns_parserr(&answer, ns_s_an, i, &found) != 0) return malformed();
    if (ns_rr_type(found) != ns_t_srv || ns_rr_class(found) != ns_c_in) continue;
    const unsigned char* const data = ns_rr_rdata(found);
    std::array<char, NS_MAXDNAME> target;
    if (ns_rr_rdlen(found) <= kNumbersBytes ||
        dn_expand(message.data(), message.data() + message.size(), data + kNumbersBytes,
                  target.data(), target.size()) != ns_rr_rdlen(found) - int{kNumbersBytes}) {
      return malformed();
    }
    NameRecord record;
    record.priority = static_cast<std::uint16_t>(ns_get16(data));
    record.weight = static_cast<std::uint16_t>(ns_get16(data + 2));
    record.target = {target.data(), static_cast<std::uint16_t>(ns_get16(data + 4))};
    std::ranges::transform(record.target.host, record.target.host.begin(), lower);
    if (can_be_connected_to(record.target)) records.push_back(std::move(record));
  }
  return records;
}

}  // namespace sluice
