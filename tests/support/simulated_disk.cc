#include "tests/support/simulated_disk.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace sluice::test {
namespace {

// Lets this file complete an operation, as a Disk does.
struct Completer : Disk {
  using Disk::finish;
};

constexpr Duration kTurn = std::chrono::microseconds(50);

using Bytes = SimulatedDisk::Bytes;

void copy_range(const Bytes& from, Bytes& to, std::size_t begin, std::size_t end) {
  end = std::min({end, from.size(), to.size()});
  if (begin < end)
    std::copy(from.begin() + static_cast<std::ptrdiff_t>(begin),
              from.begin() + static_cast<std::ptrdiff_t>(end),
              to.begin() + static_cast<std::ptrdiff_t>(begin));
}

}  // namespace

bool chance(Random& random, unsigned percent) { return random() % 100 < percent; }

// --- ManualReactor ---

void ManualReactor::step() {
  stop();
  run();
}

void ManualReactor::pass(Duration time) {
  refresh_now(now() + time);
  passing_ = true;
  step();
  passing_ = false;
}

bool ManualReactor::turn(std::optional<TimePoint> deadline) {
  if (mailbox_ != nullptr) finish(*std::exchange(mailbox_, nullptr), {POLLIN, false, {}});
  const bool busy = deliver_ && deliver_();
  if (busy || passing_ || !deadline) {
    refresh_now(now() + kTurn);
  } else {
    refresh_now(std::max(now(), *deadline));
  }
  return false;
}

void ManualReactor::wait_readable(int fd, Operation& operation) {
  prepare(operation, fd, 0);
  mailbox_ = &operation;
}
// Tests that have descriptors do not use this reactor.
void ManualReactor::receive(int /*fd*/, Operation& /*operation*/, std::size_t /*max*/) {
  std::abort();
}
void ManualReactor::wait_writable(int /*fd*/, Operation& /*operation*/) { std::abort(); }
void ManualReactor::wait_end(int /*fd*/, Operation& /*operation*/) { std::abort(); }
void ManualReactor::watch_errors(int /*fd*/, Operation& /*operation*/) { std::abort(); }
void ManualReactor::accept(int /*listener*/, Operation& /*operation*/) { std::abort(); }
void ManualReactor::accept_one(int /*listener*/, Operation& /*operation*/) { std::abort(); }
void ManualReactor::cancel(Operation& /*operation*/) { std::abort(); }
void ManualReactor::forget(int /*fd*/) {}

// --- SimulatedDisk: requests ---

SimulatedDisk::SimulatedDisk(std::uint64_t seed, const Files& files) : random_(seed) {
  for (const auto& [name, bytes] : files) {
    names_[name] = std::make_shared<Node>(Node{bytes, bytes, {}, bytes});
    changed_[name] = ++clock_;
  }
  stable_names_ = names_;
}

Fault SimulatedDisk::begin_call(DiskCall call) {
  const std::uint64_t index = calls_++;
  const Fault fault = on_call_ ? on_call_(call, index) : Fault{};
  lied_ |= fault.kind >= Fault::Kind::lost;
  return fault;
}

void SimulatedDisk::write(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                          Durable durable, Operation& operation) {
  begin(operation);
  const Fault fault = begin_call(DiskCall::write);
  writes_.push_back({.operation = &operation,
                     .node = open_.at(static_cast<std::size_t>(file)),
                     .bytes = bytes,
                     .offset = offset,
                     .durable = durable == Durable::yes,
                     .covered = {},
                     .fault = fault});
}

// Covers the writes that had completed when it began, and no others.
void SimulatedDisk::sync(int file, Operation& operation) {
  begin(operation);
  const Fault fault = begin_call(DiskCall::sync);
  const NodePtr& synced = open_.at(static_cast<std::size_t>(file));
  writes_.push_back({.operation = &operation,
                     .node = synced,
                     .bytes = {},
                     .covered = synced->dirty,
                     .size_bytes = synced->seen.size(),
                     .fault = fault});
}

void SimulatedDisk::run(std::function<int()> work, Operation& operation) {
  begin(operation);
  jobs_.push_back({&operation, std::move(work)});
}

bool SimulatedDisk::deliver() {
  if (stalled_) return false;
  for (std::size_t left = in_flight() == 0 ? 0 : 1 + random_() % in_flight(); left > 0; --left) {
    const std::size_t chosen = random_() % (writes_.size() + (jobs_.empty() ? 0 : 1));
    if (chosen == writes_.size()) {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      finish(*job.operation, job.work());
    } else {
      Request request = std::move(writes_[chosen]);
      writes_.erase(writes_.begin() + static_cast<std::ptrdiff_t>(chosen));
      const int result = request.bytes.empty() ? complete_flush(request) : complete_write(request);
      finish(*request.operation, result);
    }
    if (in_flight() == 0) break;
  }
  return in_flight() > 0;
}

int SimulatedDisk::complete_write(Request& request) {
  Node& target = *request.node;
  std::span<const std::byte> bytes = request.bytes;
  switch (request.fault.kind) {
    case Fault::Kind::fails:
      if (request.fault.error != EAGAIN) put_sectors(target, bytes, request.offset, false);
      return -request.fault.error;
    case Fault::Kind::short_write:
      bytes = bytes.first((1 + random_() % (bytes.size() / kSectorBytes - 1)) * kSectorBytes);
      break;
    default:
      break;
  }
  const std::size_t end = request.offset + bytes.size();
  target.written.resize(std::max(target.written.size(), end));
  std::ranges::copy(bytes, target.written.begin() + static_cast<std::ptrdiff_t>(request.offset));
  switch (request.fault.kind) {
    case Fault::Kind::lost:
      break;
    case Fault::Kind::torn:
      put_sectors(target, bytes, request.offset, request.durable);
      break;
    case Fault::Kind::misdirected:
      misdirect(bytes);
      break;
    default:
      put(target, bytes, request.offset,
          request.durable && request.fault.kind != Fault::Kind::unsynced);
  }
  return static_cast<int>(bytes.size());
}

int SimulatedDisk::complete_flush(const Request& request) {
  if (request.fault.kind == Fault::Kind::fails) {
    fail_flush(*request.node);
    return -request.fault.error;
  }
  if (request.fault.kind != Fault::Kind::unsynced) {
    flush(*request.node, request.covered, request.size_bytes);
  }
  return 0;
}

void SimulatedDisk::put(Node& node, std::span<const std::byte> bytes, std::uint64_t offset,
                        bool durable) {
  const std::size_t end = offset + bytes.size();
  node.seen.resize(std::max(node.seen.size(), end));
  std::ranges::copy(bytes, node.seen.begin() + static_cast<std::ptrdiff_t>(offset));
  std::set<std::size_t> blocks;
  for (std::size_t at = offset / kBlockBytes * kBlockBytes; at < end; at += kBlockBytes) {
    blocks.insert(at / kBlockBytes);
  }
  node.dirty.insert(blocks.begin(), blocks.end());
  if (durable) flush(node, blocks, node.seen.size());
}

// Writes some of the sectors.
void SimulatedDisk::put_sectors(Node& node, std::span<const std::byte> bytes, std::uint64_t offset,
                                bool durable) {
  for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
    const auto part = bytes.subspan(at, std::min(kSectorBytes, bytes.size() - at));
    if (chance(random_, 50)) put(node, part, offset + at, durable);
  }
}

// Overwrites any block of any file, durably.
void SimulatedDisk::misdirect(std::span<const std::byte> bytes) {
  auto victim = names_.begin();
  std::advance(victim, static_cast<std::ptrdiff_t>(random_() % names_.size()));
  Node& node = *victim->second;
  const std::size_t blocks = node.seen.size() / kBlockBytes;
  if (blocks == 0) return;
  const std::size_t at = random_() % blocks * kBlockBytes;
  for (std::size_t i = 0; i < bytes.size() && at + i < node.seen.size(); ++i) {
    node.seen[at + i] = bytes[i];
    if (at + i < node.stable.size()) node.stable[at + i] = bytes[i];
  }
}

void SimulatedDisk::flush(Node& node, const std::set<std::size_t>& blocks, std::size_t size_bytes) {
  node.stable.resize(size_bytes);
  for (const std::size_t block : blocks) {
    copy_range(node.seen, node.stable, block * kBlockBytes, (block + 1) * kBlockBytes);
    node.dirty.erase(block);
  }
}

// Like the kernel: pages that could not be written count as clean from now on.
void SimulatedDisk::fail_flush(Node& node) {
  std::set<std::size_t> arrived;
  for (const std::size_t block : node.dirty) {
    if (chance(random_, 50)) arrived.insert(block);
  }
  flush(node, arrived, std::max(node.stable.size(), node.seen.size()));
  node.dirty.clear();
}

// --- SimulatedDisk: a power cut ---

SimulatedDisk::Files SimulatedDisk::files() const {
  Files files;
  for (const auto& [name, node] : names_) files[name] = node->seen;
  return files;
}

std::map<std::string, SimulatedDisk::Remains> SimulatedDisk::crash(std::uint64_t seed) const {
  Random random(seed);
  // Keeps most of it, loses most of it, or any mixture; whole blocks or torn ones.
  const unsigned kept = std::array<unsigned, 4>{0, 20, 80, 100}[random() % 4];
  const unsigned torn = std::array<unsigned, 2>{0, 30}[random() % 2];
  Names names = stable_names_;
  std::set<const Node*> behind;
  for (const NameChange& change : name_changes_) {
    if (behind.contains(change.node.get()) || !chance(random, kept)) {
      behind.insert(change.node.get());
      continue;
    }
    if (!change.from.empty()) names.erase(change.from);
    if (!change.to.empty()) names[change.to] = change.node;
  }
  const auto leave = [&](Bytes& bytes, std::span<const std::byte> block, std::size_t at) {
    const bool in_sectors = chance(random, torn);
    const bool whole = chance(random, kept);
    if (!in_sectors && !whole) return;
    for (std::size_t i = 0; i < block.size(); i += kSectorBytes) {
      if (in_sectors && chance(random, 50)) continue;
      const auto sector = block.subspan(i, std::min(kSectorBytes, block.size() - i));
      bytes.resize(std::max(bytes.size(), at + i + sector.size()));
      std::ranges::copy(sector, bytes.begin() + static_cast<std::ptrdiff_t>(at + i));
    }
  };
  std::map<std::string, Remains> all;
  for (const auto& [name, node] : names) {
    Remains remains{node->stable, &node->written};
    Bytes& bytes = remains.bytes;
    if (node->seen.size() != bytes.size() && chance(random, kept)) bytes.resize(node->seen.size());
    for (const std::size_t block : node->dirty) {
      const std::size_t at = block * kBlockBytes;
      if (at >= bytes.size()) continue;
      leave(bytes, std::span(node->seen).subspan(at, std::min(kBlockBytes, node->seen.size() - at)),
            at);
    }
    for (const Request& request : writes_) {
      if (request.node != node) continue;
      for (std::size_t at = 0; at < request.bytes.size(); at += kBlockBytes) {
        leave(bytes, request.bytes.subspan(at, std::min(kBlockBytes, request.bytes.size() - at)),
              request.offset + at);
      }
    }
    all.emplace(name, std::move(remains));
  }
  return all;
}

// --- SimulatedDisk: the directory ---

Result<int> SimulatedDisk::create(const std::string& name) {
  const Fault fault = begin_call(DiskCall::create);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "create " + name};
  if (names_.contains(name)) return Error{EEXIST, "create " + name};
  auto node = std::make_shared<Node>();
  names_[name] = node;
  changed_[name] = ++clock_;
  name_changes_.push_back({node, "", name});
  open_.push_back(std::move(node));
  return {boost::system::in_place_value, static_cast<int>(open_.size() - 1)};
}

bool SimulatedDisk::holds(int file, const std::string& name) {
  const auto found = names_.find(name);
  return found != names_.end() && found->second == open_.at(static_cast<std::size_t>(file));
}

Result<int> SimulatedDisk::open_existing(const std::string& name) {
  const Fault fault = begin_call(DiskCall::open_existing);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "open " + name};
  const auto found = names_.find(name);
  if (found == names_.end()) return Error{ENOENT, "open " + name};
  open_.push_back(found->second);
  return {boost::system::in_place_value, static_cast<int>(open_.size() - 1)};
}

Result<std::size_t> SimulatedDisk::read(int file, std::span<std::byte> bytes,
                                        std::uint64_t offset) {
  // As for writes, a short call is followed by the next.
  const Fault fault = begin_call(DiskCall::read);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "pread"};
  const Bytes& from = node(file).seen;
  if (offset >= from.size()) return {boost::system::in_place_value, 0};
  const std::size_t size = std::min<std::size_t>(bytes.size(), from.size() - offset);
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(offset), size, bytes.begin());
  return {boost::system::in_place_value, size};
}

// The simulation has no holes: everything is data.
Result<std::uint64_t> SimulatedDisk::next_data(int /*file*/, std::uint64_t offset) {
  const Fault fault = begin_call(DiskCall::next_data);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "lseek"};
  return {boost::system::in_place_value, offset};
}

Result<std::uint64_t> SimulatedDisk::free_bytes() {
  std::uint64_t used = 0;
  for (const auto& [name, node] : names_) used += node->seen.size();
  return {boost::system::in_place_value, free_bytes_ - std::min(free_bytes_, used)};
}

Result<> SimulatedDisk::preallocate(int file, std::uint64_t size_bytes) {
  const Fault fault = begin_call(DiskCall::preallocate);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "fallocate"};
  const Result<std::uint64_t> free = free_bytes();
  if (size_bytes > *free) return Error{ENOSPC, "fallocate"};
  node(file).seen.resize(size_bytes);
  return {};
}

Result<> SimulatedDisk::write(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  const Fault fault = begin_call(DiskCall::volume_write);
  Request request{.operation = nullptr,
                  .node = open_.at(static_cast<std::size_t>(file)),
                  .bytes = bytes,
                  .offset = offset,
                  .covered = {},
                  .fault = fault};
  // A volume's write continues where the call was short.
  if (fault.kind == Fault::Kind::short_write) request.fault = {};
  const int result = complete_write(request);
  if (result < 0) return Error{-result, "write"};
  return {};
}

Result<> SimulatedDisk::sync(int file) {
  const Fault fault = begin_call(DiskCall::volume_sync);
  if (fault.kind == Fault::Kind::fails) {
    fail_flush(node(file));
    return Error{fault.error, "fsync"};
  }
  if (fault.kind != Fault::Kind::unsynced) {
    flush(node(file), std::set(node(file).dirty), node(file).seen.size());
  }
  return {};
}

Result<> SimulatedDisk::truncate(int file, std::uint64_t size_bytes) {
  const Fault fault = begin_call(DiskCall::truncate);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "ftruncate"};
  Node& cut = node(file);
  cut.seen.resize(size_bytes);
  cut.dirty.erase(cut.dirty.lower_bound((size_bytes + kBlockBytes - 1) / kBlockBytes),
                  cut.dirty.end());
  return {};
}

void SimulatedDisk::close(int file) { open_.at(static_cast<std::size_t>(file)).reset(); }

Result<> SimulatedDisk::rename(const std::string& from, const std::string& to) {
  const Fault fault = begin_call(DiskCall::rename);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "rename " + from};
  const auto found = names_.find(from);
  if (found == names_.end()) return Error{ENOENT, "rename " + from};
  if (names_.contains(to)) return Error{EEXIST, "rename " + from};
  const NodePtr node = found->second;
  names_.erase(found);
  names_[to] = node;
  changed_[to] = ++clock_;
  name_changes_.push_back({node, from, to});
  return {};
}

Result<> SimulatedDisk::remove(const std::string& name) {
  const Fault fault = begin_call(DiskCall::remove);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "unlink " + name};
  const auto found = names_.find(name);
  if (found == names_.end()) return Error{ENOENT, "unlink " + name};
  name_changes_.push_back({found->second, name, ""});
  names_.erase(found);
  return {};
}

Result<> SimulatedDisk::sync_names() {
  const Fault fault = begin_call(DiskCall::sync_names);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "fsync directory"};
  if (fault.kind != Fault::Kind::unsynced) {
    stable_names_ = names_;
    name_changes_.clear();
  }
  return {};
}

Result<std::vector<Volume::Entry>> SimulatedDisk::list() {
  const Fault fault = begin_call(DiskCall::list);
  if (fault.kind == Fault::Kind::fails) return Error{fault.error, "read directory"};
  std::vector<Entry> entries;
  for (const auto& [name, node] : names_)
    entries.push_back({name, node->seen.size(), changed_[name]});
  return entries;
}

}  // namespace sluice::test
