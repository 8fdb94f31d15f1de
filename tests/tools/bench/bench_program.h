#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/process.h"

namespace sluice::test {

/// Longer than any run of the program.
inline constexpr std::chrono::seconds kLong{120};
/// Longer than the program takes to end after a signal, and shorter than any of its own waits.
inline constexpr std::chrono::seconds kSoon{8};

/// An environment variable that must be set; throws otherwise.
[[nodiscard]] std::string environment(const char* name);
/// The command line of sluice-bench with these arguments.
[[nodiscard]] std::vector<std::string> bench(std::vector<std::string> arguments);

/// What a comparison printed.
struct Compared {
  std::optional<int> status;
  std::string output;
  std::string error;
};
/// Runs sluice-bench with these arguments and `--time 100ms`. If other programs left a run nothing
/// in that time, it takes ten times as long, and then a hundred times.
[[nodiscard]] Compared compare_briefly(const std::vector<std::string>& arguments);

/// `sluice-bench serve`, on its own port unless the arguments name one.
class ServingEnd {
 public:
  explicit ServingEnd(const std::string& listen = "127.0.0.1:0");
  /// The address that a load gets, to connect to it.
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] Process& process() { return process_; }

 private:
  Process process_;
  std::string address_;
};

/// The output of a load.
struct Loaded {
  std::optional<int> status;
  std::string output;
  std::string error;
  json::object run;  ///< the first one
  [[nodiscard]] double metric(const char* key) const {
    return run.at("metrics").at(key).to_number<double>();
  }
  [[nodiscard]] bool valid() const { return run.at("valid").as_bool(); }
  [[nodiscard]] std::string reason() const { return std::string(run.at("reason").as_string()); }
};

/// Runs `sluice-bench load` with one workload; throws if it writes no result.
[[nodiscard]] Loaded load(const std::string& to, const std::string& workload,
                          const std::vector<std::string>& more = {}, const char* time = "300ms");
/// The same to a port of 127.0.0.1.
[[nodiscard]] Loaded load(std::uint16_t port, const std::string& workload,
                          const std::vector<std::string>& more = {}, const char* time = "300ms");

}  // namespace sluice::test
