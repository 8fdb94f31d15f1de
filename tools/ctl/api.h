#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "iolib/base/clock.h"
#include "iolib/json/json.h"
#include "tools/ctl/client.h"

namespace sluice::ctl {

/// The most bytes of a list's pages together.
inline constexpr std::size_t kMostListBytes = 256 << 20;

/// The most items of a page that the API has.
inline constexpr std::uint64_t kMostPageItems = 1000;

/// The paths of the API, and what their answers mean. Every function throws Failure.
class Api {
 public:
  /// Borrows the client.
  explicit Api(const Client& client) : client_(client) {}

  /// The object at this path.
  [[nodiscard]] json::object get(const std::string& target) const;
  /// All pages of a list as one: `items` and `next`. `limit`: the most items; 0: all.
  [[nodiscard]] json::object list(const std::string& path, const std::string& query = {},
                                  std::uint64_t limit = 0) const;
  /// Asks for a change. Returns the answer; an empty object if it has none.
  [[nodiscard]] json::object change(const std::string& method, const std::string& path,
                                    const json::object& body = {}) const;
  /// Asks for a change that takes up to `patience`, and whose refusal is an answer too: it has the
  /// member "result". Other refusals are failures.
  [[nodiscard]] json::object result(const std::string& path, Duration patience) const;
  /// Whether the daemon is ready. If not, the failure says why.
  void check_ready() const;

 private:
  [[nodiscard]] Answer ask(const Request& request) const;
  [[nodiscard]] json::object parse(const std::string& body, const std::string& target) const;

  const Client& client_;
};

/// `text` as one part of a path, or as a value of a query.
[[nodiscard]] std::string percent_encoded(std::string_view text);

/// What a problem (RFC 9457) says for people; otherwise its status. At most a few hundred bytes.
[[nodiscard]] std::string detail_of(const Answer& answer);

}  // namespace sluice::ctl
