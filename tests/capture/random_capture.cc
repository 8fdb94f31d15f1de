#include "tests/capture/random_capture.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/capture/chain_writer.h"

namespace sluice::capture {
namespace {

// The standard's distributions differ between libraries; its engines do not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  [[nodiscard]] bool one_in(std::uint64_t times) { return below(times) == 0; }
  template <class Container>
  [[nodiscard]] auto& pick(Container& from) {
    return from[below(from.size())];
  }

 private:
  std::mt19937_64 engine_;
};

// --- What was forwarded ---

// One chain, and the connections in it.
class Traffic {
 public:
  Traffic(Random& random, ChainWriter& writer, std::string run, std::uint32_t worker)
      : random_(random),
        writer_(writer),
        prefix_(run + '-' + std::to_string(worker) + '-'),
        drops_(random.one_in(4)) {}

  void step() {
    const std::uint64_t dice = random_.below(100);
    if (dice < 12 || alive_.empty()) {
      open();
    } else if (dice < 70) {
      move_bytes();
    } else if (dice < 76) {
      writer_.end_frame();
    } else if (dice < 82) {
      writer_.confirm();
    } else if (dice < 85) {
      writer_.rotate();
    } else if (dice < 86) {
      writer_.give_up();
    } else if (dice < 88) {
      mark();
    } else {
      end();
    }
  }

 private:
  struct Connection {
    std::uint64_t number = 0;
    std::uint8_t sides = 3;
    [[nodiscard]] bool has(Side side) const { return (sides >> static_cast<int>(side) & 1) != 0; }
  };

  void open() {
    Connection& connection = alive_.emplace_back();
    connection.number = ++opened_;
    if (random_.one_in(8)) connection.sides = static_cast<std::uint8_t>(1 + random_.below(2));
    OpenInfo info;
    info.id = prefix_ + std::to_string(connection.number);
    info.route = random_.one_in(5) ? "a route with \"quotes\" and \xC3\xA9" : "default";
    info.client = "10.0.0.1:" + std::to_string(random_.below(65536));
    info.upstream = random_.one_in(4) ? "discard:" : "[2001:db8::1]:80";
    info.sides = connection.sides;
    writer_.open(connection.number, info);
  }

  Bytes payload() {
    // Mostly short; sometimes more than a frame holds.
    Bytes bytes(1 + random_.below(random_.one_in(10) ? 20'000 : 800));
    const std::uint64_t kind = random_.below(4);
    const Bytes& written = writer_.files().back().bytes;
    if (kind == 0 && !written.empty()) {
      // Bytes of the capture itself, headers included, which must not mislead a reader.
      const std::size_t from = random_.below(written.size() / kGridBytes) * kGridBytes;
      bytes.resize(std::min(bytes.size(), written.size() - from));
      std::copy_n(written.begin() + static_cast<std::ptrdiff_t>(from), bytes.size(), bytes.begin());
    } else if (kind != 1) {
      std::ranges::generate(bytes, [this] { return static_cast<std::byte>(random_.below(256)); });
    }
    return bytes;
  }

  void move_bytes() {
    const Connection& connection = random_.pick(alive_);
    const Side side = random_.one_in(2) ? Side::client : Side::upstream;
    if (!connection.has(side) || writer_.state(connection.number, side).ended != SideEnd::none) {
      return;
    }
    if (drops_ && random_.one_in(8)) {
      const auto reason = static_cast<GapReason>(1 + random_.below(5));
      writer_.gap(connection.number, side, random_.below(8) == 0 ? 0 : 1 + random_.below(1 << 20),
                  reason);
    } else {
      writer_.data(connection.number, side, payload());
    }
  }

  // Records that belong to no stream. One of them is of a kind that no reader knows.
  void mark() {
    RecordHeader record;
    record.kind = random_.one_in(2) ? static_cast<std::uint8_t>(Kind::clock) : 77;
    writer_.append(record, record.kind == 77 ? Bytes(random_.below(100)) : Bytes());
  }

  void end() {
    const auto chosen = alive_.begin() + static_cast<std::ptrdiff_t>(random_.below(alive_.size()));
    for (const Side side : {Side::client, Side::upstream}) {
      const bool ended = writer_.state(chosen->number, side).ended != SideEnd::none;
      if (ended || !chosen->has(side) || random_.one_in(4)) continue;
      writer_.end(chosen->number, side, random_.one_in(4) ? SideEnd::reset : SideEnd::eof);
    }
    if (random_.one_in(3)) return;  // it may be half-closed
    writer_.close(chosen->number, random_.one_in(5) ? "client_reset" : "closed");
    alive_.erase(chosen);
  }

  Random& random_;
  ChainWriter& writer_;
  std::string prefix_;
  bool drops_;
  std::vector<Connection> alive_;
  std::uint64_t opened_ = 0;
};

std::vector<SegmentFile> record(Random& random) {
  std::vector<SegmentFile> files;
  const std::uint64_t runs = 1 + random.below(2);
  const std::uint64_t workers = 1 + random.below(2);
  for (std::uint64_t run = 0; run < runs; ++run) {
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
      const std::string name = "r" + std::to_string(run);
      const std::size_t frame_bytes = kGridBytes << random.below(4);
      ChainWriter writer({name, worker, frame_bytes, random.below(1U << 30)});
      Traffic traffic(random, writer, name, worker);
      for (std::uint64_t steps = random.below(60); steps > 0; --steps) traffic.step();
      if (random.one_in(3)) {
        writer.crash(random.one_in(3) ? SegmentState::sealed : SegmentState::open);
      } else {
        writer.finish();
      }
      files.insert(files.end(), writer.files().begin(), writer.files().end());
    }
  }
  return files;
}

// --- What became of it ---

std::size_t some_place(Random& random, const SegmentFile& file) {
  // Half of the places are in the last frame, where the tail is.
  const std::size_t from = random.one_in(2) && !file.frames.empty() ? file.frames.back() : 0;
  return from >= file.bytes.size() ? 0 : from + random.below(file.bytes.size() - from);
}

void flip(Random& random, SegmentFile& file) {
  if (!file.bytes.empty()) {
    file.bytes[some_place(random, file)] ^= static_cast<std::byte>(1U << random.below(8));
  }
}

void truncate(Random& random, SegmentFile& file) {
  std::size_t size = some_place(random, file);
  if (random.one_in(2)) size = size / 512 * 512;
  file.bytes.resize(size);
}

// Some sectors were never written.
void zero_sectors(Random& random, SegmentFile& file) {
  const std::size_t sector = random.one_in(2) ? 512 : kGridBytes;
  const std::size_t from = some_place(random, file) / sector * sector;
  const std::size_t size = random.one_in(3) ? file.bytes.size() : sector * (1 + random.below(3));
  const std::size_t end = std::min(file.bytes.size(), from + size);
  std::fill(file.bytes.begin() + static_cast<std::ptrdiff_t>(from),
            file.bytes.begin() + static_cast<std::ptrdiff_t>(end), std::byte{});
}

// A frame was written over another, or behind the last one.
void misdirect(Random& random, SegmentFile& file) {
  if (file.frames.empty()) return;
  const std::size_t from = random.pick(file.frames);
  const std::size_t to = random.one_in(2) ? file.bytes.size() : random.pick(file.frames);
  if (from >= file.bytes.size() || to > file.bytes.size()) return;
  const std::size_t size = std::min<std::size_t>(kGridBytes, file.bytes.size() - from);
  file.bytes.resize(std::max(file.bytes.size(), to + size));
  std::copy_n(file.bytes.begin() + static_cast<std::ptrdiff_t>(from), size,
              file.bytes.begin() + static_cast<std::ptrdiff_t>(to));
}

// Space was allocated ahead and never written.
void add_zeros(Random& random, SegmentFile& file) {
  file.bytes.resize(file.bytes.size() + 512 * (1 + random.below(40)));
}

void rename(Random& random, SegmentFile& file) {
  file.name.state = static_cast<SegmentState>(random.below(3));
}

void harm(Random& random, std::vector<SegmentFile>& files) {
  constexpr std::array kHarms = {flip,         flip,      flip,      truncate,
                                 zero_sectors, misdirect, add_zeros, rename};
  for (std::uint64_t times = 1 + random.below(3); times > 0 && !files.empty(); --times) {
    if (random.one_in(10)) {
      files.erase(files.begin() + static_cast<std::ptrdiff_t>(random.below(files.size())));
    } else {
      random.pick(kHarms)(random, random.pick(files));
    }
  }
}

}  // namespace

void write_random_capture(std::uint64_t seed, const std::string& directory) {
  Random random(seed);
  std::vector<SegmentFile> files = record(random);
  if (random.one_in(2)) harm(random, files);
  write_files(directory, files);
  write_file(directory + "/lock", {});
}

}  // namespace sluice::capture
