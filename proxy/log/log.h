#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <variant>

#include "iolib/base/error.h"
#include "proxy/config/config.h"

namespace sluice::log {

/// One named value of a log line.
struct Field {
  std::string_view name;
  std::variant<std::string_view, std::uint64_t, double> value;
};
using Fields = std::span<const Field>;

/// Starts the log as `config` says: on stderr or in a file, as text or JSON, written by a thread of
/// its own from a bounded queue. When the queue is full the oldest lines are dropped, and counted.
[[nodiscard]] Result<> open(const Config& config);
/// Whether `config`'s log file could be opened; creates nothing.
[[nodiscard]] Result<> probe(const Config& config);
/// Has the log's thread open the file anew, under the same name; it keeps the old one, and says so,
/// if that fails.
void reopen();
/// Writes out what is queued and ends the thread. False if that takes longer than a second: then
/// the thread still runs, and only _exit(2) ends the program.
[[nodiscard]] bool close();
/// Waits until what was logged before is written, but not for long: lines are written together, up
/// to 10 ms after they were logged.
void flush();
/// Lines dropped so far because the queue was full, or nobody read the log.
[[nodiscard]] std::uint64_t dropped_lines();

/// One line: `event` and its fields. Any thread; never blocks.
void write(LogLevel level, std::string_view event, Fields fields);
/// The same whatever the level, because somebody asked for it.
void print(std::string_view event, Fields fields);
[[nodiscard]] bool enabled(LogLevel level);

inline void info(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(LogLevel::info, event, {fields.begin(), fields.size()});
}
inline void warn(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(LogLevel::warn, event, {fields.begin(), fields.size()});
}
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(LogLevel::error, event, {fields.begin(), fields.size()});
}

}  // namespace sluice::log
