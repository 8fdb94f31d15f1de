#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/capture_rig.h"
#include "tests/support/simulated_disk.h"

namespace sluice::test {

/// Connections append random bytes through a recorder on a simulated disk. The model knows of each
/// byte whether it was appended, dropped or confirmed, and compares that with what a reader finds
/// after a power cut.
class CaptureModel {
 public:
  struct Options {
    std::uint64_t seed = 1;
    capture::RecorderOptions recorder;
    capture::Retention retention;
    unsigned faults_per_mille = 0;  ///< of all calls: errors, short writes
    unsigned lies_per_mille = 0;    ///< of all calls: faults that the caller cannot notice
    unsigned steps = 150;
    unsigned crashes_per_mille = 0;  ///< of all calls: the model checks what a power cut leaves
  };

  explicit CaptureModel(const Options& options);
  ~CaptureModel();

  /// Makes the call with this number fail, and all later ones too if `for_good`.
  void fail_call(std::uint64_t index, Fault fault, bool for_good);
  /// Runs all steps, then closes the recorder; false if the recorder had to give up.
  bool run();
  /// Cuts the power now, and checks what a reader finds.
  void crash();

  [[nodiscard]] std::uint64_t crashes() const { return crashes_; }
  [[nodiscard]] std::uint64_t calls() const { return disk_.calls(); }
  /// Checks in which a lie had destroyed confirmed bytes, and the reader reported it.
  [[nodiscard]] std::uint64_t damage_found() const { return damage_found_; }
  [[nodiscard]] std::uint64_t confirmed_bytes() const { return confirmed_bytes_; }
  /// Segments that the retention deleted, or tried to.
  [[nodiscard]] std::uint64_t deletions() const { return deletions_; }
  /// The first problem found; empty if there is none.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  struct Mark {
    std::uint64_t sequence = 0;
    std::uint64_t offset = 0;
  };
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  struct Stream {
    std::uint64_t appended = 0;
    std::uint64_t dropping_from = kNowhere;  ///< while it is being appended to
    std::uint64_t confirmed = 0;
    std::vector<Mark> marks;
    std::vector<Range> dropped;
    bool spilled = false;
    bool ended = false;
  };
  struct Connection {
    std::uint64_t id = 0;
    capture::Recording* recording = nullptr;  ///< null once closed
    bool sink = false;
    bool failed = false;
    std::array<Stream, 2> sides;
  };
  struct Seen;  // of one stream, by a reader

  [[nodiscard]] Fault decide(DiskCall call, std::uint64_t index);
  [[nodiscard]] Fault choose_fault(DiskCall call, std::uint64_t index);
  void step();
  void open();
  void append(Connection& connection, std::size_t side);
  void end(Connection& connection);
  void close(Connection& connection);
  void confirm();
  void fail(const std::string& problem);
  [[nodiscard]] const std::byte* content(std::uint64_t connection, std::size_t side,
                                         std::uint64_t offset) const;
  [[nodiscard]] SimulatedDisk::Files crash_in_recovery(const SimulatedDisk::Files& files);
  [[nodiscard]] bool expects_damage(
      const std::map<std::string, SimulatedDisk::Remains>& remains) const;
  void check(const SimulatedDisk::Files& files, bool expects_damage);
  void keep_deleted();
  [[nodiscard]] SimulatedDisk::Files with_deleted(SimulatedDisk::Files files) const;
  void check_event(const capture::Event& event, std::map<std::uint64_t, std::array<Seen, 2>>& seen);
  void check_close(const capture::Event& event, const std::array<Seen, 2>& seen);
  void check_confirmed(std::map<std::uint64_t, std::array<Seen, 2>>& seen);

  Options options_;
  Random random_;
  ManualReactor reactor_;
  SimulatedDisk disk_;
  capture::Store store_;
  std::unique_ptr<capture::Recorder> recorder_;
  std::map<std::uint64_t, Connection> connections_;
  std::uint64_t next_connection_ = 1;
  bool sequences_hold_ = true;
  bool inside_ = false;
  std::uint64_t failing_call_ = ~std::uint64_t{0};
  Fault failing_with_;
  bool failing_for_good_ = false;
  std::uint64_t crashes_ = 0;
  std::uint64_t damage_found_ = 0;
  std::uint64_t confirmed_bytes_ = 0;
  std::uint64_t deletions_ = 0;
  SimulatedDisk::Files before_deletion_;
  SimulatedDisk::Files deleted_;
  std::string problem_;
};

}  // namespace sluice::test
