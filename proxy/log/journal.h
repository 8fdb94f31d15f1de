#pragma once

#include <string>
#include <string_view>

#include "iolib/base/endpoint.h"
#include "iolib/base/owned_fd.h"

namespace sluice::log {

/// Whether stderr is a stream of systemd's journal ($JOURNAL_STREAM).
[[nodiscard]] bool stderr_is_journal();

/// Sends entries to the journal in its native protocol. One thread.
class Journal {
 public:
  static constexpr std::string_view kPath = "/run/systemd/journal/socket";

  explicit Journal(std::string_view path = kPath);

  /// Sends one entry, through unnamed memory if it is too large for a datagram. False if the
  /// journal does not take it within 100 ms, or at once after such an entry.
  [[nodiscard]] bool send(std::string_view entry);

 private:
  [[nodiscard]] bool send_in_memory(std::string_view entry, int flags);

  Endpoint to_;
  OwnedFd socket_;
  bool patient_ = true;  ///< the last entry was taken
};

}  // namespace sluice::log
