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

/// Starts the log as `config` says: to stderr, stdout or a file, as text or JSON. If stderr is
/// systemd's journal, each line is an entry with its fields as variables. A thread of its
/// own writes the lines from a bounded queue. When the queue is full, the oldest lines are dropped
/// and counted. No other thread may log before this returns.
[[nodiscard]] Result<> open(const Config& config);
/// Checks whether the log file of `config` can be opened; creates nothing.
[[nodiscard]] Result<> probe(const Config& config);
/// Asks the writing thread to reopen the file by its name. If that fails, it keeps the old file and
/// logs an error.
void reopen();
/// Writes all queued lines and ends the thread. False if that takes longer than a second: then the
/// thread still runs, and only _exit(2) ends the program.
[[nodiscard]] bool close();
/// Waits until the writing thread has taken all queued lines, at most 50 ms. The thread writes
/// lines together, up to 10 ms after they were logged.
void flush();
/// How many lines were lost so far, because the queue was full or the log could not be written.
[[nodiscard]] std::uint64_t dropped_lines();

/// Logs one line, `event` and its fields, if `level` is enabled. Any thread; never blocks.
void write(LogLevel level, std::string_view event, Fields fields);
/// Logs one line at any configured level, because the user asked for it.
void print(std::string_view event, Fields fields);
/// Whether lines of `level` are logged. Any thread.
[[nodiscard]] bool enabled(LogLevel level);
/// The lowest level that is logged: as configured, until it is set. Any thread.
[[nodiscard]] LogLevel level();
void set_level(LogLevel level);

inline void print(std::string_view event, std::initializer_list<Field> fields) {
  print(event, Fields(fields.begin(), fields.size()));
}
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
