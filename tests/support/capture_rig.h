#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/capture/reader.h"
#include "iolib/capture/recorder.h"
#include "iolib/capture/store.h"
#include "tests/support/simulated_disk.h"

namespace sluice::test {

/// Reads the capture in `files`, chain by chain, and passes on every event except the last. Returns
/// an error's text, or nothing.
[[nodiscard]] std::string for_each_event(const SimulatedDisk::Files& files,
                                         const std::function<void(const capture::Event&)>& take);

/// What a capture contains, in a form that tests can compare.
struct ReadSide {
  struct Gap {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    capture::GapReason reason = capture::GapReason::limit;
    friend bool operator==(const Gap&, const Gap&) = default;
  };
  std::string bytes;  ///< all recorded ones, in order
  std::vector<Gap> gaps;
  std::uint64_t lost_bytes = 0;  ///< missing without a record
  std::uint64_t offset = 0;      ///< reached
  capture::SideEnd ended = capture::SideEnd::none;
};
struct ReadConnection {
  int opens = 0;
  int tables = 0;  ///< continued `open` records, repetitions included
  std::array<ReadSide, 2> sides;
  std::optional<capture::CloseInfo> close;
};
struct ReadCapture {
  std::string error;
  std::map<std::uint64_t, ReadConnection> connections;
  std::vector<std::string> segments;  ///< their names
  int torn = 0;
  int lost = 0;
  int damage = 0;
  int checkpoints = 0;
  std::uint64_t lost_connections = 0;

  [[nodiscard]] const ReadSide& client(std::uint64_t connection) const {
    return connections.at(connection).sides[0];
  }
  /// There is no finding.
  [[nodiscard]] bool clean() const { return error.empty() && torn + lost + damage == 0; }
};
[[nodiscard]] ReadCapture read_capture(const SimulatedDisk::Files& files);

/// A recorder on a simulated disk.
class CaptureRig {
 public:
  /// Small, so that tests reach every limit: eight blocks of 8 KiB, segments of 128 KiB.
  [[nodiscard]] static capture::RecorderOptions small_options(capture::Durability durability);

  explicit CaptureRig(const capture::RecorderOptions& options,
                      const capture::Retention& retention = {}, std::uint64_t seed = 1);
  /// Ends what is still open, and closes the recorder.
  ~CaptureRig();

  [[nodiscard]] capture::Recording& open(std::uint64_t connection,
                                         const capture::RecordingOptions& options = {});
  /// Appends `bytes` to the client's side of `recording` at its next offset, as a pump does.
  void append(capture::Recording& recording, std::string_view bytes,
              capture::Side side = capture::Side::client);
  /// Takes turns until `condition` holds, or until many turns have changed nothing.
  [[nodiscard]] bool run_until(const std::function<bool()>& condition);
  /// Takes some turns without letting time pass.
  void settle();
  /// Lets `time` pass in steps of a millisecond.
  void pass(Duration time);
  /// True once everything recorded is durable.
  [[nodiscard]] bool run_until_durable();
  /// Closes the recorder; false if it does not end.
  [[nodiscard]] bool close();
  [[nodiscard]] ReadCapture read() const { return read_capture(disk.files()); }
  [[nodiscard]] std::uint64_t dropped(capture::GapReason reason) const;

  ManualReactor reactor;
  SimulatedDisk disk;
  capture::Store store;
  std::unique_ptr<capture::Recorder> recorder;
  std::vector<capture::Recorder::Event> events;

 private:
  std::map<std::uint64_t, capture::Recording*> open_;
  std::map<std::pair<capture::Recording*, capture::Side>, std::uint64_t> offsets_;

 public:
  /// Closes a recording that the rig opened.
  void close(capture::Recording& recording, std::string_view reason = "closed");
};

}  // namespace sluice::test
