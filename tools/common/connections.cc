#include "tools/common/connections.h"

#include <algorithm>
#include <utility>

#include "iolib/base/text.h"
#include "tools/common/text.h"

namespace sluice::capture {
namespace {

std::size_t text_bytes(const OpenInfo& info) {
  return info.id.size() + info.route.size() + info.client.size() + info.upstream.size();
}

const char* to_string(SideEnd ended) {
  switch (ended) {
    case SideEnd::eof:
      return "eof";
    case SideEnd::reset:
      return "reset";
    case SideEnd::none:
      break;
  }
  return "no";
}

}  // namespace

std::string reason_name(std::uint32_t reason) {
  if (reason == 0) return "lost";
  const std::string_view name = to_string(static_cast<GapReason>(reason));
  return name == "unknown" ? std::to_string(reason) : std::string(name);
}

std::string id_without_open(const Chain& chain, std::uint64_t number) {
  return chain.run + '-' + std::to_string(chain.worker) + '-' + std::to_string(number);
}

json::object Connection::to_json() const {
  json::object object;
  object["id"] = valid_utf8(info.id);
  object["number"] = number;
  object["route"] = valid_utf8(info.route);
  object["client"] = valid_utf8(info.client);
  object["upstream"] = valid_utf8(info.upstream);
  object["start"] = format_time(info.began_wall_ns);
  object["duration_ns"] = duration_ns();
  object["state"] = state();
  object["reason"] = valid_utf8(reason);
  json::object by_side;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    const SideSummary& side = sides[i];
    json::array gaps;
    for (const Gap& gap : side.listed_gaps) {
      gaps.push_back(json::array{gap.offset, gap.bytes, reason_name(gap.reason)});
    }
    by_side[kSideNames[i]] = {{"captured", (info.sides >> i & 1) != 0},
                              {"start", side.begin},
                              {"bytes", side.recorded_bytes},
                              {"gaps", std::move(gaps)},
                              {"gap_number", side.gaps},
                              {"gap_bytes", side.gap_bytes},
                              {"ended", to_string(side.ended)}};
  }
  object["sides"] = std::move(by_side);
  return object;
}

Result<Connection*> ConnectionTable::take(const Event& event, const At& at) {
  if (at.chain_index != chain_index_) {
    numbers_.clear();
    chain_index_ = at.chain_index;
    if (keeps_ == Keeps::chain) {
      connections_.clear();
      text_bytes_ = 0;
    }
  }
  const bool lost =
      event.type == Event::Type::finding && event.finding.severity == Finding::Severity::lost;
  if (lost) {
    const Result<Connection*> found = find_or_add(event.finding.connection, at);
    if (!found) return found.error();
    SideSummary& side = (*found)->sides[static_cast<std::size_t>(event.finding.side)];
    add_gap({event.finding.stream_offset, event.finding.bytes, 0}, side);
    return *found;
  }
  if (event.type != Event::Type::record || event.effect.repeated) {
    return static_cast<Connection*>(nullptr);
  }
  const RecordHeader& header = event.header;
  if (header.kind < static_cast<std::uint8_t>(Kind::open) ||
      header.kind > static_cast<std::uint8_t>(Kind::close)) {
    return static_cast<Connection*>(nullptr);
  }
  const Result<Connection*> found = find_or_add(header.connection, at);
  if (!found) return found.error();
  // After a disk error the writer repeats records of connections that have already closed.
  if ((*found)->closed) return static_cast<Connection*>(nullptr);
  if (header.is(Kind::open)) {
    const Result<> introduced = introduce(event, **found);
    if (!introduced) return introduced.error();
  }
  (*found)->being_written = at.chain.being_written;
  update(event, **found);
  return *found;
}

void ConnectionTable::update(const Event& event, Connection& connection) {
  const RecordHeader& header = event.header;
  SideSummary& side = connection.sides[static_cast<std::size_t>(header.side())];
  connection.last_monotonic_ns = std::max(connection.last_monotonic_ns, header.monotonic_ns);
  // Without an `open` record, the side starts at the first record's offset.
  const bool first = !connection.introduced && side.offset == 0 && side.recorded_bytes == 0;
  const bool has_offset = !header.is(Kind::open) && !header.is(Kind::close);
  if (has_offset && !first && event.fresh_offset() > side.offset) {
    // The reader reports no loss here if retention deleted the segment during the read.
    add_gap({side.offset, event.fresh_offset() - side.offset, 0}, side);
  }
  if (header.is(Kind::data)) {
    if (first) side.begin = event.fresh_offset();
    side.recorded_bytes += event.fresh().size();
    side.offset = event.fresh_offset() + event.fresh().size();
  } else if (header.is(Kind::gap)) {
    if (first) side.begin = event.fresh_offset();
    const GapInfo info = *decode_gap(event.payload);
    add_gap({event.fresh_offset(), info.bytes - event.effect.skip_bytes, info.reason}, side);
  } else if (header.is(Kind::eof) || header.is(Kind::reset)) {
    side.ended = header.is(Kind::eof) ? SideEnd::eof : SideEnd::reset;
  } else if (header.is(Kind::close)) {
    connection.closed = true;
    connection.reason = decode_close(event.payload)->reason;
  }
}

void ConnectionTable::add_gap(const Gap& gap, SideSummary& side) {
  side.offset = gap.offset + gap.bytes;
  if (gap.bytes == 0) return;
  ++side.gaps;
  side.gap_bytes += gap.bytes;
  if (listed_gaps_ == kMostListedGaps || keeps_ == Keeps::chain) return;
  ++listed_gaps_;
  side.listed_gaps.push_back(gap);
}

void ConnectionTable::forget(const Connection& connection, const At& at) {
  if (at.chain_index != chain_index_) return;
  const auto found = numbers_.find(connection.number);
  if (found == numbers_.end()) return;
  text_bytes_ -= std::min(text_bytes_, text_bytes(connection.info));
  connections_.erase(found->second);
  numbers_.erase(found);
}

Result<Connection*> ConnectionTable::find_or_add(std::uint64_t number, const At& at) {
  const auto found = numbers_.find(number);
  if (found != numbers_.end()) return &*found->second;
  if (connections_.size() == most_connections_) {
    return Error{0, "more than " + std::to_string(most_connections_) +
                        " connections: name fewer segments at a time"};
  }
  Connection& added = connections_.emplace_back();
  numbers_[number] = std::prev(connections_.end());
  added.number = number;
  added.info.id = id_without_open(at.chain, number);
  return &added;
}

Result<> ConnectionTable::introduce(const Event& event, Connection& connection) {
  OpenInfo info = *decode_open(event.payload);
  text_bytes_ += text_bytes(info);
  if (text_bytes_ > kMostTextBytes) {
    return Error{0, "the connections' names are too long: name fewer segments at a time"};
  }
  const bool goes_on = std::exchange(connection.introduced, true);
  for (std::size_t i = 0; i < info.so_far.size(); ++i) {
    SideSummary& side = connection.sides[i];
    if (!event.header.continued() || goes_on || side.offset != 0) continue;
    side.begin = side.offset = info.so_far[i].offset;
    side.ended = info.so_far[i].ended;
  }
  connection.info = std::move(info);
  return {};
}

}  // namespace sluice::capture
