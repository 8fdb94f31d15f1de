#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "iolib/json/json.h"

namespace sluice::takeover {

/// Numbers of several things of one kind: of all routes, say.
struct Counted {
  std::vector<std::string> names;                            ///< what each number is
  std::map<std::string, std::vector<std::uint64_t>> values;  ///< by the thing's name
};
/// What a process has counted, by kind.
using Totals = std::map<std::string, Counted>;

/// Adds all numbers. Each is found by the names of its kind, its thing and itself: processes of
/// different versions need not count the same.
void add(Totals& to, const Totals& more);
/// Replaces the things that `newer` has.
void replace(Totals& totals, const Totals& newer);
/// The things of `now` that are not the same in `before`.
[[nodiscard]] Totals changed(const Totals& now, const Totals& before);

/// As a message has them. What is no number is left out.
[[nodiscard]] json::object to_json(const Totals& totals);
[[nodiscard]] Totals totals_from_json(const json::object& object);

}  // namespace sluice::takeover
