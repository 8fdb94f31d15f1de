#include <regex.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tools/capture/commands.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;
// Of a match: its offset in the stream, and its bytes as far as the last record has them.
using Found = std::function<void(std::uint64_t offset, std::string_view bytes)>;

// Finds a text in a stream that comes in pieces. What a stream needs between two pieces is a
// number: how much of the text its end has (Knuth, Morris, Pratt 1977).
class Literal {
 public:
  explicit Literal(std::string text) : text_(std::move(text)), border_(text_.size() + 1) {
    std::size_t matched = 0;
    for (std::size_t i = 1; i < text_.size(); ++i) {
      matched = step(matched, text_[i]);
      border_[i + 1] = matched;
    }
  }

  // `matched`: the stream's number, 0 at its beginning and behind a gap.
  void find(std::string_view piece, std::uint64_t offset, std::size_t& matched,
            const Found& found) const {
    // Across the pieces' border byte by byte; within the piece with the C library's search.
    const std::size_t head = std::min(piece.size(), text_.size() - 1);
    for (std::size_t i = 0; i < head; ++i) {
      matched = step(matched, piece[i]);
      if (matched == text_.size()) found(offset + i + 1 - text_.size(), text_);
    }
    if (piece.size() < text_.size()) return;
    for (std::size_t at = 0; at + text_.size() <= piece.size(); ++at) {
      const void* next = ::memmem(piece.data() + at, piece.size() - at, text_.data(), text_.size());
      if (next == nullptr) break;
      at = static_cast<std::size_t>(static_cast<const char*>(next) - piece.data());
      found(offset + at, text_);
    }
    matched = 0;
    for (const char c : piece.substr(piece.size() - (text_.size() - 1))) matched = step(matched, c);
  }

 private:
  [[nodiscard]] std::size_t step(std::size_t matched, char next) const {
    while (matched > 0 && (matched == text_.size() || text_[matched] != next)) {
      matched = border_[matched];
    }
    return text_[matched] == next ? matched + 1 : 0;
  }

  std::string text_;
  std::vector<std::size_t> border_;  // [n]: the longest proper border of the first n bytes
};

class Regex {
 public:
  static Result<std::unique_ptr<Regex>> compile(const std::string& text) {
    auto regex = std::make_unique<Regex>();
    const int error = ::regcomp(&regex->compiled_, text.c_str(), REG_EXTENDED);
    if (error != 0) {
      std::array<char, 128> why{};
      ::regerror(error, &regex->compiled_, why.data(), why.size());
      return Error{0, "--regex: " + printable(text) + ": " + why.data()};
    }
    regex->compiled_well_ = true;
    return regex;
  }
  Regex() = default;
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() {
    if (compiled_well_) ::regfree(&compiled_);
  }

  void find(std::string_view piece, std::uint64_t offset, const Found& found) const {
    regmatch_t match{};
    std::size_t at = 0;
    while (at < piece.size()) {
      match.rm_so = static_cast<regoff_t>(at);
      match.rm_eo = static_cast<regoff_t>(piece.size());
      if (::regexec(&compiled_, piece.data(), 1, &match, REG_STARTEND) != 0) break;
      const auto begin = static_cast<std::size_t>(match.rm_so);
      const auto end = static_cast<std::size_t>(match.rm_eo);
      if (end > begin) found(offset + begin, piece.substr(begin, end - begin));
      at = std::max(end, at + 1);
    }
  }

 private:
  regex_t compiled_{};
  bool compiled_well_ = false;
};

class Search {
 public:
  Search(const Invocation& invocation, std::unique_ptr<Regex> regex)
      : invocation_(invocation), regex_(std::move(regex)), literal_(invocation.pattern.bytes) {
    if (invocation_.json) std::fputs("{\"matches\":[", stdout);
  }

  Result<bool> take(const Event& event, const At& at) {
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    if (at.chain_index != chain_index_) {
      chain_index_ = at.chain_index;
      states_.clear();
    }
    const Connection* connection = *taken;
    if (connection == nullptr) return go_on();
    const bool is_data = event.type == Event::Type::record && event.header.is(Kind::data);
    if (is_data) {
      look_at(event, *connection);
    } else if (event.type == Event::Type::finding || event.header.is(Kind::gap)) {
      const Side side =
          event.type == Event::Type::finding ? event.finding.side : event.header.side();
      states_[connection->number].matched[static_cast<std::size_t>(side)] = 0;
    }
    if (connection->closed) {
      states_.erase(connection->number);
      table_.forget(*connection, at);
    }
    return go_on();
  }

  [[nodiscard]] int finish() const {
    if (invocation_.json) std::puts("]}");
    return 0;
  }

 private:
  struct State {
    std::array<std::size_t, 2> matched{};  // by Side
    bool known = false;
    bool passes = false;
  };

  void look_at(const Event& event, const Connection& connection) {
    const RecordHeader& header = event.header;
    if (invocation_.side && *invocation_.side != header.side()) return;
    State& state = states_[connection.number];
    if (!state.known) {
      state.known = connection.introduced;
      state.passes = invocation_.filter.takes(connection.info);
    }
    std::size_t& matched = state.matched[static_cast<std::size_t>(header.side())];
    if (!state.passes || !invocation_.filter.takes_time(header.wall_ns)) {
      matched = 0;
      return;
    }
    const Found found = [&](std::uint64_t offset, std::string_view bytes) {
      print(event, connection, offset, bytes);
    };
    if (regex_) {
      regex_->find(text_of(event.fresh()), event.fresh_offset(), found);
    } else {
      literal_.find(text_of(event.fresh()), event.fresh_offset(), matched, found);
    }
  }

  void print(const Event& event, const Connection& connection, std::uint64_t offset,
             std::string_view bytes) {
    const std::string side(kSideNames[static_cast<std::size_t>(event.header.side())]);
    constexpr std::size_t kShownBytes = 64;
    if (invocation_.json) {
      const json::object object{{"time", format_time(event.header.wall_ns)},
                                {"connection", valid_utf8(connection.info.id)},
                                {"side", side},
                                {"offset", offset},
                                {"bytes", bytes.size()}};
      std::printf("%s%s", matches_ == 0 ? "\n" : ",\n", json::serialize(object).c_str());
    } else {
      std::printf("%s %s %s %llu: %s%s\n", format_time(event.header.wall_ns).c_str(),
                  printable(connection.info.id).c_str(), side.c_str(),
                  static_cast<unsigned long long>(offset),
                  printable(bytes.substr(0, kShownBytes)).c_str(),
                  bytes.size() > kShownBytes ? "..." : "");
    }
    ++matches_;
  }

  const Invocation& invocation_;
  std::unique_ptr<Regex> regex_;
  Literal literal_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  std::size_t chain_index_ = 0;
  std::unordered_map<std::uint64_t, State> states_;
  std::uint64_t matches_ = 0;
};

}  // namespace

Result<int> run_search(const Invocation& invocation) {
  std::unique_ptr<Regex> regex;
  if (!invocation.pattern.regex.empty()) {
    Result<std::unique_ptr<Regex>> compiled = Regex::compile(invocation.pattern.regex);
    if (!compiled) {
      std::fprintf(stderr, "sluice-capture: %s\n", compiled.error().to_string().c_str());
      constexpr int kUsageStatus = 2;
      return {in_place_value, kUsageStatus};
    }
    regex = *std::move(compiled);
  }
  Search search(invocation, std::move(regex));
  const Result<> walked = walk(
      invocation.paths, [&](const Event& event, const At& at) { return search.take(event, at); });
  if (!walked) return walked.error();
  return {in_place_value, search.finish()};
}

}  // namespace sluice::capture
