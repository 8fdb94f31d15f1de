#include "proxy/taps/handed_captures.h"

#include <cstddef>
#include <string_view>
#include <utility>

namespace sluice {
namespace {

// Empty if there is none.
std::vector<std::string> texts_of(const json::value& value, std::string_view name) {
  std::vector<std::string> texts;
  const json::object* const object = value.if_object();
  const json::value* const found = object == nullptr ? nullptr : object->if_contains(name);
  const json::array* const array = found == nullptr ? nullptr : found->if_array();
  if (array == nullptr) return texts;
  for (const json::value& each : *array) {
    if (const json::string* const text = each.if_string()) texts.emplace_back(*text);
  }
  return texts;
}

}  // namespace

json::object to_json(const HandedCaptures& captures) {
  json::array directories;
  for (const HandedCaptures::Lock& each : captures.locks) directories.emplace_back(each.path);
  json::array living;
  for (const std::string& each : captures.living) living.emplace_back(each);
  return {{"directories", std::move(directories)}, {"living", std::move(living)}};
}

Result<HandedCaptures> captures_from_json(const json::value& value,
                                          std::vector<OwnedFd>& descriptors) {
  HandedCaptures captures;
  std::vector<std::string> directories = texts_of(value, "directories");
  if (directories.size() > descriptors.size()) {
    return Error{0, "descriptors of capture directories are missing"};
  }
  for (std::size_t i = 0; i < directories.size(); ++i) {
    captures.locks.push_back({std::move(directories[i]), std::move(descriptors[i])});
  }
  descriptors.erase(descriptors.begin(),
                    descriptors.begin() + static_cast<std::ptrdiff_t>(directories.size()));
  captures.living = texts_of(value, "living");
  return captures;
}

}  // namespace sluice
