#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "iolib/disk/disk.h"
#include "iolib/disk/volume.h"
#include "iolib/reactor/reactor.h"

namespace sluice::test {

using Random = std::mt19937_64;

/// True with a probability of `percent` %.
[[nodiscard]] bool chance(Random& random, unsigned percent);

/// A reactor for tests without descriptors. Its owner makes each turn happen, and time passes only
/// in turns.
class ManualReactor final : public Reactor {
 public:
  /// `deliver` is called in each turn to hand out completions; it returns whether some are left.
  void set_deliver(std::function<bool()> deliver) { deliver_ = std::move(deliver); }
  /// One turn. If nothing is left to deliver, time moves on to the next timer.
  void step();
  /// Moves the time on, then takes one turn.
  void pass(Duration time);

  void receive(int fd, Operation& operation, std::size_t max_bytes) override;
  void wait_readable(int fd, Operation& operation) override;
  void wait_writable(int fd, Operation& operation) override;
  void wait_end(int fd, Operation& operation) override;
  void watch_errors(int fd, Operation& operation) override;
  void accept(int listener, Operation& operation) override;
  void accept_one(int listener, Operation& operation) override;
  void cancel(Operation& operation) override;
  void forget(int fd) override;

 private:
  [[nodiscard]] bool turn(std::optional<TimePoint> deadline) override;

  std::function<bool()> deliver_;
  Operation* mailbox_ = nullptr;
  bool passing_ = false;
};

/// What goes wrong with one call.
struct Fault {
  enum class Kind : std::uint8_t {
    none,
    fails,        ///< with `error`; part of it may have happened
    short_write,  ///< some sectors are missing
    // Faults that the caller cannot notice:
    lost,         ///< nothing is written
    torn,         ///< some sectors are not written
    misdirected,  ///< it is written elsewhere
    unsynced,     ///< nothing is flushed
  };
  Kind kind = Kind::none;
  int error = 0;
};

enum class DiskCall : std::uint8_t {
  write,
  sync,
  create,
  preallocate,
  volume_write,
  volume_sync,
  truncate,
  rename,
  remove,
  sync_names,
  // These change nothing on the disk.
  list,
  next_data,
  open_existing,
  read,
};

/// An adversarial disk in memory, with a volatile cache and a directory. Requests complete in any
/// order. A power cut keeps, loses or tears unflushed data, block by block. Seeded, so that a run
/// can be repeated. For one thread.
class SimulatedDisk final : public Disk, public Volume {
 public:
  using Bytes = std::vector<std::byte>;
  using Files = std::map<std::string, Bytes>;
  static constexpr std::size_t kBlockBytes = 4096;
  static constexpr std::size_t kSectorBytes = 512;
  /// For a Store on it: a real pause would take real time, which the simulation does not have.
  static constexpr std::uint64_t kZeroingRate = std::uint64_t{1} << 50;

  /// What a power cut left of a file.
  struct Remains {
    Bytes bytes;
    const Bytes* written = nullptr;  ///< the intended contents; valid until the disk changes
  };

  explicit SimulatedDisk(std::uint64_t seed) : random_(seed) {}
  SimulatedDisk(std::uint64_t seed, const Files& files);

  /// Called before each call that can fail; calls are numbered from 0.
  void set_on_call(std::function<Fault(DiskCall, std::uint64_t index)> on_call) {
    on_call_ = std::move(on_call);
  }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  /// Some call lied.
  [[nodiscard]] bool lied() const { return lied_; }
  /// While it is stalled no request completes.
  void set_stalled(bool stalled) { stalled_ = stalled; }
  /// Completes some requests in flight, in any order; true if more are left. For ManualReactor.
  bool deliver();
  [[nodiscard]] std::size_t in_flight() const { return writes_.size() + jobs_.size(); }
  /// The size of the largest file that can be created; a larger one fails with ENOSPC.
  void set_free_bytes(std::uint64_t free_bytes) { free_bytes_ = free_bytes; }

  /// The files as programs see them.
  [[nodiscard]] Files files() const;
  /// The files after a power cut at this moment. Does not change the disk.
  [[nodiscard]] std::map<std::string, Remains> crash(std::uint64_t seed) const;

  // Disk
  void write(int file, std::span<const std::byte> bytes, std::uint64_t offset, Durable durable,
             Operation& operation) override;
  void sync(int file, Operation& operation) override;
  void run(std::function<int()> work, Operation& operation) override;

  // Volume
  [[nodiscard]] std::size_t grid_bytes() const override { return kBlockBytes; }
  [[nodiscard]] Result<int> create(const std::string& name) override;
  [[nodiscard]] bool holds(int file, const std::string& name) override;
  [[nodiscard]] Result<int> open_existing(const std::string& name) override;
  [[nodiscard]] Result<std::size_t> read(int file, std::span<std::byte> bytes,
                                         std::uint64_t offset) override;
  [[nodiscard]] Result<std::uint64_t> next_data(int file, std::uint64_t offset) override;
  [[nodiscard]] Result<std::uint64_t> free_bytes() override;
  [[nodiscard]] Result<> preallocate(int file, std::uint64_t size_bytes) override;
  [[nodiscard]] Result<> write(int file, std::span<const std::byte> bytes,
                               std::uint64_t offset) override;
  [[nodiscard]] Result<> sync(int file) override;
  [[nodiscard]] Result<> truncate(int file, std::uint64_t size_bytes) override;
  void close(int file) override;
  [[nodiscard]] Result<> rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] Result<> remove(const std::string& name) override;
  [[nodiscard]] Result<> sync_names() override;
  [[nodiscard]] Result<std::vector<Entry>> list() override;

 private:
  struct Node {
    Bytes seen;                   ///< by programs
    Bytes stable;                 ///< survives a power cut for sure
    std::set<std::size_t> dirty;  ///< blocks of `seen` that a power cut keeps or loses
    Bytes written;                ///< the intended contents
  };
  using NodePtr = std::shared_ptr<Node>;
  using Names = std::map<std::string, NodePtr>;
  struct NameChange {
    NodePtr node;
    std::string from;  ///< empty: it is created
    std::string to;    ///< empty: it is removed
  };
  struct Request {
    Operation* operation;
    NodePtr node;
    std::span<const std::byte> bytes;  ///< empty: a flush
    std::uint64_t offset = 0;
    bool durable = false;
    std::set<std::size_t> covered;  ///< by a flush
    std::size_t size_bytes = 0;     ///< of the file, covered by a flush
    Fault fault;
  };
  struct Job {
    Operation* operation;
    std::function<int()> work;
  };

  Fault begin_call(DiskCall call);
  [[nodiscard]] int complete_write(Request& request);
  [[nodiscard]] int complete_flush(const Request& request);
  void put(Node& node, std::span<const std::byte> bytes, std::uint64_t offset, bool durable);
  void put_sectors(Node& node, std::span<const std::byte> bytes, std::uint64_t offset,
                   bool durable);
  void misdirect(std::span<const std::byte> bytes);
  static void flush(Node& node, const std::set<std::size_t>& blocks, std::size_t size_bytes);
  void fail_flush(Node& node);
  [[nodiscard]] Node& node(int file) { return *open_.at(static_cast<std::size_t>(file)); }

  Random random_;
  std::function<Fault(DiskCall, std::uint64_t)> on_call_;
  std::uint64_t calls_ = 0;
  bool lied_ = false;
  bool stalled_ = false;
  std::uint64_t free_bytes_ = ~std::uint64_t{0};
  std::vector<Request> writes_;
  std::deque<Job> jobs_;
  std::vector<NodePtr> open_;
  Names names_;
  Names stable_names_;
  std::vector<NameChange> name_changes_;
  std::map<std::string, std::int64_t> changed_;
  std::int64_t clock_ = 0;
};

}  // namespace sluice::test
