#include "proxy/takeover/totals.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "proxy/takeover/wire.h"

namespace sluice::takeover {
namespace {

// More names than any version has, so that a peer cannot make this process compare for ever.
constexpr std::size_t kMostNames = 1'000;

// The place of each name of `from` in `to`, which gets those that it lacks.
std::vector<std::size_t> places(std::vector<std::string>& to,
                                const std::vector<std::string>& from) {
  std::vector<std::size_t> found;
  if (to.empty()) to = from;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const bool same = i < to.size() && to[i] == from[i];
    const auto at =
        same ? to.begin() + static_cast<std::ptrdiff_t>(i) : std::ranges::find(to, from[i]);
    found.push_back(static_cast<std::size_t>(at - to.begin()));
    if (at == to.end()) to.push_back(from[i]);
  }
  return found;
}

void put(Totals& to, const Totals& more, bool adds) {
  for (const auto& [kind, counted] : more) {
    Counted& own = to[kind];
    const std::vector<std::size_t> place = places(own.names, counted.names);
    for (const auto& [thing, numbers] : counted.values) {
      std::vector<std::uint64_t>& sums = own.values[thing];
      sums.resize(own.names.size());
      for (std::size_t i = 0; i < std::min(numbers.size(), place.size()); ++i) {
        std::uint64_t& sum = sums[place[i]];
        sum = adds ? sum + numbers[i] : numbers[i];
      }
    }
  }
}

}  // namespace

void add(Totals& to, const Totals& more) { put(to, more, true); }

void replace(Totals& totals, const Totals& newer) { put(totals, newer, false); }

Totals changed(const Totals& now, const Totals& before) {
  Totals result;
  for (const auto& [kind, counted] : now) {
    const auto known = before.find(kind);
    for (const auto& [thing, numbers] : counted.values) {
      if (known != before.end() && known->second.names == counted.names) {
        const auto old = known->second.values.find(thing);
        if (old != known->second.values.end() && old->second == numbers) continue;
      }
      Counted& part = result[kind];
      part.names = counted.names;
      part.values[thing] = numbers;
    }
  }
  return result;
}

json::object to_json(const Totals& totals) {
  json::object object;
  for (const auto& [kind, counted] : totals) {
    json::array names;
    for (const std::string& each : counted.names) names.emplace_back(json_view(each));
    json::object values;
    for (const auto& [thing, numbers] : counted.values) {
      json::array row;
      for (const std::uint64_t each : numbers) row.emplace_back(each);
      values[json_view(thing)] = std::move(row);
    }
    object[json_view(kind)] =
        json::object{{"names", std::move(names)}, {"values", std::move(values)}};
  }
  return object;
}

Totals totals_from_json(const json::object& object) {
  Totals totals;
  for (const auto& [kind, value] : object) {
    if (!value.is_object()) continue;
    Counted counted;
    for (const json::value& each : array_of(value.get_object(), "names")) {
      if (!each.is_string() || counted.names.size() == kMostNames) break;
      counted.names.emplace_back(each.get_string().data(), each.get_string().size());
    }
    for (const auto& [thing, row] : object_of(value.get_object(), "values")) {
      if (!row.is_array()) continue;
      std::vector<std::uint64_t> numbers;
      for (const json::value& each : row.get_array()) {
        if (numbers.size() == counted.names.size()) break;
        boost::system::error_code error;
        const auto number = each.to_number<std::uint64_t>(error);
        numbers.push_back(error ? 0 : number);
      }
      counted.values[std::string(thing.data(), thing.size())] = std::move(numbers);
    }
    totals[std::string(kind.data(), kind.size())] = std::move(counted);
  }
  return totals;
}

}  // namespace sluice::takeover
