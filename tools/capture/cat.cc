#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include "tools/capture/commands.h"
#include "tools/capture/out_directory.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;

class Cat {
 public:
  explicit Cat(const Invocation& invocation) : invocation_(invocation) {}

  Result<bool> take(const Event& event, const At& at) {
    // A connection is in one chain only.
    if (found_ && at.chain_index != chain_index_) return go_on(false);
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    const Connection* connection = *taken;
    if (event.type == Event::Type::finding) return take_finding(event, connection);
    if (connection == nullptr) return go_on();
    if (connection->info.id != invocation_.filter.id) {
      if (connection->closed) table_.forget(*connection, at);
      return go_on();
    }
    chain_index_ = at.chain_index;
    if (!found_) begin(*connection);
    const bool own_side = event.header.side() == *invocation_.side &&
                          !event.header.is(Kind::open) && !event.header.is(Kind::close);
    if (own_side) check_offset(event);
    if (status_ != 0) return go_on(false);
    if (event.header.is(Kind::data) && own_side) {
      // Bypasses stdio, so that a payload is not copied again.
      const Result<> written = write_all(STDOUT_FILENO, event.fresh(), "to stdout");
      if (!written) return written.error();
    }
    if (event.header.is(Kind::gap) && own_side) {
      const GapInfo gap = *decode_gap(event.payload);
      missing(event.fresh_offset(), gap.bytes - event.effect.skip_bytes, reason_name(gap.reason));
    }
    return go_on(status_ == 0 && !connection->closed);
  }

  [[nodiscard]] Result<int> finish() const {
    if (!found_) return Error{0, "no connection " + printable(invocation_.filter.id)};
    return {in_place_value, status_};
  }

 private:
  void begin(const Connection& connection) {
    found_ = true;
    number_ = connection.number;
    const auto side = static_cast<std::size_t>(*invocation_.side);
    if ((connection.info.sides >> side & 1) == 0) {
      std::fputs("sluice-capture: that side was not recorded\n", stderr);
      status_ = kGaps;
    }
    const std::uint64_t begin = connection.sides[side].begin;
    if (begin > 0) missing(0, begin, "earlier segments are missing");
    reached_ = begin;
  }

  // A loss without a finding means that the segment was deleted during the walk.
  void check_offset(const Event& event) {
    const std::uint64_t offset = event.fresh_offset();
    if (offset > reached_) missing(reached_, offset - reached_, "earlier segments are missing");
    reached_ = std::max(reached_, offset);
    if (event.header.is(Kind::data)) reached_ += event.fresh().size();
    if (event.header.is(Kind::gap)) {
      reached_ += decode_gap(event.payload)->bytes - event.effect.skip_bytes;
    }
  }

  Result<bool> take_finding(const Event& event, const Connection* connection) {
    const Finding& finding = event.finding;
    if (!found_ || finding.connection != number_ || finding.side != *invocation_.side) {
      return go_on();
    }
    if (connection != nullptr) {
      missing(finding.stream_offset, finding.bytes, "no record");
      reached_ = finding.stream_offset + finding.bytes;
    } else {
      std::fputs("sluice-capture: damage: the bytes do not match their checksum\n", stderr);
      status_ = kDamage;
    }
    return go_on(status_ == 0);
  }

  void missing(std::uint64_t offset, std::uint64_t bytes, std::string_view why) {
    std::fprintf(stderr, "sluice-capture: gap: %llu bytes at offset %llu: %.*s\n",
                 static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                 static_cast<int>(why.size()), why.data());
    if (!invocation_.skip_gaps) status_ = kGaps;
  }

  const Invocation& invocation_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  bool found_ = false;
  std::size_t chain_index_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t reached_ = 0;  // offset in the side's stream
  int status_ = 0;
};

}  // namespace

Result<int> run_cat(const Invocation& invocation) {
  Cat cat(invocation);
  const auto visit = [&](const Event& event, const At& at) { return cat.take(event, at); };
  const Result<> walked = walk(invocation.paths, visit, Stdout::streams);
  if (!walked) return walked.error();
  return cat.finish();
}

}  // namespace sluice::capture
