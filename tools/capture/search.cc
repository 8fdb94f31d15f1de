#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/capture/stream_match.h"
#include "tools/common/command_line.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;

// The most bytes that are kept for all streams, not counting their fixed-size state.
constexpr std::size_t kMostKeptBytes = 512 << 20;

class Search {
 public:
  Search(const Invocation& invocation, std::unique_ptr<StreamMatcher> matcher)
      : invocation_(invocation), matcher_(std::move(matcher)) {
    if (invocation_.json) std::fputs("{\"matches\":[", stdout);
  }

  Result<bool> take(const Event& event, const At& at) {
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    if (std::exchange(chain_index_, at.chain_index) != at.chain_index) end_all();
    const Connection* connection = *taken;
    if (connection == nullptr) return go_on();
    const RecordHeader& header = event.header;
    const bool is_record = event.type == Event::Type::record;
    if (is_record && header.is(Kind::data)) {
      look_at(event, *connection);
      if (kept_bytes_ > kMostKeptBytes) {
        return Error{
            0, "too many streams at once for --regex: select fewer connections or a shorter time"};
      }
    } else if (!is_record || header.is(Kind::gap)) {
      end(connection->number, is_record ? header.side() : event.finding.side,
          StreamMatcher::End::of_what_is_known);
    } else if (header.is(Kind::eof) || header.is(Kind::reset)) {
      end(connection->number, header.side(), StreamMatcher::End::of_stream);
    }
    if (connection->closed) {
      for (const Side side : {Side::client, Side::upstream}) {
        end(connection->number, side, StreamMatcher::End::of_stream);
      }
      states_.erase(connection->number);
      table_.forget(*connection, at);
    }
    return go_on();
  }

  /// `error`: why the search ends early; empty if it does not.
  void finish(std::string_view error) {
    end_all();
    if (invocation_.json) std::puts(json_end({}, error).c_str());
  }

 private:
  struct Piece {
    std::uint64_t end;  // stream offset of its end
    std::uint64_t wall_ns;
  };
  struct State {
    struct Stream {
      StreamMatcher::Stream matched;
      std::vector<Piece> pieces;  // those that a match still to be reported can be in
      std::uint64_t offset = 0;   // offset behind the last piece
      [[nodiscard]] std::size_t kept_bytes() const {
        return matched.kept.size() + pieces.size() * sizeof(Piece);
      }
    };
    std::string id;
    std::array<Stream, 2> streams;  // by Side
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
      if (state.passes) state.id = connection.info.id;
    }
    if (!state.passes) return;
    if (!invocation_.filter.takes_time(header.wall_ns)) {
      end(connection.number, header.side(), StreamMatcher::End::of_what_is_known);
      return;
    }
    State::Stream& stream = state.streams[static_cast<std::size_t>(header.side())];
    if (event.fresh_offset() != stream.offset) {
      end(connection.number, header.side(), StreamMatcher::End::of_what_is_known);
    }
    stream.offset = event.fresh_offset() + event.fresh().size();
    kept_bytes_ -= stream.kept_bytes();
    stream.pieces.push_back({stream.offset, header.wall_ns});
    matcher_->find(text_of(event.fresh()), event.fresh_offset(), stream.matched,
                   [&](std::uint64_t offset, std::string_view bytes) {
                     print(state, header.side(), offset, bytes);
                   });
    // Drop the first pieces, which no match can reach any more.
    const StreamMatcher::Stream& matched = stream.matched;
    const auto reached =
        matched.kept.empty()
            ? stream.pieces.end()
            : std::ranges::upper_bound(stream.pieces, matched.kept_offset, {}, &Piece::end);
    stream.pieces.erase(stream.pieces.begin(), reached);
    kept_bytes_ += stream.kept_bytes();
  }

  void end(std::uint64_t connection, Side side, StreamMatcher::End what) {
    const auto found = states_.find(connection);
    if (found == states_.end()) return;
    State& state = found->second;
    State::Stream& stream = state.streams[static_cast<std::size_t>(side)];
    kept_bytes_ -= stream.kept_bytes();
    matcher_->end(what, stream.matched, [&](std::uint64_t offset, std::string_view bytes) {
      print(state, side, offset, bytes);
    });
    stream.pieces.clear();
  }

  // All streams of a chain end with it.
  void end_all() {
    for (const auto& [connection, state] : states_) {
      for (const Side side : {Side::client, Side::upstream}) {
        end(connection, side, StreamMatcher::End::of_what_is_known);
      }
    }
    states_.clear();
  }

  void print(const State& state, Side of, std::uint64_t offset, std::string_view bytes) {
    // A match has the time of the record in which it ends.
    const std::vector<Piece>& pieces = state.streams[static_cast<std::size_t>(of)].pieces;
    const auto piece = std::ranges::lower_bound(pieces, offset + bytes.size(), {}, &Piece::end);
    const std::uint64_t wall_ns = piece == pieces.end() ? 0 : piece->wall_ns;
    const std::string side(kSideNames[static_cast<std::size_t>(of)]);
    constexpr std::size_t kShownBytes = 64;
    clear_progress();
    if (invocation_.json) {
      const json::object object{{"time", format_time(wall_ns)},
                                {"connection", valid_utf8(state.id)},
                                {"side", side},
                                {"offset", offset},
                                {"bytes", bytes.size()}};
      std::printf("%s%s", matches_ == 0 ? "\n" : ",\n", json::serialize(object).c_str());
    } else {
      std::printf(
          "%s %s %s %llu: %s%s\n", format_time(wall_ns).c_str(), printable(state.id).c_str(),
          side.c_str(), static_cast<unsigned long long>(offset),
          printable(bytes.substr(0, kShownBytes)).c_str(), bytes.size() > kShownBytes ? "..." : "");
    }
    ++matches_;
  }

  const Invocation& invocation_;
  std::unique_ptr<StreamMatcher> matcher_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  std::size_t chain_index_ = 0;
  std::unordered_map<std::uint64_t, State> states_;
  std::size_t kept_bytes_ = 0;
  std::uint64_t matches_ = 0;
};

}  // namespace

Result<int> run_search(const Invocation& invocation) {
  Result<std::unique_ptr<StreamMatcher>> matcher = StreamMatcher::create(invocation.pattern);
  if (!matcher) {
    std::fprintf(stderr, "sluice-capture: %s\n", matcher.error().to_string().c_str());
    return {in_place_value, kUsageStatus};
  }
  Search search(invocation, *std::move(matcher));
  const Result<int> walked = walk_and_tell(
      invocation, [&](const Event& event, const At& at) { return search.take(event, at); });
  search.finish(walked ? "" : walked.error().to_string());
  return walked;
}

}  // namespace sluice::capture
