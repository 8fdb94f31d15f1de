// Answers of name servers. What one says about its records can be taken by a set of names, which
// then has servers within its bounds.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "proxy/names/name_set.h"
#include "proxy/names/srv_answer.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Result<std::vector<NameRecord>> answer = parse_srv_answer({data, size});
  if (!answer) return 0;
  std::size_t most = 0;
  std::uint8_t host = 0;
  for (NameRecord& record : *answer) {
    if (record.target.host.empty() || record.target.port == 0) std::abort();
    for (int i = 0; i < record.weight % 3; ++i, ++most) {
      const std::string address = "10.0.0." + std::to_string(host++);
      record.addresses.push_back(*numeric_address({address, record.target.port}));
    }
  }
  NameSet set;
  set.take(*answer, TimePoint(std::chrono::hours(1)));
  set.take(*std::move(answer), TimePoint(std::chrono::hours(2)));
  const std::vector<NamedServer> servers = set.servers();
  if (servers.size() > most || servers.empty() != (most == 0)) std::abort();
  for (const NamedServer& server : servers) {
    if (server.weight < 1 || server.weight > 256) std::abort();
  }
  return 0;
}
