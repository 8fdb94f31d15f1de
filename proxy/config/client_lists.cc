#include "proxy/config/client_lists.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "proxy/config/options.h"
#include "proxy/config/whole_file.h"

namespace sluice {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// A line without its comment and the blanks around it.
std::string_view entry_of(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const std::size_t first = line.find_first_not_of(kBlanks);
  if (first == line.npos) return {};
  return line.substr(first, line.find_last_not_of(kBlanks) + 1 - first);
}

/// The blocks in a file, and what is wrong with it.
struct ListFile {
  std::vector<Prefix> blocks = {};
  std::vector<std::string> mistakes = {};
};

ListFile read_list(const std::string& path) {
  ListFile list;
  const auto mistake = [&](const std::string& place, const std::string& text) {
    list.mistakes.push_back(path + place + ": " + text);
  };
  const Result<std::string> content = read_whole_file(path, kLargestListBytes);
  if (!content) {
    mistake("", content.error().to_string() + ", expected a readable regular file of at most " +
                    format_size_bytes(kLargestListBytes));
    return list;
  }
  std::string_view rest = *content;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view entry = entry_of(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (entry.empty()) continue;
    const Result<Prefix> block = Prefix::parse(entry);
    if (!block) {
      mistake(":" + std::to_string(line), block.error().to_string());
      // The message lists no more, but says that there are some.
      if (list.mistakes.size() > kMostMistakes) return list;
    } else if (list.blocks.size() == kMostListedBlocks) {
      mistake(":" + std::to_string(line),
              "one block too many, expected at most " + std::to_string(kMostListedBlocks));
      return list;
    } else {
      list.blocks.push_back(*block);
    }
  }
  return list;
}

/// Reads the lists of all routes.
class ListReader {
 public:
  void read(RouteConfig& route, std::size_t index) {
    if (route.allow.empty() && route.deny.empty()) return;
    const std::vector<Prefix> allowed = blocks_of(route.allow, index, "allow");
    const std::vector<Prefix> denied = blocks_of(route.deny, index, "deny");
    // An empty file must not let everybody in.
    if (!route.allow.empty() && allowed.empty()) {
      conflicts_.push_back({index, "allow", "its files have no blocks, expected at least one"});
    }
    if (!conflicts_.empty()) return;
    for (const RouteConfig* other : known_) {
      if (other->allow == route.allow && other->deny == route.deny) route.clients = other->clients;
    }
    if (route.clients != nullptr) return;
    route.clients = std::make_shared<const balance::PrefixSet>(allowed, denied);
    known_.push_back(&route);
  }
  [[nodiscard]] std::vector<RouteConflict> conflicts() && { return std::move(conflicts_); }

 private:
  std::vector<Prefix> blocks_of(const std::vector<ListEntry>& entries, std::size_t index,
                                std::string_view option) {
    std::vector<Prefix> blocks;
    for (const ListEntry& entry : entries) {
      if (const auto* block = std::get_if<Prefix>(&entry)) {
        blocks.push_back(*block);
        continue;
      }
      const std::string& path = std::get<FileEndpoint>(entry).path;
      const auto [found, is_new] = files_.try_emplace(path);
      if (is_new) found->second = read_list(path);
      const ListFile& list = found->second;
      blocks.insert(blocks.end(), list.blocks.begin(), list.blocks.end());
      if (!is_new) continue;  // its mistakes are known
      for (const std::string& each : list.mistakes) conflicts_.push_back({index, option, each});
    }
    return blocks;
  }

  std::map<std::string, ListFile> files_;
  std::vector<const RouteConfig*> known_;  ///< with lists of their own
  std::vector<RouteConflict> conflicts_;
};

}  // namespace

std::vector<RouteConflict> read_client_lists(Config& config) {
  ListReader reader;
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    reader.read(config.routes[index], index);
  }
  return std::move(reader).conflicts();
}

}  // namespace sluice
