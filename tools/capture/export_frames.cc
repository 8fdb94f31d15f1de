#include "tools/capture/export_frames.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "tools/common/text.h"

namespace sluice::capture {
namespace {

constexpr std::size_t index_of(Side side) { return static_cast<std::size_t>(side); }
constexpr Side other(Side side) { return side == Side::client ? Side::upstream : Side::client; }

SocketAddress ipv4(std::uint32_t address, std::uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(address);
  v4.sin_port = htons(port);
  return SocketAddress(v4);
}

// The address of a client that has none: in 198.18.0.0/15 (RFC 2544), a different one for each
// connection.
SocketAddress nameless_client(std::uint64_t number) {
  constexpr std::uint32_t kFirst = 0xC6120001;
  constexpr std::uint32_t kAddresses = (1 << 17) - 2;
  constexpr std::uint16_t kFirstPort = 1024;
  constexpr std::uint64_t kPorts = 65536 - kFirstPort;
  return ipv4(kFirst + static_cast<std::uint32_t>(number / kPorts % kAddresses),
              static_cast<std::uint16_t>(kFirstPort + number % kPorts));
}

// The address of an upstream that has none: in 192.0.2.0/24 (RFC 5737), by its kind.
SocketAddress nameless_upstream(const Result<TargetAddress>& target) {
  constexpr std::uint32_t kFirst = 0xC0000200;
  constexpr std::uint16_t kEchoPort = 7, kDiscardPort = 9;
  if (!target) return ipv4(kFirst + 5, 1);
  if (std::holds_alternative<UnixEndpoint>(*target)) return ipv4(kFirst + 1, 1);
  if (std::holds_alternative<FileEndpoint>(*target)) return ipv4(kFirst + 2, 1);
  if (std::holds_alternative<DiscardEndpoint>(*target)) return ipv4(kFirst + 3, kDiscardPort);
  if (std::holds_alternative<EchoEndpoint>(*target)) return ipv4(kFirst + 4, kEchoPort);
  return ipv4(kFirst + 5, 1);
}

template <class Address>
std::optional<SocketAddress> numeric(const Result<Address>& address) {
  const HostPort* host = address ? std::get_if<HostPort>(&*address) : nullptr;
  if (host == nullptr) return std::nullopt;
  const Result<SocketAddress> found = numeric_address(*host);
  return found ? std::optional(*found) : std::nullopt;
}

std::string description(const Connection& connection) {
  const OpenInfo& info = connection.info;
  std::string text = "connection " + info.id;
  if (connection.introduced) {
    text += ", route " + info.route + ", " + info.client + " > " + info.upstream;
  }
  // A reader of the file may print the text on a terminal.
  constexpr std::size_t kMostBytes = 1000;
  return printable(text.substr(0, kMostBytes));
}

}  // namespace

// Sequence numbers differ even between consecutive connections of the same two peers, also in
// different runs. A SYN with the number of the previous one would look like its retransmission.
// With an odd step, numbers repeat only after 2^32 steps.
PeerNames::Peers PeerNames::take(const OpenInfo& connection) {
  constexpr std::uint32_t kStep = 0x9E3779B1;
  Peers peers = addresses_of(connection);
  for (std::uint32_t& sequence : peers.sequences) sequence = taken_++ * kStep;
  return peers;
}

PeerNames::Peers PeerNames::addresses_of(const OpenInfo& connection) {
  const Result<TargetAddress> target = parse_target_address(connection.upstream);
  const SocketAddress upstream = numeric(target).value_or(nameless_upstream(target));
  const std::optional<SocketAddress> client = numeric(parse_listen_address(connection.client));
  const auto key_of = [&](const SocketAddress& from) {
    return from.to_string() + '>' + upstream.to_string();
  };
  if (client && alive_.insert(key_of(*client)).second) return {*client, upstream, key_of(*client)};
  while (true) {
    const SocketAddress nameless = nameless_client(nameless_++);
    if (alive_.insert(key_of(nameless)).second) return {nameless, upstream, key_of(nameless)};
  }
}

// The exported part of one direction of a connection.
struct FrameExport::Stream {
  std::uint32_t first = 0;           // the SYN's sequence number
  std::uint64_t offset = 0;          // offset behind the last exported byte
  std::uint64_t unacknowledged = 0;  // bytes, plus one for its end
  bool finished = false;             // its FIN was sent
  std::uint64_t dropped = 0;         // frames missing since the last exported one
  std::string comment;               // about the missing frames
};

struct FrameExport::Exported {
  Exported(const Connection& of, PeerNames::Peers peers, std::size_t mtu_bytes)
      : connection(of), path(peers.client, peers.upstream, mtu_bytes), key(std::move(peers.key)) {
    for (std::size_t side = 0; side < streams.size(); ++side) {
      streams[side].first = peers.sequences[side];
      streams[side].offset = of.sides[side].begin;
    }
  }
  Stream& of(Side side) { return streams[index_of(side)]; }

  const Connection& connection;
  TcpPath path;
  std::string key;
  std::array<Stream, 2> streams;  // by Side
  bool passes = true;             // the current record passes the time filter
  bool described = false;         // its first frame, which describes it, was written
  bool reset = false;
};

FrameExport::FrameExport(const Invocation& invocation, const Chain& chain, PeerNames& names,
                         PcapngWriter& writer)
    : invocation_(invocation),
      names_(names),
      writer_(writer),
      interface_(writer.add_interface(chain.run + " worker " + std::to_string(chain.worker))) {}

FrameExport::~FrameExport() = default;

Result<> FrameExport::take(const Event& event, const At& at) {
  const Result<Connection*> taken = table_.take(event, at);
  if (!taken) return taken.error();
  const Connection* connection = *taken;
  if (connection == nullptr) return {};
  Exported* exported = find_or_begin(*connection);
  if (event.type == Event::Type::finding) {
    if (exported == nullptr) return {};
    const Finding& finding = event.finding;
    missing({finding.stream_offset, finding.bytes, 0}, finding.side, *exported);
    return {};
  }
  wall_ns_ = event.header.wall_ns;
  if (exported != nullptr) {
    exported->passes = invocation_.filter.takes_time(wall_ns_);
    take_record(event, *exported);
  }
  if (connection->closed) {
    if (exported != nullptr) names_.free(exported->key);
    exported_.erase(connection->number);
    table_.forget(*connection, at);
  }
  return {};
}

void FrameExport::finish() {
  for (const auto& [number, exported] : exported_) {
    if (exported) names_.free(exported->key);
  }
  exported_.clear();
  writer_.write(interface_, statistics_);
}

// Null if the connection does not pass the filter.
FrameExport::Exported* FrameExport::find_or_begin(const Connection& connection) {
  // A later `open` record may still name its peers.
  if (!connection.introduced && !invocation_.filter.takes(connection.info)) return nullptr;
  const auto [place, is_new] = exported_.try_emplace(connection.number);
  if (is_new && invocation_.filter.takes(connection.info)) {
    place->second =
        std::make_unique<Exported>(connection, names_.take(connection.info), invocation_.mtu_bytes);
  }
  return place->second.get();
}

void FrameExport::take_record(const Event& event, Exported& exported) {
  const RecordHeader& header = event.header;
  switch (static_cast<Kind>(header.kind)) {
    case Kind::open:
      // A connection without its beginning gets no handshake, as if a sniffer had started late.
      if (exported.streams[0].offset == 0 && exported.streams[1].offset == 0) {
        shake_hands(exported);
      }
      break;
    case Kind::data:
      send_data(event, exported);
      break;
    case Kind::gap: {
      const GapInfo gap = *decode_gap(event.payload);
      missing({event.fresh_offset(), gap.bytes - event.effect.skip_bytes, gap.reason},
              header.side(), exported);
      break;
    }
    case Kind::eof:
      end(header.side(), TcpSegment::kFin, exported);
      break;
    case Kind::reset:
      end(header.side(), TcpSegment::kRst, exported);
      break;
    case Kind::close:
      close(*decode_close(event.payload), exported);
      break;
    default:
      break;
  }
}

void FrameExport::missing(const Gap& gap, Side side, Exported& exported) {
  Stream& stream = exported.of(side);
  stream.offset = gap.offset + gap.bytes;
  const bool wanted = !invocation_.side || *invocation_.side == side;
  if (gap.bytes == 0 || !exported.passes || !wanted) return;
  stream.dropped += (gap.bytes - 1) / exported.path.most_payload_bytes() + 1;
  constexpr std::size_t kMostCommentBytes = 1024;
  if (stream.comment.size() > kMostCommentBytes) return;
  if (!stream.comment.empty()) stream.comment += "; ";
  stream.comment += std::to_string(gap.bytes) + " bytes from offset " + std::to_string(gap.offset) +
                    " on are missing: " + reason_name(gap.reason);
}

void FrameExport::shake_hands(Exported& exported) {
  // A SYN has the sequence number before the first byte's.
  send(Side::client, TcpSegment::kSyn, ~std::uint64_t{0}, {}, exported);
  send(Side::upstream, TcpSegment::kSyn | TcpSegment::kAck, ~std::uint64_t{0}, {}, exported);
  acknowledge(Side::client, exported);
}

void FrameExport::send_data(const Event& event, Exported& exported) {
  const Side side = event.header.side();
  Stream& stream = exported.of(side);
  std::span<const std::byte> bytes = event.fresh();
  std::uint64_t offset = event.fresh_offset();
  stream.offset = offset + bytes.size();
  if (invocation_.side && *invocation_.side != side) return;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), exported.path.most_payload_bytes()));
    bytes = bytes.subspan(part.size());
    const std::uint8_t push = bytes.empty() ? TcpSegment::kPsh : std::uint8_t{0};
    send(side, TcpSegment::kAck | push, offset, part, exported);
    offset += part.size();
  }
  // Long before the window of 1 GiB is full.
  constexpr std::uint64_t kAcknowledgeEvery = 256 << 10;
  stream.unacknowledged += event.fresh().size();
  if (stream.unacknowledged >= kAcknowledgeEvery) acknowledge(other(side), exported);
}

void FrameExport::acknowledge(Side from, Exported& exported) {
  const Stream& stream = exported.of(from);
  send(from, TcpSegment::kAck, stream.offset + (stream.finished ? 1 : 0), {}, exported);
}

void FrameExport::end(Side from, std::uint8_t flag, Exported& exported) {
  Stream& stream = exported.of(from);
  if (stream.finished || exported.reset) return;
  send(from, flag | TcpSegment::kAck, stream.offset, {}, exported);
  (flag == TcpSegment::kFin ? stream.finished : exported.reset) = true;
  ++stream.unacknowledged;
}

void FrameExport::close(const CloseInfo& info, Exported& exported) {
  // Ends the sides that have no end of their own. For a side that was not recorded, only the reason
  // says how it ended; sluice itself ended the others.
  for (const Side side : {Side::client, Side::upstream}) {
    const SideEnd ended = info.sides[index_of(side)].ended;
    const bool in_order =
        ended == SideEnd::eof || (ended == SideEnd::none && info.reason == "closed");
    if (!exported.of(side).finished) {
      end(side, in_order ? TcpSegment::kFin : TcpSegment::kRst, exported);
    }
  }
  if (exported.reset) return;
  for (const Side side : {Side::client, Side::upstream}) {
    if (exported.of(other(side)).unacknowledged > 0) acknowledge(side, exported);
  }
}

void FrameExport::send(Side from, std::uint8_t flags, std::uint64_t offset,
                       std::span<const std::byte> payload, Exported& exported) {
  Stream& stream = exported.of(from);
  Stream& opposite = exported.of(other(from));
  opposite.unacknowledged = 0;
  if (!exported.passes) return;
  const bool has_ack = (flags & TcpSegment::kAck) != 0;
  const bool is_pure_ack = flags == TcpSegment::kAck && payload.empty();
  // TCP's numbers are modulo 2^32.
  const auto sequence = static_cast<std::uint32_t>(stream.first + 1 + offset);
  const auto acknowledged = static_cast<std::uint32_t>(opposite.first + 1 + opposite.offset +
                                                       (opposite.finished ? 1 : 0));
  TcpPath::Head head{};
  PcapngWriter::Frame frame;
  frame.head =
      exported.path.head({from, sequence, has_ack ? acknowledged : 0, flags, payload}, head);
  frame.payload = payload;
  frame.interface = interface_;
  frame.wall_ns = wall_ns_;
  frame.direction =
      from == Side::client ? PcapngWriter::Direction::inbound : PcapngWriter::Direction::outbound;
  std::string comment;
  if (!std::exchange(exported.described, true)) comment = description(exported.connection);
  if (!is_pure_ack) {
    frame.dropped = std::exchange(stream.dropped, 0);
    if (!comment.empty() && !stream.comment.empty()) comment += "; ";
    comment += std::exchange(stream.comment, {});
  }
  frame.comment = comment;
  writer_.write(frame);
  if (statistics_.frames++ == 0) statistics_.first_ns = wall_ns_;
  statistics_.first_ns = std::min(statistics_.first_ns, wall_ns_);
  statistics_.last_ns = std::max(statistics_.last_ns, wall_ns_);
  statistics_.dropped += frame.dropped;
}

}  // namespace sluice::capture
